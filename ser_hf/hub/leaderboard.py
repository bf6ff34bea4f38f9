"""Several runs as a page that ranks them, in a Space of its own.

A static Space shows its index.html as it is, where a data set would offer it for download alone. Runs are ranked among
those of the same split only, by its sha256, and of the same classes; one whose speakers were heard in training, or of
which nobody knows it, is shown beside the ranks, whatever its figure.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.metrics import DEFINITIONS, NAMES
from ..evaluation.paired import METRICS
from ..experiment import compare_page
from ..experiment.compare_page import as_source, bars_figure
from ..report import text as words
from ..report.card import hub_page, is_hub_id
from ..report.page import template
from ..report.plots import svg
from ..utils.environment import __version__
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml, read_text
from .push import Pushed, machine_paths, push, require_no_paths, whole_name

logger = logging.getLogger(__name__)

# Patterns of what a push of this writes.
OWNED = ("README.md", "index.html", "scores.parquet", "leaderboard.json")
_LINKS = {"model": "", "report": "datasets", "space": "spaces"}


def publish_leaderboard(
    comparison: Mapping[str, Any], repo_id: str, *, private: bool = False, token: str | None = None
) -> Pushed:
    """Pushes the page of `stage_leaderboard` to a static Space, made where there is none.

    Raises:
        UserError: if the Hub refuses it, or the page would hold a path of this machine.
    """
    repo_id = whole_name(repo_id, token)
    with tempfile.TemporaryDirectory(prefix="ser_hf-leaderboard-") as temporary:
        folder = Path(temporary)
        stage_leaderboard(comparison, folder, repo_id)
        message = f"{len(comparison['runs'])} runs compared"
        settings = {"kind": "space", "space_sdk": "static", "private": private, "token": token}
        return push(folder, repo_id, message=message, owned=OWNED, **settings)


def stage_leaderboard(comparison: Mapping[str, Any], folder: Path, repo_id: str) -> None:
    """Fills `folder` with index.html, scores.parquet, leaderboard.json and the Space's README.md.

    Args:
        comparison: what `ser_hf.experiment.compare.compare_runs` returns.
        repo_id: USER/NAME of the Space.
    """
    told, metric = _public(comparison), comparison["metric"]
    groups = _groups(told["runs"], told["pairs"], metric)
    folder.mkdir(parents=True, exist_ok=True)
    page = template("ser_hf.experiment", "leaderboard.html", span=compare_page.span, count=compare_page.count).render(
        groups=groups,
        metric=metric,
        names=NAMES,
        definitions={name: DEFINITIONS[name] for name in METRICS},
        warnings=told["warnings"],
        settings=told["settings"],
        counted=words.counted,
        version=__version__,
        title=_title(repo_id),
        pictures=[as_source(svg(bars_figure(group["rows"], metric))) for group in groups],
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    content = {key: told[key] for key in ("metric", "pairs", "unpaired", "warnings", "settings")} | {"groups": groups}
    text_of = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "leaderboard.json").write_text(text_of + "\n", encoding="utf-8")
    pq.write_table(_table(groups), folder / "scores.parquet")
    (folder / "README.md").write_text(_readme(repo_id, groups, metric), encoding="utf-8")
    require_no_paths(folder, machine_paths(*(row["source"] for row in comparison["runs"])))


def _public(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison under names that say nothing of where runs stand on this machine, and with their addresses."""
    names = _names(comparison["runs"])
    rows = [
        {**{key: value for key, value in row.items() if key != "source"}, "name": names[row["name"]]}
        | {"links": _links(row["source"])}
        for row in comparison["runs"]
    ]
    pairs = [{**pair, "a": names[pair["a"]], "b": names[pair["b"]]} for pair in comparison["pairs"]]
    unpaired = [
        {**one, **{key: [names[name] for name in one[key]] for key in ("runs", "others")}}
        for one in comparison["unpaired"]
    ]
    warnings = []
    for warning in comparison["warnings"]:
        whose = next((name for name in names if warning.startswith(f"{name}: ")), None)
        warnings.append(names[whose] + warning.removeprefix(whose) if whose else warning)
    return {**comparison, "runs": rows, "pairs": pairs, "unpaired": unpaired, "warnings": warnings}


def _names(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each run is called: runs of one recipe, which are named after where they stand, by as much of the end of
    that as tells them apart."""
    places = {row["name"]: Path(row["source"]).parts for row in rows if row["name"] == row["source"].rstrip("/")}
    count = 1
    while len({parts[-count:] for parts in places.values()}) < len(places):
        count += 1
    return {
        row["name"]: "/".join(places[row["name"]][-count:]) if row["name"] in places else row["name"] for row in rows
    }


def _links(source: str) -> dict[str, dict[str, str]]:
    """{model, report, space: {repo_id, url}} of a run that was published, as its published.json says."""
    for place in (RunFolder(source), RunFolder(Path(source) / "best")):
        if place.published.is_file():
            told = json.loads(read_text(place.published))
            return {
                kind: {"repo_id": told[kind]["repo_id"], "url": told[kind]["url"]}
                for kind in _LINKS
                if told.get(kind) and told[kind]["url"].startswith(("https://", "http://"))
            }
    if is_hub_id(source) and not Path(source).exists():
        return {"model": {"repo_id": source, "url": hub_page(source)}}
    return {}


def _groups(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], metric: str
) -> list[dict[str, Any]]:
    """The runs of each split, the ranked ones first; splits with ranked runs first, those of most runs before."""
    found: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["protocol"]["sha256"], row["part"], *sorted(row["labels"])), []).append(row)
    groups = []
    for own in found.values():
        honest = [row for row in own if _unranked(row) is None]
        others = [row for row in own if _unranked(row) is not None]
        ranked = [
            {**row, "rank": place, "unranked": None, "against_first": _against(pairs, honest[0]["name"], row["name"])}
            for place, row in enumerate(honest, start=1)
        ]
        ranked += [{**row, "rank": None, "unranked": _unranked(row), "against_first": None} for row in others]
        first = own[0]
        groups.append(
            {
                "protocol": first["protocol"]["name"],
                "sha256": first["protocol"]["sha256"],
                "part": first["part"],
                "labels": first["labels"],
                "clips": first["clips"],
                "speakers": first["speakers"],
                "ranked": len(honest),
                "rows": ranked,
            }
        )
    return sorted(
        groups, key=lambda group: (not group["ranked"], -group["ranked"], group["protocol"], group["sha256"])
    )


def _unranked(row: Mapping[str, Any]) -> str | None:
    """Why a run is ranked with no other; None for one that is."""
    protocol = row["protocol"]
    if protocol["leak"] or protocol["heard_before"]:
        return "leaky: it heard the speakers that judge it"
    if protocol["heard_before"] is None:
        return "nobody knows whether it heard the speakers that judge it"
    return None


def _against(pairs: Sequence[Mapping[str, Any]], first: str, name: str) -> str | None:
    """What a paired test says of the first run's lead over another; None where there is none."""
    for pair in pairs:
        if {pair["a"], pair["b"]} == {first, name}:
            shown = "shown" if pair["verdict"] == "a is better" else "not shown"
            return f"{shown}, p {compare_page.chance(pair['p_holm'])}"
    return None


def _table(groups: Sequence[Mapping[str, Any]]) -> pa.Table:
    fields = {"rank": pa.int32(), "run": pa.string(), "unranked": pa.string(), "protocol": pa.string()}
    fields |= {"split_sha256": pa.string(), "part": pa.string(), "clips": pa.int64(), "speakers": pa.int64()}
    fields |= {f"{metric}{end}": pa.float64() for metric in METRICS for end in ("", "_low", "_high", "_deviation")}
    fields |= {"over": pa.string(), "runs": pa.int32(), "parameters": pa.int64(), "learning": pa.int64()}
    fields |= {"training_seconds": pa.float64(), "machine": pa.string(), **dict.fromkeys(_LINKS, pa.string())}
    rows = []
    for group in groups:
        shared = {"protocol": group["protocol"], "split_sha256": group["sha256"]}
        for row in group["rows"]:
            told = {key: row[key] for key in ("rank", "unranked", "part", "clips", "speakers", "machine")}
            told |= {"run": row["name"], "parameters": row["parameters"], "learning": row["learning"]}
            for metric in METRICS:
                low, high = row["intervals"].get(metric) or (None, None)
                told |= {metric: row["metrics"][metric], f"{metric}_low": low, f"{metric}_high": high}
                told[f"{metric}_deviation"] = row["deviations"].get(metric)
            repeats = row["repeats"] or {"kind": None, "number": None}
            told |= {"over": repeats["kind"], "runs": repeats["number"]}
            told["training_seconds"] = row["seconds"]["training"]
            told |= {kind: row["links"].get(kind, {}).get("repo_id") for kind in _LINKS}
            rows.append(shared | told)
    return pa.Table.from_pylist([{name: row.get(name) for name in fields} for row in rows], schema=pa.schema(fields))


def _readme(repo_id: str, groups: Sequence[Mapping[str, Any]], metric: str) -> str:
    linked = [row["links"] for group in groups for row in group["rows"]]
    models, reports = ([one[kind]["repo_id"] for one in linked if kind in one] for kind in ("model", "report"))
    front: dict[str, Any] = {"title": _title(repo_id), "emoji": "📊", "colorFrom": "blue", "colorTo": "indigo"}
    front |= {"sdk": "static", "app_file": "index.html", "pinned": False}
    front["short_description"] = "Speech emotion recognisers, ranked split by split"
    front["tags"] = ["leaderboard", "speech-emotion-recognition", "ser_hf"]
    front |= {"models": models} if models else {}
    front |= {"datasets": reports} if reports else {}
    lines = [f"# {front['title']}", "", f"Ranked by {NAMES[metric]}, among runs of the same split only. The page:"]
    lines[-1] += f" {hub_page(repo_id, 'spaces')}. All figures: `scores.parquet`, and with every pair's test"
    lines[-1] += " `leaderboard.json`."
    for group in groups:
        part = "" if group["part"] == "test" else f", judged on {group['part']}, which chose the checkpoints"
        lines += ["", f"## {group['protocol']}, split {group['sha256'][:16]}{part}", ""]
        lines += [f"| rank | run | {NAMES[metric]} | interval |", "|---|---|---|---|"]
        for row in group["rows"]:
            name = row["name"].replace("|", "\\|")
            name += f" ({row['unranked']})" if row["unranked"] else ""
            interval = compare_page.span(row["intervals"].get(metric))
            lines.append(f"| {row['rank'] or '–'} | {name} | {row['metrics'][metric]:.3f} | {interval} |")
    return f"---\n{dump_yaml(front)}---\n\n" + "\n".join(lines) + "\n"


def _title(repo_id: str) -> str:
    return repo_id.rpartition("/")[2].replace("-", " ").replace("_", " ")

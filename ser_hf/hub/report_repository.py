"""The evaluation report of a run as a data set on the Hub: its pages and pictures, and its figures as tables.

The page stands at the top, those of folds, seeds and the foil in folders of their names below, and links between them
lead there. Tables are parquet, each a configuration of the data set: the viewer shows them, and
`load_dataset(repo, "predictions")` loads them.
"""

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from ..corpora import CORPORA, corpora_facts, corpus_facts, corpus_options
from ..report import views
from ..report.card import hub_page, public, template_values, templates
from ..report.citations import in_words, licence
from ..report.report import SCHEMA, Report
from ..report.write import metrics_table
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_text, read_yaml
from .corpus_repository import size_category
from .push import machine_paths, require_no_paths, without_paths

_RUN = {
    # Where the run stands below the whole one, such as fold-1/seed-2; "all" is the whole one, a mean over several.
    "run": pa.string(),
    "fold": pa.int32(),
    "seed": pa.int32(),
    # Whether its protocol is the leaky one that is judged for comparison.
    "foil": pa.bool_(),
    # Whether the published weights are its own.
    "chosen": pa.bool_(),
    "part": pa.string(),
    # What a fold tests, such as a speaker.
    "tested": pa.string(),
    "protocol": pa.string(),
    "split_sha256": pa.string(),
    "leaky": pa.bool_(),
    "clips": pa.int64(),
    "speakers": pa.int64(),
}
SLICES = pa.schema(
    {
        # The column that cuts, such as sex or speaker, and its value.
        "column": pa.string(),
        "value": pa.string(),
        "clips": pa.int64(),
        "uar": pa.float64(),
        "uar_low": pa.float64(),
        "uar_high": pa.float64(),
        "wa": pa.float64(),
        "macro_f1": pa.float64(),
        "weighted_f1": pa.float64(),
    }
)
CONFUSION = pa.schema(
    {
        "label": pa.string(),
        "predicted": pa.string(),
        "clips": pa.int64(),
        # Of the clips of that label.
        "share": pa.float64(),
    }
)


def scores_table(reports: Mapping[str, Mapping[str, Any]], chosen: str | None = "all") -> pa.Table:
    """A row for each run on the part that judged it, and on the others that its report tells of; a column for each
    metric, and for those with intervals (over speakers and their clips) two more, `METRIC_low` and `METRIC_high`.

    Args:
        reports: {place below the whole run: its report}; "all" is the whole one.
        chosen: the place of the run whose weights are published.
    """
    rows = [row for place, report in reports.items() for row in _scores(place, report, place == chosen)]
    with_intervals = {metric for report in reports.values() for metric in report.get("intervals", {})}
    metrics = dict.fromkeys(metric for report in reports.values() for metric in report["metrics"])
    ends = [(metric, *((f"{metric}_low", f"{metric}_high") if metric in with_intervals else ())) for metric in metrics]
    schema = pa.schema(_RUN | {name: pa.float64() for names in ends for name in names})
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def _scores(place: str, report: Mapping[str, Any], chosen: bool) -> Iterator[dict[str, Any]]:
    protocol, judged_on = report["protocol"], report["judged_on"]
    numbers = dict(name.split("-") for name in place.split("/") if "-" in name)
    told = {
        "run": place,
        "fold": int(numbers["fold"]) if "fold" in numbers else None,
        "seed": int(numbers["seed"]) if "seed" in numbers else None,
        "foil": place.startswith("foil"),
        "chosen": chosen,
        "tested": protocol.get("fold"),
        "protocol": protocol["name"],
        "split_sha256": protocol["sha256"],
        "leaky": bool(protocol.get("leak")),
    }
    scores = {judged_on: report["metrics"], **{p: own for p, own in report.get("parts", {}).items() if p != judged_on}}
    for part, metrics in scores.items():
        own = protocol.get("parts", {}).get(part, {})
        counts = {"clips": own.get("clips"), "speakers": len(own["speakers"]) if "speakers" in own else None}
        ends = {}
        for metric, (low, high) in report.get("intervals", {}).items() if part == judged_on else ():
            ends |= {f"{metric}_low": low, f"{metric}_high": high}
        yield {**metrics, **ends, **told, **counts, "part": part}


def slices_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each value of each column that the report looks at by itself."""
    rows = []
    for column, values in report.get("slices", {}).items():
        for value, own in values.items():
            low, high = own.get("interval") or (None, None)
            rows.append({**own, "column": column, "value": value, "uar_low": low, "uar_high": high})
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in SLICES.names} for row in rows],
        schema=SLICES,
    )


def confusion_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each pair of a label and an answer; counts of several seeds are summed."""
    names, rows = report["labels"], []
    for label, counts in zip(names, report["confusion"], strict=True):
        total = sum(counts)
        for predicted, clips in zip(names, counts, strict=True):
            share = clips / total if total else None
            rows.append({"label": label, "predicted": predicted, "clips": clips, "share": share})
    return pa.Table.from_pylist(rows, schema=CONFUSION)


_DRAWN = (
    *("class_distribution", "confusion_matrix", "per_class", "slices", "confusion_by_corpus", "folds"),
    *("training_curves", "reliability", "robustness", "embeddings_*"),
)
_TABLES = ("scores", "slices", "confusion", "metrics", "embeddings")
# Patterns of what a push of this writes, and deletes where a later one has it no more.
OWNED = (
    *("README.md", "index.html", "report.json", SCHEMA, "predictions/*.parquet"),
    *(f"{name}.parquet" for name in _TABLES),
    *(f"{name}.{suffix}" for name in _DRAWN for suffix in ("png", "svg")),
    *("fold-[0-9]*/*", "seed-[0-9]*/*", "foil/*"),
)
_CHILD = re.compile(r"(fold|seed)-\d+|foil")
# What only a run's own folder has: addresses of the reports above and below, and players of files of the corpus.
_ABOVE = re.compile(r'<p class="above"><a href="([^"]+)">[^<]*</a></p>')
_BELOW = re.compile(r'href="\.\./([a-z0-9-]+)/report/index\.html"')
_PLAYERS = re.compile(r"<audio [^>]*></audio>|<p [^>]*>The players read [^<]*</p>")
_BESIDE = re.compile(r'<figcaption class="files-beside"><a href="([^"]+)">.*?</figcaption>', re.DOTALL)
_OFFERED = re.compile(r'<div><dt><a href="([^"]+)">[^<]*</a></dt><dd>[^<]*</dd></div>')
_HOLDS = {
    "predictions": "a clip: its label, the answer, the probability of each emotion",
    "scores": "a run (whole, fold or seed) on a part: its metrics and their intervals",
    "slices": "a group of the judged clips (a speaker, a sex, a sentence) with its metrics",
    "confusion": "a label and an answer: how many clips",
    "metrics": "a figure of the report with its interval",
    "embeddings": "a judged clip's place in the pictures of embeddings",
}
# Of a table that is of no part. `all` would mean something else to datasets.
_SPLIT = "report"


def stage_report(
    run: Path, folder: Path, *, repo_id: str, model_repo: str | None = None, space: str | None = None
) -> None:
    """Fills `folder` with what a data set repository of a run's report holds. The same run gives the same bytes.

    Args:
        run: a run's folder, a sweep's (its winner's run), or what `ser-hf evaluate` wrote.
        repo_id: USER/NAME of the repository, for the lines that load it.
        model_repo, space: Hub ids of the model that the report is about, and of its demonstration.

    Raises:
        UserError: if `run` holds no report, or what would be published holds a path of this machine.
    """
    run = Path(run)
    reports, folders, recipe = _found(run / "best" if (run / "sweep.json").is_file() else run)
    places = machine_paths(run, *_roots(folders.values()), recipe=recipe)
    folder.mkdir(parents=True, exist_ok=True)
    report = reports["all"]
    _stage_whole(folders["all"], report, folder, places)
    for place, own in list(folders.items())[1:]:
        if place == "foil":  # the answers of all others stand in the table above
            _stage_answers(own, folder / place)
        _stage_page(own, _pointing(reports[place], place), folder / place, places)
    tables = {
        "scores": scores_table(reports, _chosen(reports)),
        "slices": slices_table(report),
        "confusion": confusion_table(report),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    links = {"repo_id": repo_id, "model_repo": model_repo, "space": space}
    card = without_paths(_card(report, recipe, folder, list(folders), **links), places)
    (folder / "README.md").write_text(card, encoding="utf-8")
    require_no_paths(folder, places)


def _found(run: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Path], dict[str, Any] | None]:
    """Reports and their folders by their place below `run`, "all" first, and the recipe where there is one."""
    place = RunFolder(run)
    if place.complete:
        folders = {"all": place.report, **_below(place)}
        recipe = read_yaml(place.recipe)
    elif (run / "report.json").is_file():
        folders, recipe = {"all": run}, None
    elif (run / "matrix.json").is_file():
        below = sorted(child.name for child in run.iterdir() if (child / "report.json").is_file())
        raise UserError(f"{run}: several models on several corpora; name one of its cells, such as {run / below[0]}")
    else:
        raise UserError(f"{run}: holds no report; name a run's folder, or what ser-hf evaluate wrote")
    for own in folders.values():
        if not (own / "index.html").is_file():
            raise UserError(f"{own}: holds no page (index.html), as an older ser_hf wrote it; train or evaluate anew")
    reports = {name: json.loads(read_text(own / "report.json")) for name, own in folders.items()}
    return {name: _public_report(report) for name, report in reports.items()}, folders, recipe


def _below(folder: RunFolder) -> dict[str, Path]:
    found = {}
    names = [child.name for child in folder.path.iterdir() if _CHILD.fullmatch(child.name)]
    for name in sorted(names, key=lambda name: (name == "foil", len(name), name)):
        child = folder.child(name)
        if child.complete:
            found |= {"/".join(child.place): child.report, **_below(child)}
    return found


def _roots(folders: Iterable[Path]) -> list[str]:
    """Where the judged files stand: the folder that those of each table have in common."""
    found = []
    for path in (folder / "predictions.parquet" for folder in folders):
        if path.is_file() and "path" in pq.read_schema(path).names:
            cells = pq.read_table(path, columns=["path"])["path"].to_pylist()
            above = {str(Path(cell).parent) for cell in cells if cell and Path(cell).is_absolute()}
            found += [os.path.commonpath(above)] if above else []
    return found


def _public_report(report: dict[str, Any]) -> dict[str, Any]:
    told = public(report)
    if told.get("hardest"):
        told["hardest"] = [{**clip, "path": None} for clip in told["hardest"]]
    return told


def _pointing(report: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The report of a run below, with the address of the one schema."""
    return {**report, "$schema": "../" * len(place.split("/")) + SCHEMA} if "$schema" in report else dict(report)


def _chosen(reports: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The place of the run whose weights are published; None of a model that was judged by itself."""
    place = []
    while (report := reports.get("/".join(place) or "all")) is not None:
        kind = next((kind for kind in ("fold", "seed") if f"chosen_{kind}" in report), None)
        if kind is None:
            break
        place.append(f"{kind}-{report[f'chosen_{kind}']}")
    return None if reports["all"].get("kind") == "evaluation" else "/".join(place) or "all"


def _stage_whole(report_folder: Path, report: Mapping[str, Any], target: Path, places: Sequence[str]) -> None:
    """The whole run's report: page, pictures, numbers, the answers of each part."""
    for file in sorted(file for name in _DRAWN for file in report_folder.glob(f"{name}.*")):
        content = file.read_bytes()
        if file.suffix == ".svg":
            content = without_paths(content.decode(), places).encode()
        (target / file.name).write_bytes(content)
    pq.write_table(metrics_table(Report.from_dict(report)), target / "metrics.parquet")
    if (report_folder / SCHEMA).is_file():
        (target / SCHEMA).write_bytes((report_folder / SCHEMA).read_bytes())
    if (report_folder / "embeddings.parquet").is_file():
        pq.write_table(_without_files(report_folder / "embeddings.parquet"), target / "embeddings.parquet")
    _stage_answers(report_folder, target)
    _stage_page(report_folder, report, target, places)


def _stage_answers(report_folder: Path, target: Path) -> None:
    if not (report_folder / "predictions.parquet").is_file():
        return
    table = _without_files(report_folder / "predictions.parquet")
    (target / "predictions").mkdir(parents=True)
    for part in dict.fromkeys(table["part"].to_pylist()):
        pq.write_table(table.filter(pc.equal(table["part"], part)), target / "predictions" / f"{part}.parquet")


def _stage_page(report_folder: Path, report: Mapping[str, Any], target: Path, places: Sequence[str]) -> None:
    """report.json and the page, with the addresses that hold here, and without players and without what it offers
    beside it and is not there."""
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (target / "report.json").write_text(without_paths(text, places), encoding="utf-8")
    page = without_paths((report_folder / "index.html").read_text(encoding="utf-8"), places)
    page = page.replace("predictions.parquet", f"predictions/{report['judged_on']}.parquet")
    page = _BELOW.sub(r'href="\1/index.html"', page)
    above = _ABOVE.search(page)
    if above:  # a cell's matrix is not published with it
        there = above[1] == "../../report/index.html"
        page = page.replace(above[0], above[0].replace(above[1], "../index.html") if there else "")
    page = _PLAYERS.sub("", page)
    for pattern in (_BESIDE, _OFFERED):
        page = pattern.sub(lambda found: found[0] if (target / found[1]).is_file() else "", page)
    (target / "index.html").write_text(page, encoding="utf-8")


def _without_files(path: Path) -> pa.Table:
    table = pq.read_table(path)
    return table.drop_columns(["path"]) if "path" in table.column_names else table


def _card(
    report: Mapping[str, Any],
    recipe: Mapping[str, Any] | None,
    folder: Path,
    places: Sequence[str],
    *,
    repo_id: str,
    model_repo: str | None,
    space: str | None,
) -> str:
    corpora = _corpora(report, recipe)
    tables = _tables(folder, report["judged_on"])
    parts = report["protocol"].get("parts", {})
    clips = parts.get(report["judged_on"], {}).get("clips") or report.get("clips") or 0
    languages = {code for one in corpora for code in _each(one["language"])}
    tags = ["speech-emotion-recognition", "evaluation", "ser_hf"]
    data = DatasetCardData(
        language=sorted(languages) or None,
        pretty_name=f"{report['name']}: evaluation report",
        task_categories=["audio-classification"],
        size_categories=size_category(clips),
        tags=[*tags, "leaky-protocol"] if report["protocol"].get("leak") else tags,
        configs=[
            {"config_name": name, "data_files": files} | ({"default": True} if i == 0 else {})
            for i, (name, files) in enumerate(tables.items())
        ],
        **licence(corpora, f"{hub_page(repo_id, 'datasets')}#licence"),
    )
    typed = Report.from_dict(report, folder)
    protocol = views.protocol(typed) or {"splits": [], "overlap": []}
    rows = {name: sum(pq.read_metadata(folder / one["path"]).num_rows for one in own) for name, own in tables.items()}
    text = (
        templates()
        .get_template("report_repository.md")
        .render(
            template_values(typed),
            card_data=data.to_yaml(),
            repo_id=repo_id,
            model_repo=model_repo,
            model_page=model_repo and hub_page(model_repo),
            space_page=space and hub_page(space, "spaces"),
            page=f"{hub_page(repo_id, 'datasets')}/resolve/main/index.html",
            children=[place for place in places if place != "all" and "/" not in place],
            banners=views.banners(typed),
            headline=views.headline(typed),
            confidence=views.confidence(typed),
            results=[row for row in views.results(typed) if row["name"]],
            splits=protocol["splits"],
            overlap=protocol["overlap"],
            tables=[{"name": name, "rows": rows[name], "holds": _HOLDS[name]} for name in tables],
            licences=[f"{one['title']} ({in_words(one['license'])})" for one in corpora if one["license"]],
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _tables(folder: Path, judged_on: str) -> dict[str, list[dict[str, str]]]:
    """The configurations and their files; of answers the judged part first."""
    parts = sorted(path.stem for path in (folder / "predictions").glob("*.parquet"))
    parts.sort(key=lambda part: part != judged_on)
    found = {"predictions": [{"split": part, "path": f"predictions/{part}.parquet"} for part in parts]}
    for name in _TABLES:
        path = folder / f"{name}.parquet"
        # The viewer has no use for a table without a row, and `load_dataset` refuses one.
        if path.is_file() and pq.read_metadata(path).num_rows:
            found[name] = [{"split": _SPLIT, "path": path.name}]
    return {name: files for name, files in found.items() if files}


def _corpora(report: Mapping[str, Any], recipe: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Facts of the corpora whose clips judged; of a model that was judged by itself those that have a module."""
    speakers = report["protocol"].get("parts", {}).get(report["judged_on"], {}).get("speakers", [])
    judged = sorted({speaker.partition(":")[0] for speaker in speakers})
    if recipe is None:
        return [corpus_facts(name, {}) for name in judged if name in CORPORA]
    corpus = recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    return corpora_facts(corpus["name"], options, judged)


def _each(value: str | Collection[str] | None) -> Collection[str]:
    return [value] if isinstance(value, str) else value or ()

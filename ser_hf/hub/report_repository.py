"""Publishes the evaluation report of a run as a data set on the Hub: pages, pictures, and metrics as tables.

The page of the whole run is at the top, those of folds, seeds and the foil in folders with their names. Tables are
parquet, each a configuration of the data set: ``load_dataset(repo, "predictions")`` loads one.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from ..corpora import CORPORA, corpora_facts, corpus_facts, corpus_options
from ..report.card import hub_page, public, report_values, templates
from ..report.citations import license_metadata, license_text
from ..report.report import SCHEMA, Report
from ..report.write import metrics_table
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_text, read_yaml
from .corpus_repository import size_category
from .push import machine_paths, require_no_paths, without_paths

_PLOTS = (
    *("class_distribution", "confusion_matrix", "per_class", "slices", "confusion_by_corpus", "folds"),
    *("training_curves", "reliability", "robustness", "embeddings_*"),
)
# Tables besides the predictions, and what a row of each is.
_TABLES = {
    "predictions": "a clip: its label, the prediction, the probability of each emotion",
    "scores": "a run (whole, fold or seed) on a split: its metrics and their intervals",
    "slices": "a group of the evaluated clips (a speaker, a sex, a sentence) with its metrics",
    "confusion": "a label and a prediction: the number of clips",
    "metrics": "a metric of the report with its interval",
    "embeddings": "the coordinates of an evaluated clip in the plots of embeddings",
}
_SPLIT = "report"  # of tables without splits; datasets reserves "all"
# Patterns of the files that a push writes, and deletes if a later one does not contain them.
OWNED = (
    *("README.md", "index.html", "report.json", SCHEMA, "predictions/*.parquet"),
    *(f"{name}.parquet" for name in _TABLES),
    *(f"{name}.{suffix}" for name in _PLOTS for suffix in ("png", "svg")),
    *("fold-[0-9]*/*", "seed-[0-9]*/*", "foil/*"),
)
_CHILD = re.compile(r"(fold|seed)-\d+|foil")
# Parts of a page that hold in a run's folder only: links to the reports above and below, players of the corpus's
# files, and links to files beside it.
_ABOVE = re.compile(r'<p class="above"><a href="([^"]+)">[^<]*</a></p>')
_BELOW = re.compile(r'href="\.\./([a-z0-9-]+)/report/index\.html"')
_PLAYERS = re.compile(r"<audio [^>]*></audio>|<p [^>]*>The players read [^<]*</p>")
_BESIDE = re.compile(r'<figcaption class="files-beside"><a href="([^"]+)">.*?</figcaption>', re.DOTALL)
_OFFERED = re.compile(r'<div><dt><a href="([^"]+)">[^<]*</a></dt><dd>[^<]*</dd></div>')


def stage_report(
    run: Path, folder: Path, *, repo_id: str, model_repo: str | None = None, space: str | None = None
) -> None:
    """Fills `folder` with the content of the report's repository. The same run gives the same bytes.

    Args:
        run: the folder of a run, of a sweep (its winner), or of `ser-hf evaluate`.
        repo_id: USER/NAME of the repository, for the snippets of its card.
        model_repo, space: Hub ids of the model that the report describes, and of its demo.

    Raises:
        UserError: if `run` has no report, or a file contains a path of this machine.
    """
    run = Path(run)
    folders, recipe = _report_folders(run / "best" if (run / "sweep.json").is_file() else run)
    reports = {place: _public_report(own, place) for place, own in folders.items()}
    places = machine_paths(run, *_clip_folders(folders.values()), recipe=recipe)
    folder.mkdir(parents=True, exist_ok=True)
    report, source = reports["all"], folders["all"]
    for file in sorted(file for name in _PLOTS for file in source.glob(f"{name}.*")):
        content = file.read_bytes()
        if file.suffix == ".svg":
            content = without_paths(content.decode(), places).encode()
        (folder / file.name).write_bytes(content)
    if (source / SCHEMA).is_file():
        (folder / SCHEMA).write_bytes((source / SCHEMA).read_bytes())
    tables = {
        "scores": scores_table(reports, _published_place(reports)),
        "slices": slices_table(report),
        "confusion": confusion_table(report),
        "metrics": metrics_table(Report.from_dict(report)),
    }
    if (source / "embeddings.parquet").is_file():
        tables["embeddings"] = _without_files(source / "embeddings.parquet")
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    for place, own in folders.items():
        target = folder if place == "all" else folder / place
        if place in ("all", "foil"):  # the predictions of folds and seeds are in the whole run's table
            _stage_predictions(own, target)
        _stage_page(own, reports[place], target, places)
    repositories = {"repo_id": repo_id, "model_repo": model_repo, "space": space}
    card = without_paths(_card(report, recipe, folder, list(folders), **repositories), places)
    (folder / "README.md").write_text(card, encoding="utf-8")
    require_no_paths(folder, places)


def _report_folders(run: Path) -> tuple[dict[str, Path], dict[str, Any] | None]:
    """Folders of the reports by the place of their run below `run`, "all" first, and the recipe, if there is one."""
    place = RunFolder(run)
    if place.complete:
        folders, recipe = {"all": place.report, **_below(place)}, read_yaml(place.recipe)
    elif (run / "report.json").is_file():
        folders, recipe = {"all": run}, None
    elif (run / "matrix.json").is_file():
        below = sorted(child.name for child in run.iterdir() if (child / "report.json").is_file())
        raise UserError(f"{run}: several models on several corpora; name one of its cells, such as {run / below[0]}")
    else:
        raise UserError(f"{run}: no report; name the folder of a run or of ser-hf evaluate")
    return folders, recipe


def _below(folder: RunFolder) -> dict[str, Path]:
    found = {}
    names = [child.name for child in folder.path.iterdir() if _CHILD.fullmatch(child.name)]
    for name in sorted(names, key=lambda name: (name == "foil", len(name), name)):
        child = folder.child(name)
        if child.complete:
            found |= {"/".join(child.place): child.report, **_below(child)}
    return found


def _clip_folders(folders: Iterable[Path]) -> list[str]:
    """The common folder of the clips in each table of predictions."""
    found = []
    for path in (folder / "predictions.parquet" for folder in folders):
        if path.is_file() and "path" in pq.read_schema(path).names:
            cells = pq.read_table(path, columns=["path"])["path"].to_pylist()
            above = {str(Path(cell).parent) for cell in cells if cell and Path(cell).is_absolute()}
            found += [os.path.commonpath(above)] if above else []
    return found


def _public_report(folder: Path, place: str) -> dict[str, Any]:
    """The report without paths of this machine, with the address of the one schema."""
    report = public(json.loads(read_text(folder / "report.json")))
    if report.get("hardest"):
        report["hardest"] = [{**clip, "path": None} for clip in report["hardest"]]
    if place != "all" and "$schema" in report:
        report["$schema"] = "../" * len(place.split("/")) + SCHEMA
    return report


def _published_place(reports: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The place of the run whose weights are published; None of an evaluation of a model."""
    if reports["all"].get("kind") == "evaluation":
        return None
    place: list[str] = []
    while (report := reports.get("/".join(place) or "all")) is not None:
        kind = next((kind for kind in ("fold", "seed") if f"chosen_{kind}" in report), None)
        if kind is None:
            break
        place.append(f"{kind}-{report[f'chosen_{kind}']}")
    return "/".join(place) or "all"


def scores_table(reports: Mapping[str, Mapping[str, Any]], published: str | None = "all") -> pa.Table:
    """A row for each run and each split that its report evaluates: its metrics, and `METRIC_low` and `METRIC_high`,
    the intervals over speakers and their clips.

    Args:
        reports: {place below the whole run, such as fold-1/seed-2: its report}; "all" is the whole one.
        published: the place of the run whose weights are published.
    """
    fields = {"run": pa.string(), "fold": pa.int32(), "seed": pa.int32(), "foil": pa.bool_(), "chosen": pa.bool_()}
    fields |= {"part": pa.string(), "tested": pa.string(), "protocol": pa.string(), "split_sha256": pa.string()}
    fields |= {"leaky": pa.bool_(), "clips": pa.int64(), "speakers": pa.int64()}
    intervals = {metric for report in reports.values() for metric in report.get("intervals", {})}
    for metric in dict.fromkeys(metric for report in reports.values() for metric in report["metrics"]):
        ends = (f"{metric}_low", f"{metric}_high") if metric in intervals else ()
        fields |= dict.fromkeys((metric, *ends), pa.float64())
    rows = [row for place, report in reports.items() for row in _scores(place, report, place == published)]
    return _table(rows, fields)


def _scores(place: str, report: Mapping[str, Any], chosen: bool) -> Iterator[dict[str, Any]]:
    protocol, evaluated = report["protocol"], report["judged_on"]
    numbers = {kind: int(number) for kind, number in re.findall(r"(fold|seed)-(\d+)", place)}
    run = {"run": place, "foil": place.startswith("foil"), "chosen": chosen, **numbers}
    run |= {"tested": protocol.get("fold"), "protocol": protocol["name"], "split_sha256": protocol["sha256"]}
    run["leaky"] = bool(protocol.get("leak"))
    for part, metrics in {**report.get("parts", {}), evaluated: report["metrics"]}.items():
        own = protocol.get("parts", {}).get(part, {})
        row = {**metrics, **run, "part": part, "clips": own.get("clips")}
        row["speakers"] = len(own["speakers"]) if "speakers" in own else None
        if part == evaluated:
            for metric, (low, high) in report.get("intervals", {}).items():
                row |= {f"{metric}_low": low, f"{metric}_high": high}
        yield row


def slices_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each value of each column by which the report groups clips."""
    rows = []
    for column, values in report.get("slices", {}).items():
        for value, metrics in values.items():
            low, high = metrics.get("interval") or (None, None)
            rows.append({**metrics, "column": column, "value": value, "uar_low": low, "uar_high": high})
    fields = {"column": pa.string(), "value": pa.string(), "clips": pa.int64()}
    metrics = ("uar", "uar_low", "uar_high", "wa", "macro_f1", "weighted_f1")
    return _table(rows, fields | dict.fromkeys(metrics, pa.float64()))


def confusion_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each pair of a label and a prediction, with the share of the label's clips."""
    names = report["labels"]
    rows = [
        {"label": label, "predicted": predicted, "clips": clips, "share": clips / sum(counts) if sum(counts) else None}
        for label, counts in zip(names, report["confusion"], strict=True)
        for predicted, clips in zip(names, counts, strict=True)
    ]
    return _table(rows, {"label": pa.string(), "predicted": pa.string(), "clips": pa.int64(), "share": pa.float64()})


def _table(rows: Sequence[Mapping[str, Any]], fields: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in fields} for row in rows], schema=pa.schema(fields))


def _stage_predictions(source: Path, target: Path) -> None:
    if (source / "predictions.parquet").is_file():
        table = _without_files(source / "predictions.parquet")
        (target / "predictions").mkdir(parents=True)
        for part in dict.fromkeys(table["part"].to_pylist()):
            pq.write_table(table.filter(pc.equal(table["part"], part)), target / "predictions" / f"{part}.parquet")


def _without_files(path: Path) -> pa.Table:
    table = pq.read_table(path)
    return table.drop_columns(["path"]) if "path" in table.column_names else table


def _stage_page(source: Path, report: Mapping[str, Any], target: Path, places: Sequence[str]) -> None:
    """Writes report.json and the page, with links that hold in the repository and without players."""
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (target / "report.json").write_text(without_paths(text, places), encoding="utf-8")
    page = without_paths((source / "index.html").read_text(encoding="utf-8"), places)
    page = page.replace("predictions.parquet", f"predictions/{report['judged_on']}.parquet")
    page = _BELOW.sub(r'href="\1/index.html"', page)
    if above := _ABOVE.search(page):  # the matrix above an evaluation is not published with it
        inside = above[1] == "../../report/index.html"
        page = page.replace(above[0], above[0].replace(above[1], "../index.html") if inside else "")
    page = _PLAYERS.sub("", page)
    for pattern in (_BESIDE, _OFFERED):
        page = pattern.sub(lambda found: found[0] if (target / found[1]).is_file() else "", page)
    (target / "index.html").write_text(page, encoding="utf-8")


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
    languages = set()
    for corpus in corpora:
        language = corpus["language"] or ()
        languages |= {language} if isinstance(language, str) else {*language}
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
        **license_metadata(corpora, f"{hub_page(repo_id, 'datasets')}#license"),
    )
    typed = Report.from_dict(report)
    rows = {name: sum(pq.read_metadata(folder / one["path"]).num_rows for one in own) for name, own in tables.items()}
    text = (
        templates()
        .get_template("report_repository.md")
        .render(
            report_values(typed),
            card_data=data.to_yaml(),
            repo_id=repo_id,
            model_repo=model_repo,
            model_page=model_repo and hub_page(model_repo),
            space_page=space and hub_page(space, "spaces"),
            page=f"{hub_page(repo_id, 'datasets')}/resolve/main/index.html",
            children=[place for place in places if place != "all" and "/" not in place],
            tables=[{"name": name, "rows": rows[name], "holds": _TABLES[name]} for name in tables],
            licenses=[f"{one['title']} ({license_text(one['license'])})" for one in corpora if one["license"]],
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _tables(folder: Path, judged_on: str) -> dict[str, list[dict[str, str]]]:
    """The configurations and their files; of predictions the evaluated split first."""
    parts = sorted(
        (path.stem for path in (folder / "predictions").glob("*.parquet")), key=lambda part: (part != judged_on, part)
    )
    found = {"predictions": [{"split": part, "path": f"predictions/{part}.parquet"} for part in parts]}
    for name in _TABLES:
        path = folder / f"{name}.parquet"
        # `load_dataset` refuses a table without rows.
        if path.is_file() and pq.read_metadata(path).num_rows:
            found[name] = [{"split": _SPLIT, "path": path.name}]
    return {name: files for name, files in found.items() if files}


def _corpora(report: Mapping[str, Any], recipe: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Facts of the evaluated corpora; without a recipe of those that have a module."""
    speakers = report["protocol"].get("parts", {}).get(report["judged_on"], {}).get("speakers", [])
    names = sorted({speaker.partition(":")[0] for speaker in speakers})
    if recipe is None:
        return [corpus_facts(name, {}) for name in names if name in CORPORA]
    corpus = recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    return corpora_facts(corpus["name"], options, names)

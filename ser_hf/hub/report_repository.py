"""Publishes the evaluation report of a run as a data set on the Hub: the page, pictures, and tables.

Tables are parquet, each a configuration of the data set: ``load_dataset(repo, "predictions")`` loads one.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from ..corpora import CORPORA, corpora_facts, corpus_facts, corpus_options
from ..report.card import hub_page, public, report_values, templates
from ..report.citations import license_metadata, license_text
from ..report.report import SCHEMA, Report, read_report
from ..report.write import write_report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml, read_yaml
from .push import machine_paths, require_no_paths, without_paths

# Tables, and what a row of each is.
_TABLES = {
    "predictions": "a clip: its label, the prediction, the probability of each emotion",
    "metrics": "a metric of the report (of a split, class, group, fold or seed) with its interval",
    "confusion": "a label and a prediction: the number of clips",
    "embeddings": "the coordinates of an evaluated clip in the plots of embeddings",
}
_SPLIT = "report"  # of tables without splits; datasets reserves "all"
# Patterns of the files that a push writes, and deletes if a later one does not contain them.
OWNED = ("README.md", "index.html", "report.json", SCHEMA, "*.parquet", "*.png", "*.svg")


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
    place = RunFolder(run / "best" if (run / "sweep.json").is_file() else run)
    source, recipe = (place.report, read_yaml(place.recipe)) if place.complete else (run, None)
    if not (source / "report.json").is_file():
        raise UserError(f"{run}: no report; name the folder of a run or of one evaluation of ser-hf evaluate")
    predictions = pq.read_table(source / "predictions.parquet")
    places = machine_paths(run, _clip_folder(predictions), recipe=recipe)
    report = _public_report(source, places)
    corpora = _corpora(report, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    if (source / "embeddings.parquet").is_file():
        pq.write_table(_without_paths(pq.read_table(source / "embeddings.parquet")), folder / "embeddings.parquet")
    facts = corpora[0] if len(corpora) == 1 else None
    write_report(folder, report, recipe=dump_yaml(public(recipe)) if recipe else "", corpus=facts)
    pq.write_table(confusion_table(report), folder / "confusion.parquet")
    (folder / "predictions").mkdir()
    for part in dict.fromkeys(predictions["part"].to_pylist()):
        own = _without_paths(predictions.filter(pc.equal(predictions["part"], part)))
        pq.write_table(own, folder / "predictions" / f"{part}.parquet")
    card = _card(report, corpora, folder, repo_id, model_repo, space)
    (folder / "README.md").write_text(without_paths(card, places), encoding="utf-8")
    require_no_paths(folder, places)


def _public_report(source: Path, places: Sequence[str]) -> Report:
    """The report without paths of this machine."""
    values = public(read_report(source / "report.json").to_dict())
    values["hardest"] = [{**clip, "path": None} for clip in values.get("hardest", ())]
    return Report.from_dict(json.loads(without_paths(json.dumps(values, ensure_ascii=False), places)), source)


def _clip_folder(predictions: pa.Table) -> str | None:
    """The common folder of the clips in a table of predictions."""
    cells = predictions["path"].to_pylist() if "path" in predictions.column_names else []
    above = {str(Path(cell).parent) for cell in cells if cell and Path(cell).is_absolute()}
    return os.path.commonpath(above) if above else None


def _without_paths(table: pa.Table) -> pa.Table:
    return table.drop_columns(["path"]) if "path" in table.column_names else table


def confusion_table(report: Report) -> pa.Table:
    """A row for each pair of a label and a prediction, with the share of the label's clips."""
    rows = [
        {"label": label, "predicted": predicted, "clips": clips, "share": clips / sum(counts) if sum(counts) else None}
        for label, counts in zip(report.labels, report.confusion, strict=True)
        for predicted, clips in zip(report.labels, counts, strict=True)
    ]
    return pa.Table.from_pylist(rows)


def _card(
    report: Report,
    corpora: Sequence[Mapping[str, Any]],
    folder: Path,
    repo_id: str,
    model_repo: str | None,
    space: str | None,
) -> str:
    # The viewer shows the first split: that of the results.
    parts = sorted((path.stem for path in (folder / "predictions").iterdir()), key=lambda one: one != report.judged_on)
    files = {"predictions": [{"split": part, "path": f"predictions/{part}.parquet"} for part in parts]}
    for name in _TABLES:
        path = folder / f"{name}.parquet"
        if path.is_file() and pq.read_metadata(path).num_rows:  # `load_dataset` refuses a table without rows
            files[name] = [{"split": _SPLIT, "path": path.name}]
    tags = ["speech-emotion-recognition", "evaluation", "ser_hf"]
    data = DatasetCardData(
        pretty_name=f"{report.name}: evaluation report",
        task_categories=["audio-classification"],
        tags=[*tags, "leaky-protocol"] if report.protocol.leak else tags,
        configs=[
            {"config_name": name, "data_files": own, **({"default": True} if name == "predictions" else {})}
            for name, own in files.items()
        ],
        **license_metadata(corpora, f"{hub_page(repo_id, 'datasets')}#license"),
    )
    rows = {name: sum(pq.read_metadata(folder / one["path"]).num_rows for one in own) for name, own in files.items()}
    values = report_values(report) | {
        "card_data": data.to_yaml(),
        "repo_id": repo_id,
        "model_repo": model_repo,
        "model_page": model_repo and hub_page(model_repo),
        "space_page": space and hub_page(space, "spaces"),
        "page": f"{hub_page(repo_id, 'datasets')}/resolve/main/index.html",
        "tables": [{"name": name, "rows": rows[name], "holds": _TABLES[name]} for name in files],
        "licenses": [f"{one['title']} ({license_text(one['license'])})" for one in corpora if one["license"]],
    }
    return re.sub(r"\n{3,}", "\n\n", templates().get_template("report_repository.md").render(values))


def _corpora(report: Report, recipe: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Facts of the evaluated corpora; without a recipe of those that have a module."""
    evaluated = report.protocol.parts.get(report.judged_on)
    names = sorted({speaker.partition(":")[0] for speaker in (evaluated.speakers if evaluated else ())})
    if recipe is None:
        return [corpus_facts(name, {}) for name in names if name in CORPORA]
    corpus = recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    return corpora_facts(corpus["name"], options, names)

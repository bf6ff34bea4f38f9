"""The report of a run that stands, written anew from its own numbers."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..corpora import corpus_facts, corpus_options
from ..report.card import public
from ..report.write import write_numbers
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.run_folder import RunFolder, is_ours
from ..utils.yaml import dump_yaml, read_yaml
from .outputs import report_links


def rewrite_report(run: str | Path) -> Path:
    """Writes a run's report anew from its own numbers, pictures and page and all, as this version does; returns the
    page. What an older run did not measure stays unknown.

    Raises:
        UserError: if the folder holds no run that was judged.
    """
    folder = RunFolder(run)
    if not folder.complete:
        raise UserError(f"{run}: no run that was judged; it has no report/report.json")
    # Where this run stands in a larger one, so that its page leads back up.
    if (folder.path.resolve().parent / "recipe.yaml").is_file() and is_ours(folder.path.resolve().name):
        folder = RunFolder(run, (folder.path.resolve().name,))
    report, predictions = folder.read_report(), pq.read_table(folder.report / "predictions.parquet")
    report.setdefault("class_distribution", _distribution(report, predictions))
    recipe = read_yaml(folder.recipe)
    corpus = recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    told = {
        "recipe": dump_yaml(public({key: value for key, value in recipe.items() if key != "provenance"})),
        "corpus": corpus_facts(corpus["name"], options),
        "links": report_links(report, folder),
    }
    with atomic_folder(folder.report) as partial:
        shutil.copytree(folder.report, partial, dirs_exist_ok=True)
        write_numbers(partial, report, **told)
    return folder.report / "index.html"


def _distribution(report: Mapping[str, Any], predictions: pa.Table) -> dict[str, dict[str, int]]:
    """Clips of each class in each part, or in each fold's judged part; each clip once, however many seeds heard it."""
    folds = predictions["fold"].to_pylist() if "fold" in predictions.column_names else [None] * len(predictions)
    columns = (predictions[name].to_pylist() for name in ("part", "id", "label"))
    counts: dict[str, Counter] = {}
    for fold, part, _, label in dict.fromkeys(zip(folds, *columns, strict=True)):
        if fold is None or part == report["judged_on"]:
            counts.setdefault(part if fold is None else f"fold {fold}", Counter())[label] += 1
    return {part: {label: own[label] for label in report["labels"]} for part, own in counts.items()}

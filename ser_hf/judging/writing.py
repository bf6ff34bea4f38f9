"""The folder of a judgement: predictions, embeddings, numbers, pictures and the page; and its figures in two lines."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import UserError
from ..evaluation.judged import to_table
from ..evaluation.writing import write_numbers
from .judge_model import Judgement

MATRIX = "matrix.json"


def require_place(folder: Path, overwrite: bool) -> None:
    """Refuses a place that holds anything but an evaluation, and an evaluation unless it is to be replaced.

    Raises:
        UserError: naming ``--output``.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output: {folder} is a file; name a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_evaluation(folder):
        raise UserError(f"--output: {folder} holds files that are no evaluation's; choose another folder")
    if not overwrite:
        raise UserError(f"--output: {folder} holds an evaluation already; replace it with --overwrite")


def _is_evaluation(folder: Path) -> bool:
    strangers = [child for child in folder.iterdir() if child.is_dir() and not _is_evaluation(child)]
    if strangers or (folder.parent / "recipe.yaml").is_file():
        return False
    if (folder / MATRIX).is_file():
        return True
    try:
        return json.loads((folder / "report.json").read_text(encoding="utf-8")).get("kind") == "evaluation"
    except (OSError, ValueError, AttributeError):
        return False


def write_judgement(
    folder: Path, judgement: Judgement, corpus: Mapping[str, Any] | None = None, above: str | None = None
) -> None:
    """Fills `folder`, which its caller makes appear whole (`ser_hf.whole.whole_folder`).

    Args:
        corpus: what `ser_hf.corpora.corpus_facts` says of the clips, for how to cite them.
        above: address of the matrix that this is a cell of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    judged, report = judgement.judged, judgement.report
    pq.write_table(to_table("test", judged), folder / "predictions.parquet")
    if judgement.points is not None:
        pq.write_table(judgement.points, folder / report["embeddings"]["points"])
    counts = Counter(judged.labels.tolist())
    distribution = {"test": {name: counts[i] for i, name in enumerate(judged.names)}}
    write_numbers(folder, {**report, "class_distribution": distribution}, corpus=corpus, links={"above": above})


def summary(report: Mapping[str, Any]) -> str:
    """The headline and what flatters it, for a terminal."""
    metrics, (low, high) = report["metrics"], report["intervals"]["uar"]
    lines = [
        f"{report['name']}: UAR {metrics['uar']:.3f} ({100 * report['confidence']:g} % interval {low:.3f} to "
        f"{high:.3f}), macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}; {report['clips']:,} clips of "
        f"{report['speakers']} speakers, {len(report['labels'])} labels"
    ]
    if report["protocol"]["leak"]:
        lines.append(f"  leaks: {report['protocol']['leak']}")
    lines += [f"  {note}" for note in (*report["protocol"]["notes"], *report["warnings"])]
    return "\n".join(lines)

"""Writes the file by which the leaderboard of a benchmark on the Hub shows a model's result."""

import dataclasses
import re
from pathlib import Path

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from ..evaluation.metrics import NAMES
from ..report.report import Report
from ..utils.errors import UserError

# The folder of a model repository in which the Hub looks for results.
FOLDER = ".eval_results"
_BENCHMARK = re.compile(
    r"(?P<dataset>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(:(?P<task>[\w.-]{1,95}))?"
)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A dataset on the Hub whose leaderboard shows results of models.

    Args:
        dataset: USER/NAME of the dataset.
        task: the id of one of its tasks, from the dataset's ``eval.yaml``.
    """

    dataset: str
    task: str = "default"

    @classmethod
    def from_text(cls, text: str) -> "Benchmark":
        """Read USER/NAME or USER/NAME:TASK.

        Raises:
            UserError: if the text is neither.
        """
        match = _BENCHMARK.fullmatch(text)
        if match is None:
            raise UserError(
                "hub.benchmark: expected USER/NAME of a dataset, or USER/NAME:TASK, "
                f"got {text!r:.100}"
            )
        return cls(match["dataset"], match["task"] or "default")


def write_result(folder: Path, report: Report, benchmark: Benchmark) -> Path:
    """Write the headline metric of a report for a benchmark, as `.eval_results/NAME.yaml`.

    The notes of the entry name the metric, the protocol and the fingerprint of the split, because
    results of other splits must not be compared with it. The format is that of
    https://huggingface.co/docs/hub/eval-results.

    Args:
        folder: the folder of the model's repository.

    Raises:
        UserError: if the report has no result of test speakers from a protocol without a leak.
    """
    entry = result_entry(report, benchmark)
    name = re.sub(r"[^a-z0-9]+", "-", benchmark.dataset.rpartition("/")[2].lower()).strip("-")
    path = folder / FOLDER / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def result_entry(report: Report, benchmark: Benchmark) -> EvalResultEntry:
    """Make the entry of a leaderboard from the headline metric of a report.

    Raises:
        UserError: see `write_result`.
    """
    require_comparable(report, benchmark)
    protocol = report.protocol
    of_fold = "" if protocol.fold is None else f", fold {protocol.fold}"
    notes = f"{NAMES[report.main]}, protocol {protocol.name}{of_fold}, split {protocol.sha256[:16]}"
    return EvalResultEntry(
        dataset_id=benchmark.dataset,
        task_id=benchmark.task,
        value=round(report.metrics[report.main], 4),
        notes=notes,
    )


def require_comparable(report: Report, benchmark: Benchmark) -> None:
    """Refuse a report whose result must not stand beside others on a leaderboard.

    Raises:
        UserError: if the protocol leaks, or the result is one of the validation split.
    """
    if report.protocol.leak:
        raise UserError(
            f"hub.benchmark: {benchmark.dataset} takes no result of a protocol that leaks "
            f"({report.protocol.name})"
        )
    if report.evaluated_split != "test":
        raise UserError(
            f"hub.benchmark: {benchmark.dataset} takes results of test speakers, and this run was "
            f"evaluated on {report.evaluated_split}; run it again with evaluation.part=test"
        )

"""The report of an evaluated model as typed sections, from which report.json and its JSON schema
follow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ..evaluation.metrics import METRICS
from ..evaluation.sections import Positive, Results, Robustness, Scores, Temperature
from ..evaluation.tasks import TASKS, Task
from ..utils.errors import UserError
from ..utils.files import first_problem, read_json
from .sections import Header, Run, Seconds, Training

SCHEMA = "report_schema.json"

Numbers = dict[str, bool | int | float | None]


class Report(Results, Header):
    """report.json of ser_hf. Keys without a result are absent. Scores run from 0 to 1, times are
    seconds.
    """

    temperature: Temperature | None = Field(
        None, description="Temperature scaling; null if it was not fitted."
    )
    temperatures: dict[str, Positive] | None = Field(
        None, description="Over folds or seeds: of each run, by number."
    )
    robustness: Robustness | None = Field(None, description="The same weights on degraded clips.")
    transductive: Scores | None = Field(
        None,
        description="Results of a second fit, which is not published, with features standardized per speaker.",
    )
    parts: dict[str, Scores] = Field(
        {}, description="The same weights, or those of before a refit, on other splits."
    )
    deviations: Scores = Field(
        {}, description="Standard deviation of each metric over folds or seeds (n - 1)."
    )
    seeds: dict[str, Run] | None = Field(None, description="By seed.")
    chosen_seed: int | None = Field(
        None, description="The seed whose weights are published: best on validation."
    )
    chosen_fold: int | None = Field(
        None, description="The fold whose weights are published: best on validation."
    )
    history: list[dict[str, Numbers | list[float] | bool | int | float | None]] = Field(
        [],
        description="By epoch (by candidate of the grid for scikit-learn): epoch, step, train_loss (since the last "
        "entry), learning rates, train and validation metrics (for scikit-learn of cross-validation), grad_norm, "
        "candidate, folds (`selected_by` of each fold of cross-validation), kept; empty over several runs.",
    )
    selected_by: str | None = Field(
        None, description="Metric that selects the checkpoint, or the candidate."
    )
    validated: float | None = Field(
        None, description="That metric of the kept checkpoint; the loss is negated."
    )
    seconds: Seconds = Field(Seconds(), description="Wall clock time.")
    training: Training = Field(Training(), description="What the machine or the recipe decided.")
    definitions: dict[str, str] = Field({}, description="Definition of each metric.")

    def __repr__(self) -> str:
        score = self.metrics.get(self.main)
        return f"Report({self.name}, {self.main} on {self.evaluated_split}: {score and round(score, 3)})"

    @classmethod
    def from_dict(cls, values: Any, source: str | Path = "report") -> "Report":
        """The report of JSON values.

        Args:
            source: file or folder that the error names.

        Raises:
            UserError: if it is not a report of ser_hf.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{source}: not a report of ser_hf: {first_problem(error)}") from None

    @property
    def measured(self) -> Task:
        """The task with its metrics and words."""
        return TASKS[self.task]

    @property
    def main(self) -> str:
        """The key of the metric of headlines and pictures."""
        return self.measured.main

    @property
    def runs(self) -> dict[str, Run]:
        """The folds or seeds of a report over several runs; empty for a single run."""
        return self.protocol.folds or self.seeds or {}

    @property
    def chosen(self) -> str | None:
        """The folder of the run whose weights are published, such as `fold-1`; None for a single
        run.
        """
        if self.chosen_fold is not None:
            return f"fold-{self.chosen_fold}"
        return None if self.chosen_seed is None else f"seed-{self.chosen_seed}"


def read_report(path: Path) -> Report:
    """The report in a report.json of any origin, whose sections fit together.

    Raises:
        UserError: if the file is not a report of ser_hf.
    """
    report = Report.from_dict(read_json(path), path)
    for key, holds, problem in _requirements(report):
        if not holds:
            raise UserError(f"{path}: not a report of ser_hf: {key}: {problem}")
    return report


def _requirements(report: Report) -> Iterator[tuple[str, bool, str]]:
    """(key, whether it fits the other sections, the problem if it does not)."""
    labels = report.labels
    main = report.measured.headline[:3]
    runs = report.runs
    rated = report.measured.problem_type == "regression"
    own: list[Any] = [
        report,
        *report.corpora.values(),
        *runs.values(),
        *filter(None, [report.pooled]),
    ]
    counts = [report.perceived.counts] if report.perceived else []
    counts += [section.confusion for section in own if hasattr(section, "confusion")]
    classes = [list(section.per_class) for section in own if hasattr(section, "per_class")]
    yield "labels", 0 < len(set(labels)) == len(labels), "expected at least one, each once"
    square = all(
        [len(row) for row in rows] == [len(labels)] * len(labels)
        for rows in counts
        if rows or not rated
    )
    yield (
        "confusion",
        square,
        f"expected {len(labels)} rows of {len(labels)} counts, one for each label",
    )
    yield (
        "per_class",
        set().union(*classes) <= set(labels),
        "contains a label that is not in labels",
    )
    yield (
        "per_dimension",
        list(report.per_dimension) == labels * rated,
        "expected the dimensions of labels",
    )
    distribution = (report.class_distribution or {}).values()
    yield (
        "class_distribution",
        all(list(clips) == labels for clips in distribution),
        "expected labels as keys",
    )
    scored = all(section.metrics.get(name) is not None for section in own for name in main)
    yield "metrics", set(report.metrics) <= set(METRICS), "contains an unknown metric"
    yield "metrics", scored, f"expected {', '.join(main)}, for each run and corpus too"
    bins = [
        (one.confidence, one.accuracy)
        for one in (report.calibration.bins if report.calibration else ())
        if one.clips
    ]
    known = not report.calibration or (bool(bins) and all(None not in own for own in bins))
    yield "calibration", known, "expected a confidence and an accuracy for each bin with clips"
    shown = report.main, report.measured.beside[0]
    drawn = all(
        _drawable(entry, shown, report.selected_by or report.main) for entry in report.history
    )
    yield "history", drawn, "expected a number for epoch, loss and each metric"
    chosen = {
        str(number) for number in (report.chosen_fold, report.chosen_seed) if number is not None
    }
    yield "chosen_fold or chosen_seed", chosen <= set(runs), "there is no such run"
    yield "folds or seeds", all(number.isdecimal() for number in runs), "expected numbers as keys"
    compared = [
        ({*foil.gap, report.main}, {*foil.gap} & {*foil.metrics} & {*foil.against})
        for foil in [report.foil]
        if foil
    ]
    compared += [({*seen.metrics}, {*seen.same_clips}) for seen in [report.perceived] if seen]
    yield (
        "foil or perceived",
        all(one <= other for one, other in compared),
        "the compared metrics differ",
    )
    rows = [row for values in report.slices.values() for row in values.values()]
    yield (
        "slices",
        rated or all(row.uar is not None for row in rows),
        "expected the UAR of each group",
    )
    named = all(
        {gap.best, gap.worst} <= set(report.slices.get(name, ()))
        for name, gap in (report.gaps or {}).items()
    )
    yield "gaps", named, "names a group that has no results"


def _drawable(entry: dict[str, Any], shown: tuple[str, ...], metric: str) -> bool:
    """Whether an entry of the history has what the training curves show."""
    numbers = [entry.get("epoch"), entry.get("train_loss", 0.0)]
    for key, names in (("train", shown), ("validation", (*shown, "loss", metric))):
        if scores := entry.get(key):
            numbers += [scores.get(name) if isinstance(scores, dict) else None for name in names]
    if folds := entry.get("folds"):
        numbers += folds if isinstance(folds, list) else [None]
    return all(isinstance(number, int | float) for number in numbers)


def report_schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    schema = Report.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Report of a speech emotion recognition model",
    }

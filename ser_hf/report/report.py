"""The report of an evaluated model as typed sections, from which report.json and its JSON schema
follow.
"""

import copy
import functools
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ..evaluation.sections import (
    Abstention,
    Adaptation,
    EmbeddingMap,
    LabelThreshold,
    LearningCurve,
    NewSpeaker,
    Positive,
    RatingCalibration,
    Results,
    Robustness,
    Scores,
    Share,
    Temperature,
)
from ..evaluation.tasks import TASKS, Task
from ..utils.errors import UserError
from ..utils.files import first_problem, read_json
from .checks import problem_of
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
    rating_scale: dict[str, RatingCalibration] | None = Field(
        None, description="Of dimensions: calibration by dimension; null if it was not fitted."
    )
    robustness: Robustness | None = Field(None, description="The same weights on degraded clips.")
    embeddings: EmbeddingMap | None = Field(
        None, description="The embeddings of the evaluated clips in two dimensions."
    )
    new_speaker: NewSpeaker | None = Field(
        None, description="What to expect from a new speaker; null for dimensions."
    )
    learning_curve: LearningCurve | None = Field(
        None, description="Scores with fewer training speakers or clips; null unless requested."
    )
    transductive: Scores | None = Field(
        None,
        description=(
            "Results of a second fit, which is not published, with features standardized per "
            "speaker."
        ),
    )
    label_threshold: LabelThreshold | None = Field(
        None, description="Of sets of labels: the decision on a label; null for other tasks."
    )
    label_thresholds: dict[str, Share] | None = Field(
        None, description="Over folds or seeds: the threshold of each run, by number."
    )
    abstention: Abstention | None = Field(
        None, description="Predictions that reach a probability, and the error that they keep."
    )
    adaptation: Adaptation | None = Field(
        None,
        description=(
            "The same weights, adapted to each speaker, folder or recording without labels "
            "(transductive)."
        ),
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
        description=(
            "By epoch (by candidate of the grid for scikit-learn): epoch, step, train_loss "
            "(since the last entry), learning rates, train and validation metrics (for "
            "scikit-learn of cross-validation), grad_norm, candidate, folds (`selected_by` of "
            "each fold of cross-validation), kept; empty over several runs."
        ),
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
        return (
            f"Report({self.name}, {self.main} on {self.evaluated_split}: "
            f"{score and round(score, 3)})"
        )

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        from .notebook import report_html

        return report_html(self)

    @classmethod
    def from_dict(cls, values: Any, source: str | Path = "report") -> "Report":
        """Read a report from JSON values.

        Args:
            source: the file or folder that an error message names.

        Raises:
            UserError: if the values are not a report of ser_hf.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{source}: not a report of ser_hf: {first_problem(error)}") from None

    @property
    def measured(self) -> Task:
        """The task of the report, with its metrics and words."""
        return TASKS[self.task]

    @property
    def main(self) -> str:
        """The key of the main metric, which headlines and pictures show."""
        return self.measured.main

    @property
    def runs(self) -> dict[str, Run]:
        """The folds or seeds of a report over several runs; empty for a single run."""
        return self.protocol.folds or self.seeds or {}

    @property
    def chosen(self) -> str | None:
        """The folder name of the run with the published weights; None for a single run.

        An example is `fold-1`.
        """
        if self.chosen_fold is not None:
            return f"fold-{self.chosen_fold}"
        return None if self.chosen_seed is None else f"seed-{self.chosen_seed}"


def read_report(path: Path) -> Report:
    """Read a report.json, and check that its sections fit together.

    Raises:
        UserError: if the file is not a report of ser_hf.
    """
    report = Report.from_dict(read_json(path), path)
    problem = problem_of(report)
    if problem is not None:
        raise UserError(f"{path}: not a report of ser_hf: {problem}")
    return report


def report_schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    schema = copy.deepcopy(_schema_of_fields())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Report of a speech emotion recognition model",
    }


@functools.cache
def _schema_of_fields() -> dict[str, Any]:
    """The schema of the fields: pydantic needs 0.1 s for it, and each fold writes it."""
    return Report.model_json_schema()

"""The report of an evaluated model, from which report.json and its JSON schema follow."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ..utils.errors import UserError
from .sections import (
    Audit,
    Calibration,
    ClassScores,
    CorpusScores,
    Count,
    Counts,
    Embeddings,
    Energy,
    Environment,
    Foil,
    Gap,
    HardClip,
    Intervals,
    LabelMapping,
    Model,
    Perceived,
    Pooled,
    Protocol,
    Robustness,
    Run,
    Scores,
    Seconds,
    Section,
    Slice,
    Source,
    Temperature,
    Training,
)

SCHEMA = "report_schema.json"


class Report(Section):
    """report.json of ser_hf. Keys without a result are absent. Scores run from 0 to 1, times are seconds."""

    schema_file: str | None = Field(default=None, alias="$schema")
    """The schema file beside the report."""
    name: str
    """Name of the recipe."""
    kind: Literal["evaluation"] | None = None
    """`evaluation` for a model that was evaluated without training. Absent in the report of a run."""
    judged_on: Literal["test", "validation"]
    """The evaluated split: test, or validation while configurations are compared."""
    output_dir: str | None = None
    """Folder of the run, as the recipe names it."""
    labels: list[str]
    """The classes, in the order of all lists of counts."""
    protocol: Protocol
    """How the clips were split."""
    audit: Audit
    """What the splits share."""
    recordings: dict[str, Any] | None = None
    """Recordings that augmentation mixes in, by recipe key: number and digest."""
    sources: list[Source] | None = None
    """The labels of the corpus files and their classes."""
    label_words: list[LabelMapping] | None = None
    """The labels of an evaluated model and their classes."""
    foil: Foil | None = None
    """Results under a leaky protocol; null unless requested."""
    model: Model = Model()
    """The network."""
    environment: Environment = Environment()
    """The machine and the package versions."""
    clips: Count | None = None
    """Evaluated clips. Several folds may evaluate the same clip."""
    speakers: Count | None = None
    """Speakers of these clips."""
    metrics: Scores
    """Of the evaluated split; over folds and seeds the mean."""
    intervals: Intervals = {}
    """Over speakers and their clips: hierarchical bootstrap, percentiles; over folds and seeds those of the mean. ECE
    has none, because resampling biases it upwards."""
    clip_intervals: Intervals = {}
    """Over clips only."""
    confidence: float = 0.95
    """Confidence level of all intervals, 0 to 1."""
    per_class: dict[str, ClassScores] = {}
    """By label."""
    confusion: Counts
    """Counts of clips: true classes in rows, predicted classes in columns, in the order of `labels`; summed over seeds
    and folds."""
    calibration: Calibration | None = None
    """Calibration of the probabilities."""
    temperature: Temperature | None = None
    """Temperature scaling; null if it was not fitted."""
    temperatures: dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Over folds or seeds: the temperature of each run, by number."""
    maps: list[str] | None = None
    """Over folds or seeds: the runs (folders beside this report) whose page has a map of embeddings."""
    slices: dict[str, dict[str, Slice]] = {}
    """By column (corpus, speaker, sex, age_group in years, language, sentence, intensity, duration in seconds), then
    by value."""
    gaps: dict[str, Gap] | None = None
    """By column: the groups with the highest and the lowest score."""
    perceived: Perceived | None = None
    """The same predictions against the other label of the clips; null without one."""
    corpora: dict[str, CorpusScores] = {}
    """By corpus, if there are several."""
    hardest: list[HardClip] = []
    """The 20 clips whose label got the lowest probability, the lowest first."""
    robustness: Robustness | None = None
    """The same weights on degraded clips."""
    embeddings: Embeddings | None = None
    """Maps of the input of the last layer."""
    class_distribution: dict[str, dict[str, Count]] | None = None
    """Clips by split (over folds: the evaluated split of each fold) and label."""
    warnings: list[str] = []
    """Limits of the results, in sentences."""
    parts: dict[str, Scores] = {}
    """The same weights on the other splits."""
    pooled: Pooled | None = None
    """The predictions of all folds together."""
    deviations: Scores = {}
    """Standard deviation of each metric over folds or seeds (n - 1)."""
    seeds: dict[str, Run] | None = None
    """By seed."""
    chosen_seed: int | None = None
    """The seed with the best validation score; its weights are published."""
    chosen_fold: int | None = None
    """The fold with the best validation score; its weights are published."""
    history: list[dict[str, Any]] = []
    """By epoch (by candidate of the grid for scikit-learn): epoch, step, train_loss (mean since the last entry, nats),
    learning rates, train and validation metrics, grad_norm, candidate, kept; empty over several runs."""
    selected_by: str | None = None
    """Validation metric that selects the checkpoint."""
    validated: float | None = None
    """That metric of the kept checkpoint; higher is better (the loss is negated)."""
    seconds: Seconds = Seconds()
    """Wall clock time."""
    energy: Energy | None = None
    """Energy of the training."""
    training: Training = Training()
    """What the machine or the recipe decided."""
    definitions: dict[str, str] = {}
    """Definition of each metric."""

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
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"{source}: not a report of ser_hf: {place}: {first['msg']}") from None

    @property
    def runs(self) -> dict[str, Run]:
        """The folds or seeds of a report over several runs; empty for a single run."""
        return self.protocol.folds or self.seeds or {}

    @property
    def chosen(self) -> str | None:
        """The folder of the run whose weights are published, such as `fold-1`; None for a single run."""
        if self.chosen_fold is not None:
            return f"fold-{self.chosen_fold}"
        return None if self.chosen_seed is None else f"seed-{self.chosen_seed}"


def read_report(path: Path) -> Report:
    """The report in a report.json.

    Raises:
        UserError: if the file is not a report of ser_hf.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a report of ser_hf: {error}") from None
    return Report.from_dict(values, path)


def report_schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    schema = Report.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Report of a speech emotion recognition model",
    }

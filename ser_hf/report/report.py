"""The report of an evaluated model as typed sections, from which report.json and its JSON schema
follow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..evaluation.metrics import METRICS
from ..evaluation.tasks import TASKS, Task
from ..utils.errors import UserError
from ..utils.files import first_problem, read_json

SCHEMA = "report_schema.json"

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Counts = list[list[Count]]
_METRIC_SCHEMAS = {
    key: {
        "description": f"{metric.definition[0].upper()}{metric.definition[1:]}.",
        "type": ["number", "null"],
    }
    for key, metric in METRICS.items()
}
_METRIC_SCHEMAS["loss"] = {
    "description": "The training loss on this split, nats.",
    "type": "number",
}
Scores = Annotated[
    dict[str, float | None], Field(json_schema_extra={"properties": _METRIC_SCHEMAS})
]
Intervals = dict[str, Interval | None]
Kind = Literal["speakers", "sessions", "sentences", "recordings", "near_duplicates"]
Numbers = dict[str, bool | int | float | None]


class Section(BaseModel):
    """A part of the report. Keys that were not measured are absent from report.json, as they are
    None here.
    """

    model_config = ConfigDict(protected_namespaces=(), allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """The section as JSON values, with the keys that were set."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class Split(Section):
    """One split: train, validation or test."""

    clips: Count = Field(description="Clips.")
    speakers: list[str] = Field(description="Speakers, each prefixed by the corpus.")


class Run(Section):
    """One fold or seed."""

    metrics: Scores = Field(description="Of the evaluated split.")
    validation: Scores | None = Field(None, description="Of the validation split.")
    tested: str | None = Field(None, description="The test speakers of this fold.")
    sha256: str | None = Field(None, description="Digest of the sorted clip ids of the fold.")
    parts: dict[str, Split] = Field({}, description="By split: train, validation, test.")


class Protocol(Section):
    """How the clips were split."""

    name: str | None = Field(None, description="Name of the split rule or published list.")
    sha256: str | None = Field(
        None, description="Fingerprint of the sorted clip ids of each split, over all folds."
    )
    clips: list[str] = Field([], description="Per fold, a digest of the samples of the clips.")
    leak: str | None = Field(
        None, description="Why the results do not hold for new speakers; null without a leak."
    )
    notes: list[str] = Field([], description="Notes about the split, in sentences.")
    fold: str | None = Field(
        None, description="Name of the fold, if the report is of a single one."
    )
    parts: dict[str, Split] = Field(
        {}, description="By split; over several folds the evaluated split only."
    )
    folds: dict[str, Run] | None = Field(
        None, description="By number: each fold with its splits and results."
    )
    inherited: list[str] | None = Field(
        None, description="Training speakers of the initial checkpoint."
    )


class Audit(Section):
    """What two splits share, counted before training; over several folds the worst of them."""

    shared: dict[str, dict[Kind, Count | None]] = Field(
        description="By pair of splits (`train/test`), then by kind: number of speakers, sessions, sentences, "
        "recordings (equal samples), near_duplicates (one take, cut or re-encoded) in both; null if unknown."
    )
    apart: dict[str, list[str]] = Field(
        {}, description="By pair of splits: what the protocol keeps apart."
    )
    duplicates: Count = Field(
        0, description="Clips that repeat the samples of another clip within a split."
    )


class Source(Section):
    """A label of one corpus."""

    corpus: str = Field(description="Name of the corpus.")
    emotion: str | None = Field(None, description="The canonical emotion; null if there is none.")
    word: str | None = Field(None, description="The label in the corpus files.")
    label: str | None = Field(
        None, description="The class it is mapped to; null if it was left out."
    )
    left_out: str | None = Field(None, description="Why it was left out.")
    clips: Count = Field(description="Clips with this label.")


class LabelMapping(Section):
    """One label of the evaluated model."""

    word: str = Field(description="The label in the model's configuration.")
    emotion: str | None = Field(None, description="The class it is mapped to; null for none.")
    counted: bool = Field(
        False, description="Whether predictions of it count: unknown emotions do, as errors."
    )


class Foil(Section):
    """The same recipe under a leaky protocol."""

    protocol: str = Field(description="Name of the leaky protocol.")
    sha256: str | None = Field(None, description="Fingerprint of its splits.")
    metrics: Scores = Field(description="Results under the leaky protocol.")
    intervals: Intervals = Field({}, description="Confidence intervals of these results.")
    audit: Audit | None = Field(None, description="What its splits share.")
    against: Scores = Field(description="Results under the protocol of this report.")
    gap: dict[str, float] = Field(description="Leaky result minus own result, by metric.")


class Origin(Section):
    """The file of published weights that a network of ser_hf starts from."""

    file: str = Field(description="Name of the file.")
    source: str = Field(description="Where it is published.")
    licence: str = Field(description="License of the weights.")


class Model(Section):
    """The network."""

    architecture: str | None = Field(None, description="As the recipe names it.")
    model_type: str | None = Field(None, description="As transformers names it.")
    checkpoint: str | None = Field(
        None, description="The initial checkpoint; null for random initialization."
    )
    base_model: str | None = Field(
        None,
        pattern=r"^[\w.-]+(/[\w.-]+)?$",
        description="Hub id of the checkpoint; null if it is not from the Hub.",
    )
    encoder: str | None = Field(
        None, description="Encoder, as transformers names it; null for networks of ser_hf."
    )
    origin: Origin | None = Field(
        None, description="The file of published weights that the network starts from."
    )
    remote_code: bool = Field(False, description="Whether loading needs trust_remote_code.")
    padding_safe: bool | None = Field(
        None, description="Whether padding leaves the predictions unchanged."
    )
    sampling_rate: Count | None = Field(None, description="Sampling rate of the input, Hz.")
    preparation: str = Field("", description="How every clip is prepared, in words.")
    depth: str = Field("", description="Which parts were trained, in words.")
    augmentation: str = Field("", description="Augmentation of the training clips, in words.")
    adapter: bool = Field(False, description="Whether adapters were trained (LoRA).")
    parameters: Count | None = Field(None, description="Number of parameters.")
    learning: Count | None = Field(None, description="Number of trainable parameters.")
    solver: str | None = Field(None, description="Trainer or sklearn.")
    revision: str | None = Field(
        None, description="Commit of the checkpoint on the Hub, or hash of its weights."
    )
    untrained: list[str] = Field(
        [], description="Tensors that the model's files lack; they hold random numbers."
    )
    learnt_from: list[str] | None = Field(
        None, description="Training corpora of an evaluated model; null if unknown."
    )


class Environment(Section):
    """The machine and the package versions."""

    versions: dict[str, str | None] = Field({}, description="By package; null if not installed.")
    git_revision: str | None = Field(
        None, description="Commit of the toolkit, with `+changes` if it was edited."
    )
    platform: str | None = Field(None, description="Operating system.")
    processor: str | None = Field(None, description="Name of the processor.")
    cores: Count | None = Field(None, description="Cores available to the run.")
    threads: Count | None = Field(None, description="Threads of torch.")
    accelerator: str | None = Field(None, description="Name of the GPU; null without one.")
    processes: Count = Field(1, description="Training processes.")


class ClassScores(Section):
    """Results for one class."""

    precision: float = Field(
        description="Share of the predictions of this class that are correct, 0 to 1."
    )
    recall: float = Field(
        description="Share of the clips of this class that are recognized, 0 to 1."
    )
    f1: float = Field(description="Harmonic mean of precision and recall, 0 to 1.")
    support: Count = Field(description="Clips of this class.")
    recall_interval: Interval | None = Field(
        None, description="Interval of the recall over speakers and their clips."
    )


class DimensionScores(Section):
    """Results for one dimension; ratings and predictions from 0 to 1."""

    ccc: float | None = Field(None, description="Concordance correlation coefficient, -1 to 1.")
    pearson: float | None = Field(
        None, description="Pearson's correlation, -1 to 1; null if undefined."
    )
    mae: float = Field(description="Mean absolute error.")
    rmse: float = Field(description="Root mean squared error.")
    ccc_interval: Interval | None = Field(
        None, description="Interval of the CCC over speakers and their clips."
    )
    target_mean: float = Field(description="Mean of the ratings.")
    target_deviation: float = Field(description="Standard deviation of the ratings.")
    predicted_mean: float = Field(description="Mean of the predictions.")
    predicted_deviation: float = Field(
        description="Standard deviation of the predictions, mean over seeds."
    )


class Bin(Section):
    """One bin of the reliability diagram."""

    low: float = Field(description="Lower bound.")
    high: float = Field(description="Upper bound.")
    clips: Amount = Field(description="Clips in the bin, mean over seeds.")
    confidence: float | None = Field(
        description="Mean probability of the predictions; null for an empty bin."
    )
    accuracy: float | None = Field(
        description="Share of correct predictions; null for an empty bin."
    )


class Calibration(Section):
    """Calibration of the probabilities."""

    bins: list[Bin] = Field(description="15 equal bins of the predicted probability.")
    ece: float = Field(description="Expected calibration error, 0 to 1.")


class ProbabilityScores(Section):
    """Metrics of the probabilities."""

    log_loss: float = Field(description="Log loss, nats; lower is better.")
    ece: float = Field(description="Expected calibration error, 0 to 1.")
    brier: float = Field(description="Brier score, 0 to 2.")


class Temperature(Section):
    """Temperature scaling, fitted on validation (Guo et al. 2017)."""

    value: Positive = Field(description="The logits are divided by it.")
    fitted_on: str = Field(description="The split.")
    before: ProbabilityScores = Field(description="On the evaluated split, without it.")
    after: ProbabilityScores = Field(description="On the evaluated split, with it.")
    stored: bool = Field(description="Whether the published model applies it.")


class CleanScores(Section):
    """Results for some clips: those of a group, unchanged ones, or means over conditions."""

    uar: float | None = Field(None, description="UAR over the classes of these clips, 0 to 1.")
    wa: float | None = Field(None, description="WA, 0 to 1.")
    macro_f1: float | None = Field(None, description="Macro-F1, 0 to 1.")
    weighted_f1: float | None = Field(None, description="Weighted F1, 0 to 1.")
    ccc: float | None = Field(None, description="Mean CCC over dimensions, -1 to 1.")
    pearson: float | None = Field(
        None, description="Mean correlation over dimensions, -1 to 1; null if undefined."
    )
    mae: float | None = Field(None, description="Mean absolute error, share of the range.")
    rmse: float | None = Field(None, description="Root mean squared error, share of the range.")
    interval: Interval | None = Field(None, description="Interval of `uar`, or of `ccc`.")


class Slice(CleanScores):
    """Results for one group of clips; no interval for fewer than three speakers."""

    clips: Count = Field(description="Clips in the group.")
    speakers: Count | None = Field(
        None, description="Speakers in the group; null if one is unknown."
    )


class Gap(Section):
    """The groups with the highest and the lowest score."""

    metric: str = Field(description="The compared metric.")
    best: str = Field(description="Group with the highest score.")
    worst: str = Field(description="Group with the lowest score.")
    gap: float = Field(description="Difference of the two scores.")
    interval: Interval | None = Field(None, description="Interval of the difference.")


class Perceived(Section):
    """Results against the clips' second label: the perceived emotion, or the intended one."""

    by: str = Field(
        description="The other label: perceived (by most raters) or intended (by the speaker)."
    )
    clips: Count = Field(description="Clips that have it.")
    agreement: float = Field(description="Share of these clips on which both labels agree, 0 to 1.")
    metrics: Scores = Field(description="Against the other label.")
    same_clips: Scores = Field(description="The same clips against the labels of the report.")
    counts: Counts = Field(description="Labels of the report in rows, the other labels in columns.")


class Collision(Section):
    """A class that is often confused with another one."""

    label: str = Field(description="The class.")
    taken_for: str = Field(description="The most frequent wrong prediction.")
    share: float = Field(description="Share of the clips of the class, 0 to 1.")
    foreign: bool = Field(description="Whether the corpus has no such label.")


class CorpusScores(Section):
    """Results for one corpus."""

    clips: Count = Field(description="Evaluated clips.")
    speakers: Count = Field(description="Speakers of these clips.")
    metrics: Scores = Field(description="Over the classes of the corpus.")
    per_class: dict[str, ClassScores] = Field(description="By label.")
    confusion: Counts = Field(
        description="Counts of clips: true classes in rows, predicted classes in columns."
    )
    collisions: list[Collision] = Field(
        description="Classes with a fifth of the clips predicted as one other."
    )


class HardClip(Section):
    """A clip whose label got a low probability."""

    id: str = Field(description="Id of the clip.")
    speaker: str | None = Field(None, description="Its speaker.")
    label: str = Field(description="True class, or the targets in words.")
    predicted: str = Field(description="Predicted class, or values.")
    probability: float | None = Field(
        None, description="Probability of the true class, mean over seeds, 0 to 1."
    )
    error: float | None = Field(
        None, description="Of dimensions: root mean squared error, share of the range."
    )
    path: str | None = Field(None, description="Audio file; null for audio that is in no file.")


class Condition(CleanScores):
    """Results under one condition."""

    name: str = Field(description="The condition in words.")
    kind: str = Field(
        description="Noise, reverberation, telephone, codec, gain, clipping, truncation or speed."
    )
    severity: float = Field(description="In `unit`.")
    unit: str = Field(description="Unit of the severity.")
    description: str = Field("", description="What is done to a clip.")
    changed: Count | None = Field(None, description="Clips that it changed.")
    drop: float = Field(description="Loss of UAR, or of CCC.")
    drop_interval: Interval | None = Field(
        None, description="Interval of the loss, from paired resamples."
    )


class Robustness(Section):
    """The same weights on degraded clips. Over folds and seeds the mean, without intervals."""

    clips: Count = Field(description="Clips evaluated under each condition.")
    chance: float = Field(
        description="UAR of guessing, 0 to 1; of dimensions the CCC of guessing, 0."
    )
    clean: CleanScores = Field(description="The unchanged clips.")
    conditions: list[Condition] = Field(min_length=1, description="One entry per condition.")
    areas: dict[str, CleanScores] = Field(
        {},
        description="By kind: areas under the curves over its severities, divided by their range (mean scores).",
    )
    settings: dict[str, Any] = Field(
        description="Seed, resamples, sampling rate (Hz), number of available clips."
    )


class Pooled(Section):
    """Results of the predictions of all folds together."""

    metrics: Scores = Field(description="Of all predictions.")
    intervals: Intervals = Field({}, description="Over speakers and their clips.")
    clip_intervals: Intervals = Field({}, description="Over clips only.")


class Seconds(Section):
    """Wall clock time, seconds."""

    preparation: float | None = Field(None, description="Decoding and resampling.")
    training: float | None = Field(None, description="All epochs; over several runs their sum.")
    per_epoch: float | None = Field(
        None, description="Median epoch; over several runs the mean of the medians."
    )
    judgement: float | None = Field(None, description="Prediction and evaluation.")


class Training(Section):
    """Settings of the training that the machine or the recipe decided."""

    precision: str | None = Field(
        None, description="One of fp32, bf16, fp16, tf32; evaluation is in fp32."
    )
    clips_per_step: Count | None = Field(
        None, description="Over all processes and accumulated batches."
    )
    data_workers: Count | None = Field(None, description="Processes that load data.")
    strategy: str | None = Field(None, description="Whether frozen parts were computed once.")
    cache: dict[str, Any] | None = Field(
        None, description="What was cached: kind, clips, bytes, seconds."
    )
    balance: str | None = Field(
        None, description="What is sampled equally often: corpora, classes or both."
    )
    clips_per_epoch: dict[str, int] | None = Field(None, description="By corpus.")
    refit: dict[str, Any] | None = Field(
        None, description="The last fit, on training and validation clips."
    )


class Report(Section):
    """report.json of ser_hf. Keys without a result are absent. Scores run from 0 to 1, times are
    seconds.
    """

    schema_file: str | None = Field(
        None, alias="$schema", description="The schema file beside the report."
    )
    name: str = Field(description="Name of the recipe.")
    kind: Literal["evaluation"] | None = Field(None, description="Absent for a training run.")
    evaluated_split: Literal["test", "validation"] = Field(
        alias="judged_on", description="The evaluated split."
    )
    output_dir: str | None = Field(None, description="Folder of the run, as the recipe names it.")
    task: Literal[tuple(TASKS)] = Field(
        "emotions", description="What is predicted: classes, or dimensions."
    )
    ranges: dict[str, Interval] = Field(
        {}, description="By dimension: the ratings that 0 and 1 stand for."
    )
    labels: list[str] = Field(
        description="The classes, in the order of all lists of counts; or the dimensions."
    )
    protocol: Protocol = Field(description="How the clips were split.")
    audit: Audit = Field(description="What the splits share.")
    sources: list[Source] | None = Field(
        None, description="The labels of the corpus files and their classes."
    )
    label_words: list[LabelMapping] | None = Field(
        None, description="Labels of an evaluated model and their classes."
    )
    foil: Foil | None = Field(
        None, description="Results under a leaky protocol; null unless requested."
    )
    model: Model = Field(Model(), description="The network.")
    environment: Environment = Field(
        Environment(), description="The machine and the package versions."
    )
    clips: Count | None = Field(
        None, description="Evaluated clips. Several folds may evaluate the same clip."
    )
    speakers: Count | None = Field(None, description="Speakers of these clips.")
    metrics: Scores = Field(description="Of the evaluated split; over folds and seeds the mean.")
    intervals: Intervals = Field(
        {},
        description="Over speakers and their clips: hierarchical bootstrap; over folds and seeds of the mean. "
        "ECE has none, because resampling biases it upwards.",
    )
    clip_intervals: Intervals = Field({}, description="Over clips only.")
    confidence: float = Field(0.95, description="Confidence level of all intervals, 0 to 1.")
    per_class: dict[str, ClassScores] = Field({}, description="By label.")
    per_dimension: dict[str, DimensionScores] = Field({}, description="By dimension.")
    confusion: Counts = Field(
        [],
        description="Counts of clips: true classes in rows, predicted classes in columns, in the order of `labels`; "
        "summed over seeds and folds.",
    )
    calibration: Calibration | None = Field(None, description="Calibration of the probabilities.")
    temperature: Temperature | None = Field(
        None, description="Temperature scaling; null if it was not fitted."
    )
    temperatures: dict[str, Positive] | None = Field(
        None, description="Over folds or seeds: of each run, by number."
    )
    slices: dict[str, dict[str, Slice]] = Field(
        {},
        description="By column (speaker, sex, ...), then by value; ages in years, durations in seconds.",
    )
    gaps: dict[str, Gap] | None = Field(
        None, description="By column: the best and the worst group."
    )
    perceived: Perceived | None = Field(
        None, description="The same predictions against a second label."
    )
    corpora: dict[str, CorpusScores] = Field({}, description="By corpus, if there are several.")
    hardest: list[HardClip] = Field(
        [], description="The 20 clips with the lowest probability of their label."
    )
    robustness: Robustness | None = Field(None, description="The same weights on degraded clips.")
    class_distribution: dict[str, dict[str, Count]] | None = Field(
        None, description="Clips by split (or fold) and label."
    )
    transductive: Scores | None = Field(
        None,
        description="Results of a second fit, which is not published, with features standardized per speaker.",
    )
    warnings: list[str] = Field([], description="Limits of the results, in sentences.")
    parts: dict[str, Scores] = Field(
        {}, description="The same weights, or those of before a refit, on other splits."
    )
    pooled: Pooled | None = Field(None, description="The predictions of all folds together.")
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

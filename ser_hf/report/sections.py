"""The sections of a report, as typed models. Their docstrings are the descriptions in the JSON schema."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ..evaluation.metrics import METRICS

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Counts = list[list[Count]]
_METRIC_SCHEMAS = {
    key: {"description": f"{metric.definition[0].upper()}{metric.definition[1:]}.", "type": ["number", "null"]}
    for key, metric in METRICS.items()
}
_METRIC_SCHEMAS["loss"] = {"description": "The training loss on this split, nats.", "type": "number"}
Scores = Annotated[dict[str, float | None], Field(json_schema_extra={"properties": _METRIC_SCHEMAS})]
Intervals = dict[str, Interval | None]


class Section(BaseModel):
    """A part of the report. Keys that were not measured are absent from report.json, as they are None here."""

    model_config = ConfigDict(use_attribute_docstrings=True, protected_namespaces=())

    def to_dict(self) -> dict[str, Any]:
        """The section as JSON values, with the keys that were set."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class Split(Section):
    """One split: train, validation or test."""

    clips: Count
    """Clips."""
    speakers: list[str]
    """Speakers, each prefixed by the corpus."""


class Run(Section):
    """One fold or seed."""

    metrics: Scores
    """Of the evaluated split."""
    validation: Scores | None = None
    """Of the validation split."""
    tested: str | None = None
    """The test speakers of this fold."""
    sha256: str | None = None
    """Digest of the sorted clip ids of the fold."""
    parts: dict[str, Split] = {}
    """By split: train, validation, test."""


class Protocol(Section):
    """How the clips were split."""

    name: str | None = None
    """Name of the split rule or published list."""
    sha256: str | None = None
    """Fingerprint of the sorted clip ids of each split, over all folds."""
    clips: list[str] = []
    """Per fold, a digest of the samples of the clips."""
    leak: str | None = None
    """Why the results do not hold for new speakers; null without a leak."""
    notes: list[str] = []
    """Notes about the split, in sentences."""
    fold: str | None = None
    """Name of the fold, if the report is of a single one."""
    parts: dict[str, Split] = {}
    """By split; over several folds the evaluated split only."""
    folds: dict[str, Run] | None = None
    """By number: each fold with its splits and results."""
    inherited: list[str] | None = None
    """Training speakers of the checkpoint that the model starts from, as far as it documents them."""


class Audit(Section):
    """What two splits share, counted before training; over several folds the worst of them."""

    shared: dict[str, dict[str, Count | None]]
    """By pair of splits (`train/test`): speakers, sessions, sentences, recordings (equal samples) and near_duplicates
    (one take, cut, re-encoded or re-leveled) in both splits; null if unknown."""
    apart: dict[str, list[str]] = {}
    """By pair of splits: what the protocol keeps apart."""
    duplicates: Count = 0
    """Clips that repeat the samples of another clip within a split."""


class Source(Section):
    """A label of one corpus."""

    corpus: str
    """Name of the corpus."""
    emotion: str | None = None
    """The canonical emotion; null if there is none."""
    word: str | None = None
    """The label in the corpus files."""
    label: str | None = None
    """The class it is mapped to; null if it was left out."""
    left_out: str | None = None
    """Why it was left out."""
    clips: Count
    """Clips with this label."""


class LabelMapping(Section):
    """One label of the evaluated model."""

    word: str
    """The label in the model's configuration."""
    emotion: str | None = None
    """The class it is mapped to; null if it is not counted, or is no known emotion."""
    counted: bool = False
    """Whether predictions of it count: unknown emotions do, as errors."""


class Foil(Section):
    """The same recipe under a leaky protocol."""

    protocol: str
    """Name of the leaky protocol."""
    sha256: str | None = None
    """Fingerprint of its splits."""
    metrics: Scores
    """Results under the leaky protocol."""
    intervals: Intervals = {}
    """Confidence intervals of these results."""
    audit: Audit | None = None
    """What its splits share."""
    against: Scores
    """Results under the protocol of this report."""
    gap: dict[str, float]
    """Leaky result minus own result, by metric."""


class Origin(Section):
    """The file of published weights that a network of ser_hf starts from."""

    file: str
    """Name of the file."""
    source: str
    """Where it is published."""
    licence: str
    """License of the weights."""


class Model(Section):
    """The network."""

    architecture: str | None = None
    """As the recipe names it."""
    model_type: str | None = None
    """As transformers names it."""
    checkpoint: str | None = None
    """The checkpoint it was fine-tuned from; null for random initialization."""
    base_model: str | None = None
    """Hub id of the checkpoint; null for a local folder or file and for random initialization."""
    encoder: str | None = None
    """The encoder as transformers names it, unless it is a network of ser_hf."""
    origin: Origin | None = None
    """The file of published weights that the network starts from."""
    remote_code: bool = False
    """Whether loading needs trust_remote_code."""
    padding_safe: bool | None = None
    """Whether padding leaves the predictions unchanged."""
    sampling_rate: Annotated[int, Field(ge=1)] | None = None
    """Sampling rate of the input, Hz."""
    preparation: str = ""
    """How every clip is prepared, in words."""
    depth: str = ""
    """Which parts were trained, in words."""
    augmentation: str = ""
    """Augmentation of the training clips, in words."""
    adapter: bool = False
    """Whether adapters were trained (LoRA)."""
    parameters: Count | None = None
    """Number of parameters."""
    learning: Count | None = None
    """Number of trainable parameters."""
    solver: str | None = None
    """Trainer or sklearn."""
    revision: str | None = None
    """Commit of the checkpoint on the Hub."""
    untrained: list[str] = []
    """Tensors that the model's files lack; they hold random numbers."""
    learnt_from: list[str] | None = None
    """Training corpora of an evaluated model; null if unknown."""


class Environment(Section):
    """The machine and the package versions."""

    versions: dict[str, str | None] = {}
    """By package; null if not installed."""
    git_revision: str | None = None
    """Commit of the toolkit, with `+changes` if it was edited."""
    platform: str | None = None
    """Operating system."""
    processor: str | None = None
    """Name of the processor."""
    cores: Count | None = None
    """Cores available to the run."""
    threads: Count | None = None
    """Threads of torch."""
    accelerator: str | None = None
    """Name of the GPU; null without one."""
    processes: Count = 1
    """Training processes."""


class ClassScores(Section):
    """Results for one class."""

    precision: float
    """Share of the predictions of this class that are correct, 0 to 1."""
    recall: float
    """Share of the clips of this class that are recognized, 0 to 1."""
    f1: float
    """Harmonic mean of precision and recall, 0 to 1."""
    support: Count
    """Clips of this class."""
    recall_interval: Interval | None = None
    """Interval of the recall over speakers and their clips."""


class Bin(Section):
    """One bin of the reliability diagram."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""
    clips: Amount
    """Clips in the bin, mean over seeds."""
    confidence: float | None
    """Mean probability of the predictions; null for an empty bin."""
    accuracy: float | None
    """Share of correct predictions; null for an empty bin."""


class Calibration(Section):
    """Calibration of the probabilities."""

    bins: list[Bin]
    """15 equal bins of the predicted probability."""
    ece: float
    """Expected calibration error, 0 to 1."""


class ProbabilityScores(Section):
    """Metrics of the probabilities."""

    log_loss: float
    """Log loss, nats; lower is better."""
    ece: float
    """Expected calibration error, 0 to 1."""
    brier: float
    """Brier score, 0 to 2."""


class Temperature(Section):
    """Temperature scaling, fitted on validation (Guo et al. 2017)."""

    value: Annotated[float, Field(gt=0)]
    """The logits are divided by it."""
    fitted_on: str
    """The split."""
    before: ProbabilityScores
    """On the evaluated split, without it."""
    after: ProbabilityScores
    """On the evaluated split, with it."""
    stored: bool
    """Whether the published model applies it."""


class Slice(Section):
    """Results for one group of clips."""

    clips: Count
    """Clips in the group."""
    speakers: Count | None = None
    """Speakers in the group; null if one is unknown."""
    uar: float
    """UAR over the classes in the group, 0 to 1."""
    wa: float | None = None
    """WA, 0 to 1."""
    macro_f1: float | None = None
    """Macro-F1, 0 to 1."""
    weighted_f1: float | None = None
    """Weighted F1, 0 to 1."""
    interval: Interval | None = None
    """Interval of `uar`; null for groups of fewer than three speakers."""


class Gap(Section):
    """The groups with the highest and the lowest score."""

    metric: str
    """The compared metric."""
    best: str
    """Group with the highest score."""
    worst: str
    """Group with the lowest score."""
    gap: float
    """Difference of the two scores."""
    interval: Interval | None = None
    """Interval of the difference."""


class Perceived(Section):
    """The same predictions against the other label of the clips: perceived or intended."""

    by: str
    """The other label: perceived (by most raters) or intended (by the speaker)."""
    clips: Count
    """Clips that have it."""
    agreement: float
    """Share of these clips on which both labels agree, 0 to 1."""
    metrics: Scores
    """Against the other label."""
    same_clips: Scores
    """The same clips against the labels of the report."""
    counts: Counts
    """Labels of the report in rows, the other labels in columns."""


class Collision(Section):
    """A class that is often confused with another one."""

    label: str
    """The class."""
    taken_for: str
    """The most frequent wrong prediction."""
    share: float
    """Share of the clips of the class, 0 to 1."""
    foreign: bool
    """Whether the corpus has no such label."""


class CorpusScores(Section):
    """Results for one corpus."""

    clips: Count
    """Evaluated clips."""
    speakers: Count
    """Speakers of these clips."""
    metrics: Scores
    """Over the classes of the corpus."""
    per_class: dict[str, ClassScores]
    """By label."""
    confusion: Counts
    """Counts of clips: true classes in rows, predicted classes in columns."""
    collisions: list[Collision]
    """Classes of which a fifth or more is predicted as one other class."""


class HardClip(Section):
    """A clip whose label got a low probability."""

    id: str
    """Id of the clip."""
    speaker: str | None = None
    """Its speaker."""
    label: str
    """True class."""
    predicted: str
    """Predicted class."""
    probability: float
    """Probability of the true class, mean over seeds, 0 to 1."""
    path: str | None = None
    """Audio file; null for audio that is in no file."""


class CleanScores(Section):
    """Results for the unchanged clips."""

    uar: float
    """UAR, 0 to 1."""
    wa: float
    """WA, 0 to 1."""
    macro_f1: float
    """Macro-F1, 0 to 1."""
    interval: Interval | None = None
    """Interval of `uar`."""


class Condition(CleanScores):
    """Results under one condition."""

    name: str
    """The condition in words."""
    kind: str
    """Noise, reverberation, telephone, codec, gain, clipping, truncation or speed."""
    severity: float
    """In `unit`."""
    unit: str
    """Unit of the severity."""
    description: str = ""
    """What is done to a clip."""
    changed: Count | None = None
    """Clips that it changed."""
    drop: float
    """Loss of UAR."""
    drop_interval: Interval | None = None
    """Interval of the loss, from the same resamples for both scores."""


class Robustness(Section):
    """The same weights on degraded clips. Over folds and seeds the mean, without intervals."""

    clips: Count
    """Clips evaluated under each condition."""
    chance: float
    """UAR of guessing, 0 to 1."""
    clean: CleanScores
    """The unchanged clips."""
    conditions: list[Condition]
    """One entry per condition."""
    settings: dict[str, Any]
    """Seed, resamples, sampling rate (Hz), number of available clips."""


class Embeddings(Section):
    """Maps of the input of the last layer."""

    methods: list[str]
    """Of pca, tsne, umap."""
    clips: Count
    """Clips on the maps."""
    points: str
    """File beside the report: id, label, speaker, corpus and x, y of each method."""
    of: str = ""
    """What is embedded, in words."""


class Pooled(Section):
    """Results of the predictions of all folds together."""

    metrics: Scores
    """Of all predictions."""
    intervals: Intervals = {}
    """Over speakers and their clips."""
    clip_intervals: Intervals = {}
    """Over clips only."""


class Seconds(Section):
    """Wall clock time, seconds."""

    preparation: float | None = None
    """Decoding and resampling."""
    training: float | None = None
    """All epochs; over several runs their sum."""
    per_epoch: float | None = None
    """Median epoch; over several runs the mean of the medians."""
    judgement: float | None = None
    """Prediction and evaluation."""


class Energy(Section):
    """Energy of the training, if codecarbon is installed; over several runs the sum."""

    kwh: Amount
    """Of the whole machine, kilowatt hours."""
    processor_kwh: Amount
    """Of the processor."""
    accelerator_kwh: Amount
    """Of the accelerators."""
    memory_kwh: Amount
    """Of the memory."""
    seconds: Amount
    """Measured time."""
    measured_by: str
    """The package and its version. It estimates what the machine does not measure."""
    country: str | None = None
    """Country of the power grid, ISO 3166 (three letters)."""
    emissions_kg: Amount | None = None
    """CO2 equivalents for the mean of that grid, kilograms; null without a country."""


class Training(Section):
    """What the machine or the recipe decided."""

    precision: str | None = None
    """One of fp32, bf16, fp16, tf32."""
    clips_per_step: Count | None = None
    """Over all processes and accumulated batches."""
    data_workers: Count | None = None
    """Processes that load data."""
    strategy: str | None = None
    """Whether frozen parts were computed once."""
    cache: dict[str, Any] | None = None
    """What was cached: kind, clips, bytes, seconds."""
    balance: str | None = None
    """What is sampled equally often: corpora, classes or both."""
    clips_per_epoch: dict[str, int] | None = None
    """By corpus."""

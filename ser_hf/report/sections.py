"""The sections of a report that describe data, network, training and machine."""

from typing import Any, Literal

from pydantic import Field

from ..evaluation.sections import Count, Interval, Intervals, Scores, Section
from ..evaluation.tasks import TASKS

Kind = Literal["speakers", "sessions", "sentences", "recordings", "near_duplicates"]


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


class PublishedScore(Section):
    """A result that others published."""

    system: str = Field(description="The model.")
    metrics: Scores = Field(description="The published metrics.")
    parameters: Count | None = Field(None, description="Number of parameters, if published.")
    note: str | None = Field(None, description="What makes the figure not comparable.")


class Published(Section):
    """Results that others published under the protocol of this run."""

    protocol: str = Field(description="Name of the published protocol.")
    fingerprint: str = Field(description="SHA-256 of its test speakers or clips.")
    source: str = Field(description="Who published the protocol.")
    figures_source: str = Field(description="Address of the figures.")
    figures_of: str = Field(description="Where the figures are from, in words.")
    figures: list[PublishedScore] = Field(description="The results, in the order of the source.")


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
    published: Published | None = Field(
        None, description="Figures that others published under this protocol, for as many classes."
    )
    auxiliary: dict[str, Count] | None = Field(
        None,
        description="By auxiliary corpus: its clips, which are in the training split of each fold.",
    )


class Audit(Section):
    """What two splits share, counted before training; over several folds the worst of them."""

    shared: dict[str, dict[Kind, Count | None]] = Field(
        description=(
            "By pair of splits (`train/test`), then by kind: number of speakers, sessions, "
            "sentences, recordings (equal samples), near_duplicates (one take, cut or "
            "re-encoded) in both; null if unknown."
        )
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


class TrainingCorpus(Section):
    """A corpus that a parent model was trained on."""

    name: str = Field(description="Name of the corpus.")
    title: str = Field(description="Its name in sentences.")
    license: str | list[str] | None = Field(None, description="License; null if unknown.")
    language: str | list[str] | None = Field(None, description="Language; null if unknown.")
    url: str | None = Field(None, description="Its page.")
    non_commercial: bool = Field(False, description="Whether commercial use is excluded.")


class Parent(Section):
    """The model of ser_hf that the training starts from."""

    name: str = Field(description="Its Hub id, or the name of its run.")
    protocol: str | None = Field(None, description="Its protocol; null if it has no report.")
    sha256: str | None = Field(None, description="Fingerprint of its splits.")
    corpora: list[TrainingCorpus] = Field(
        [], description="The corpora that it and its own parents were trained on."
    )
    origin: Origin | None = Field(
        None, description="The file of published weights that it or its parents started from."
    )
    kept_labels: list[str] = Field(
        [], description="Labels whose rows of the last layer come from it."
    )
    new_labels: list[str] = Field([], description="Labels with new rows, which were random.")


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
    parent: Parent | None = Field(
        None, description="The model of ser_hf that the training starts from."
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
        [], description="Always empty: a model whose files lack tensors is not evaluated."
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
    selection: Literal["best", "last"] | None = Field(
        None,
        description="Which checkpoint was kept: the best on validation, or the last; over several "
        "runs that of the first.",
    )
    cache: dict[str, Any] | None = Field(
        None, description="What was cached: kind, clips, bytes, seconds."
    )
    balance: str | None = Field(
        None, description="What is sampled equally often: corpora, classes or both."
    )
    clips_per_epoch: dict[str, int] | None = Field(None, description="By corpus.")
    auxiliary: dict[str, float] | None = Field(
        None,
        description="Auxiliary targets and the weights of their losses; the published model has no "
        "head for them.",
    )
    refit: dict[str, Any] | None = Field(
        None, description="The last fit, on training and validation clips."
    )


class Header(Section):
    """What is evaluated on what: recipe, labels, split, network and machine."""

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
    class_distribution: dict[str, dict[str, Count]] | None = Field(
        None, description="Clips by split (or fold) and label."
    )

"""The sections of a recipe as frozen dataclasses: meaning, type, range and default of each key."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from ..audio.augmentation import Augmentation
from ..audio.decode import SHORTEST
from ..utils.yaml import Range, dump_yaml

Positive = Annotated[float, Range(above=0)]
PositiveInt = Annotated[int, Range(above=0)]
NotNegative = Annotated[float, Range(min=0)]
Seconds = Annotated[float, Range(min=SHORTEST, unit="seconds")]
Share = Annotated[float, Range(min=0, below=1)]  # 1 excluded
OpenShare = Annotated[float, Range(above=0, below=1)]  # 0 and 1 excluded
Seed = Annotated[int, Range(min=0, max=2**32 - 1)]


@dataclasses.dataclass(frozen=True)
class CorpusSection:
    """Which recordings, and which of their emotions the model learns. `exclude` lists ids to leave out; `download`
    gets what is missing below `root` from where the corpus is published."""

    name: str
    root: str | None = None
    labels: list[str] | None = None
    merge: dict[str, str] = dataclasses.field(default_factory=dict)
    drop: list[str] = dataclasses.field(default_factory=list)
    exclude: list[str] = dataclasses.field(default_factory=list)
    on_unknown: Literal["error", "skip"] = "error"
    download: bool = False
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ProtocolSection:
    """Who is learnt from and who judges. `folds` runs some folds only (by number, from 1); `foil` trains and judges
    the same recipe under a leaky protocol as well, so that the report shows the gap; `near_duplicates: tell` counts
    clips that are another part's take, cut or re-encoded, rather than refuse them; `skip` does not look for them."""

    name: str = "speaker_independent"
    folds: list[int] | None = None
    foil: Literal["random", "random_stratified"] | None = None
    near_duplicates: Literal["error", "tell", "skip"] = "error"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AudioSection:
    """How waveforms reach the model: several channels mixed to their mean, then resampled, then as the recipe says.

    `trim_silence` cuts what is that many dB below the clip's loudest part off both ends; `level` brings every clip to
    one `peak` or `loudness` (`target_level` in dBFS, -1 by default, or LUFS, -23); `fixed_duration` cuts or pads every
    clip to so many seconds. These travel with the model, in its feature extractor. `max_duration` is the longest crop
    (s) of a training clip, from a place that changes every epoch. `normalize` (zero mean, unit variance per clip)
    removes loudness, an emotion cue, as `level` does: null leaves it to the checkpoint's own habit and is off for
    networks from scratch.
    """

    sampling_rate: PositiveInt = 16000
    trim_silence: float | None = None
    level: Literal["peak", "loudness"] | None = None
    target_level: float | None = None
    fixed_duration: float | None = None
    max_duration: Seconds | None = None
    normalize: bool | None = None
    cache_dir: str | None = None

    @property
    def preparation(self) -> dict[str, Any]:
        """The fields of `ser_hf.models.preparation.Preparation`."""
        return {name: getattr(self, name) for name in ("trim_silence", "level", "target_level", "fixed_duration")}


@dataclasses.dataclass(frozen=True)
class ModelSection:
    """A network of ours by name, or `encoder`: any `AutoModelForAudioClassification` checkpoint by id or folder.

    For an encoder, `weighted_layer_sum` classifies a learnt mean of all layers in place of the last one, `attention`
    is how it is computed (null: the fastest that torch alone has for it), and any of `pooling`, `head_layers` (sizes
    of hidden layers) and `head_dropout` asks for our head in place of the stock one; such a model ships its code.
    For a network that is transferred from another task `checkpoint` is the file of its published weights.
    `random_init` starts either from random numbers.
    """

    architecture: str
    checkpoint: str | None = None
    random_init: bool = False
    weighted_layer_sum: bool = False
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] | None = None
    head_layers: list[int] = dataclasses.field(default_factory=list)
    head_dropout: Share = 0.0
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class GradualSection:
    """Gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146): the head learns alone at first, and after every
    `every` epochs the next `layers` layers from the top learn too, then what lies below them. Null: not gradual."""

    every: int | None = None
    layers: int = 1


@dataclasses.dataclass(frozen=True)
class FreezeSection:
    """What does not learn, of an encoder or a network that is transferred.

    `feature_encoder` is the convolutional stem; `layers` the first so many layers and all that lies below them;
    `top_layers` is the other way to say it: all but so many at the top; `encoder` is everything but the head. What is
    frozen runs as in evaluation: no dropout, no statistics of the batch. `gradual` unfreezes the rest epoch by epoch.
    `cache` computes what is frozen once, into the store, and learns from that: the FAST strategy where FULL is to
    train end to end. A clip longer than `audio.max_duration` is then always cropped at the same place.
    """

    feature_encoder: bool = False
    layers: int = 0
    top_layers: int | None = None
    encoder: bool = False
    gradual: GradualSection = GradualSection()
    cache: bool = False

    @property
    def freezing(self) -> dict[str, Any]:
        """The fields of `ser_hf.training.freezing.Freezing`."""
        names = ("feature_encoder", "layers", "top_layers", "encoder")
        gradual = {"every": self.gradual.every, "unfrozen_layers": self.gradual.layers}
        return {name: getattr(self, name) for name in names} | gradual


@dataclasses.dataclass(frozen=True)
class LoraSection:
    """Low-rank adaptation of an encoder (Hu et al. 2021, arXiv:2106.09685): `rank` null does without.

    The update is scaled by `alpha` / rank, by `alpha` / sqrt(rank) with `rslora` (Kalajdzievski 2023,
    arXiv:2312.03732); `dora` learns magnitudes apart (Liu et al. 2024, arXiv:2402.09353). `targets` are names of
    linear layers, null those that are usual for the architecture. Heads and weights over layers learn as they are.
    """

    rank: int | None = None
    alpha: float = 16.0
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    targets: list[str] | None = None


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The validation metric that picks the checkpoint; `patience` evaluations without a gain end it (null: never)."""

    metric: Literal["uar", "wa", "macro_f1", "weighted_f1", "loss"] = "uar"
    patience: PositiveInt | None = None


@dataclasses.dataclass(frozen=True)
class LossSection:
    """What is minimised: cross entropy, and what a recipe changes about it.

    `class_weights` by the clips of a class, or {label: weight}; `focal_gamma` above zero is focal loss; `soft_labels`
    trains on the raters' votes in place of one label (`corpus.soft: true` carries them); `logit_adjustment` is the tau
    by which logits are adjusted for how frequent the classes are.
    """

    class_weights: Literal["balanced"] | dict[str, float] | None = None
    label_smoothing: Share = 0.0
    focal_gamma: NotNegative = 0.0
    soft_labels: bool = False
    logit_adjustment: NotNegative = 0.0


@dataclasses.dataclass(frozen=True)
class AverageSection:
    """Averaged weights are judged and saved in place of the last ones: `ema`, their exponential moving average with
    `decay` a step, or `swa`, the mean over the epochs after the share `start` of the training."""

    kind: Literal["ema", "swa"] | None = None
    decay: OpenShare = 0.999
    start: Share = 0.75


@dataclasses.dataclass(frozen=True)
class TrainingSection:
    """How it learns: the project's own keys, and in `arguments` whatever `TrainingArguments` takes.

    `head_learning_rate` is for what stands outside an encoder, `layer_decay` multiplies the rate of each of its layers
    by that of the one above. `precision: auto` is the fastest that the device does well (bf16, or fp16; fp32 on a
    CPU). `balance` has every epoch meet corpora, classes, or the classes of each corpus equally often, in as many
    clips as there are: rare ones more than once, of frequent ones another part in each epoch (validation and test
    stay as they are). `deterministic` forbids operations whose result depends on timing. `solver` is `trainer`,
    gradient descent by the Trainer, or `sklearn` for the networks that scikit-learn can fit (absent or null: as the
    network is usually fitted); `grid` lists the values of each setting that it then tries.
    """

    seeds: list[Seed] = dataclasses.field(default_factory=lambda: [42])
    loss: LossSection = LossSection()
    early_stopping: EarlyStopping = EarlyStopping()
    average: AverageSection = AverageSection()
    head_learning_rate: Positive | None = None
    layer_decay: Annotated[float, Range(above=0, max=1)] | None = None
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    balance: Literal["corpus", "class", "corpus_and_class"] | None = None
    deterministic: bool = False
    solver: Literal["trainer", "sklearn"] = "trainer"
    grid: dict[str, list] = dataclasses.field(default_factory=dict)
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EvaluationSection:
    """Who judges, and how sure the judgement is.

    `part: validation` leaves the test speakers untouched: for choosing among configurations. Clips longer than
    `window` seconds are judged in windows whose probabilities are averaged by duration (null: only those longer than
    the model can take). `bootstrap` and `confidence` are the resamples and the coverage of the intervals.
    `temperature` calibrates the probabilities by one number that divides all logits, fitted on the validation part
    (Guo et al. 2017, arXiv:1706.04599): `report` tells what it would be and do, `store` puts it into the published
    weights as well. It changes no answer, but of clips that are heard in windows. `embeddings` draws a map of the
    judged clips, `robustness` judges them under noise, in rooms, over telephones and codecs too (minutes).
    """

    part: Literal["test", "validation"] = "test"
    window: Seconds | None = None
    bootstrap: PositiveInt = 2000
    confidence: OpenShare = 0.95
    temperature: Literal["none", "report", "store"] = "report"
    embeddings: bool = False
    robustness: bool = False

    @property
    def bootstrapping(self) -> dict[str, Any]:
        """What `ser_hf.report.report.judge` takes of it."""
        return {"bootstrap": self.bootstrap, "confidence": self.confidence}


@dataclasses.dataclass(frozen=True)
class HubSection:
    """Where a finished run is published, as `ser-hf publish` does it: `repo` is USER/NAME, or NAME for whoever is
    signed in; null publishes nothing.

    `report_repo` is a data set for the report, `space` makes a page to try the model on, under the model's name.
    Repositories that are made for it are `private` unless told otherwise. `benchmark` is a data set on the Hub whose
    leaderboard is to show the headline (`.eval_results`, beta), `benchmark_task` its task.
    """

    repo: str | None = None
    private: bool = True
    report_repo: str | None = None
    space: bool = False
    benchmark: str | None = None
    benchmark_task: str = "default"

    @property
    def publication(self) -> dict[str, Any]:
        """The arguments of `ser_hf.hub.publish.publish`."""
        values = dataclasses.asdict(self)
        return {"repo_id": values.pop("repo"), **values}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment. `provenance` says where a resolved recipe came from; it decides nothing."""

    name: str
    output_dir: str
    corpus: CorpusSection
    model: ModelSection
    protocol: ProtocolSection = ProtocolSection()
    audio: AudioSection = AudioSection()
    augment: Augmentation = Augmentation()
    freeze: FreezeSection = FreezeSection()
    lora: LoraSection = LoraSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    hub: HubSection = HubSection()
    provenance: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The recipe as `read_recipe` reads it, every default written out."""
        sections = dataclasses.asdict(self)
        extras = {"corpus": "options", "protocol": "options", "model": "options", "training": "arguments"}
        for section, extra in extras.items():
            sections[section].update(sections[section].pop(extra))
        if self.provenance is None:
            del sections["provenance"]
        return _plain(sections)

    def to_yaml(self) -> str:
        return dump_yaml(self.to_dict())


def _plain(value: Any) -> Any:
    """Tuples as lists and enumerations as their words, as YAML has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)

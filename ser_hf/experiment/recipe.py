"""The sections of a recipe as frozen dataclasses: meaning, type, range and default of each key."""

import copy
import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from ..audio.augmentation import Augmentation
from ..audio.decode import SHORTEST
from ..evaluation.tasks import EMOTIONS, TASKS
from ..utils.errors import UserError
from ..utils.files import packaged
from ..utils.settings import Settings
from ..utils.yaml import DEEPEST, FileName, PathName, Range, dump_yaml, parse_yaml, read_yaml

# The largest values are far beyond any use, and far below what fails in the middle of a run.
Positive = Annotated[float, Range(above=0, max=1e6)]
PositiveInt = Annotated[int, Range(min=1, max=1_000_000)]
NotNegativeInt = Annotated[int, Range(min=0, max=1_000_000)]
Rate = Annotated[float, Range(above=0, max=100)]  # of learning
Seconds = Annotated[float, Range(min=SHORTEST, max=86_400, unit="seconds")]
Share = Annotated[float, Range(min=0, below=1)]  # 1 excluded
OpenShare = Annotated[float, Range(above=0, below=1)]  # 0 and 1 excluded
Seed = Annotated[int, Range(min=0, max=2**32 - 1)]
Width = Annotated[int, Range(min=1, max=65_536)]


@dataclasses.dataclass(frozen=True)
class CorpusSection:
    """The recordings and their classes. `exclude` lists ids to leave out; `download` fetches
    missing files. For task dimensions: `targets`, columns of ratings, and `ranges`, the [lowest,
    highest] rating of each."""

    name: str
    root: PathName | None = None
    labels: list[str] | None = None
    merge: dict[str, str] = dataclasses.field(default_factory=dict)
    drop: list[str] = dataclasses.field(default_factory=list)
    exclude: list[str] = dataclasses.field(default_factory=list)
    targets: list[str] = dataclasses.field(default_factory=list)
    ranges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    on_unknown: Literal["error", "skip"] = "error"
    download: bool = False
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ProtocolSection:
    """Training, validation and test speakers. `folds` runs some folds only; `foil` also runs a
    leaky protocol, to show the gap; `near_duplicates` in two splits are an error, only counted
    (`tell`), or not searched for."""

    name: str = "speaker_independent"
    folds: list[int] | None = None
    foil: Literal["random", "random_stratified"] | None = None
    near_duplicates: Literal["error", "tell", "skip"] = "error"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AudioSection:
    """The preparation of waveforms, after channels are averaged and the clip is resampled.

    `trim_silence` (dB below the loudest part), `level` (with `target_level` in dBFS or LUFS) and
    `fixed_duration` (s) are published in the feature extractor. `level: auto` becomes `loudness`
    where speakers stand apart in level, else null; a run's recipe.yaml has the result.
    `max_duration` is the longest random crop of a training clip. `normalize` null means as the
    checkpoint does, and off for networks from scratch.
    """

    sampling_rate: Annotated[int, Range(min=1000, max=384_000, unit="Hz")] = 16000
    trim_silence: float | None = None
    level: Literal["auto", "peak", "loudness"] | None = "auto"
    target_level: float | None = None
    fixed_duration: float | None = None
    max_duration: Seconds | None = None
    normalize: bool | None = None
    cache_dir: PathName | None = None


@dataclasses.dataclass(frozen=True)
class ModelSection:
    """A network of ser_hf by name, or `encoder`: any `AutoModelForAudioClassification` checkpoint
    (id or folder).

    For encoders, `pooling`, `head_layers` (hidden sizes) or `head_dropout` replace the stock head
    by that of ser_hf, whose code is published with the model. For transferred networks,
    `checkpoint` is the file of published weights. `revision` is a branch, tag or commit of a
    checkpoint on the Hub. `window` (s) shortens the input of Whisper, 30 s.
    """

    architecture: str
    checkpoint: PathName | None = None
    revision: str | None = None
    random_init: bool = False
    weighted_layer_sum: bool = False
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] | None = None
    head_layers: list[Width] = dataclasses.field(default_factory=list)
    head_dropout: Share = 0.0
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    window: Annotated[int, Range(min=1, max=30, unit="seconds")] | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FreezeSection:
    """The frozen parts of an encoder or a transferred network: the convolutional stem
    (`feature_encoder`), the lowest `layers` and all below, all but the `top_layers`, or the whole
    `encoder`, whose outputs `cache` computes once."""

    feature_encoder: bool = False
    layers: NotNegativeInt = 0
    top_layers: NotNegativeInt | None = None
    encoder: bool = False
    cache: bool = False

    @property
    def freezing(self) -> dict[str, Any]:
        """The fields of `ser_hf.training.freezing.Freezing`."""
        names = ("feature_encoder", "layers", "top_layers", "encoder")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class LoraSection:
    """Low-rank adaptation of an encoder (arXiv:2106.09685); off if `rank` is null. `dora`:
    arXiv:2402.09353, `rslora`: arXiv:2312.03732. `targets` are names of linear layers, null the
    usual ones."""

    rank: Width | None = None
    alpha: Positive = 16.0
    dropout: Share = 0.0
    dora: bool = False
    rslora: bool = False
    targets: list[str] | None = None


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The checkpoint with the best mean of the validation `metric` over the last `evaluations` is
    selected, the later one among equals, and none of the warm-up; training ends after `patience`
    evaluations without a gain. Without a `metric` it is UAR, or the mean CCC of dimensions."""

    metric: str | None = None
    patience: PositiveInt | None = None
    evaluations: PositiveInt = 3


@dataclasses.dataclass(frozen=True)
class LossSection:
    """Cross entropy with `class_weights` (`balanced` or {label: weight}), smoothing, focal loss, or
    `soft_labels`, the votes of raters (`corpus.soft: true` loads them). Of dimensions 1 - CCC of
    each batch, the squared error, or their sum (`dimensions`), with `weights` by dimension."""

    class_weights: Literal["balanced"] | dict[str, Annotated[float, Range(min=0)]] | None = None
    label_smoothing: Share = 0.0
    focal_gamma: Annotated[float, Range(min=0, max=100)] = 0.0
    soft_labels: bool = False
    dimensions: Literal["ccc", "mse", "ccc_mse"] = "ccc"
    weights: dict[str, Annotated[float, Range(min=0)]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AverageSection:
    """Averaged weights: `ema`, an exponential moving average with `decay` per step."""

    kind: Literal["ema"] | None = None
    decay: OpenShare = 0.999


@dataclasses.dataclass(frozen=True)
class TrainingSection:
    """Training: keys of ser_hf, and in `arguments` those of `TrainingArguments`.

    `head_learning_rate` is for everything outside an encoder; `layer_decay` multiplies the rate
    from layer to layer, downwards. `precision: auto` is the fastest native one. `balance` samples
    corpora, classes, or classes of each corpus equally often. `solver` null is the network's usual
    one; `grid` lists what scikit-learn tries. `refit` then trains on training and validation clips,
    for the steps of the selected checkpoint, unless validation is evaluated.
    """

    seeds: list[Seed] = dataclasses.field(default_factory=lambda: [42])
    loss: LossSection = LossSection()
    early_stopping: EarlyStopping = EarlyStopping()
    average: AverageSection = AverageSection()
    head_learning_rate: Rate | None = None
    layer_decay: Annotated[float, Range(above=0, max=1)] | None = None
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    balance: Literal["corpus", "class", "corpus_and_class"] | None = None
    deterministic: bool = False
    refit: bool = False
    solver: Literal["trainer", "sklearn"] = "trainer"
    grid: dict[str, list] = dataclasses.field(default_factory=dict)
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EvaluationSection:
    """Evaluation of the selected checkpoint.

    `part: validation` leaves the test split unused. Clips longer than `window` seconds are split
    into windows (null: only those too long for the model). `temperature` (arXiv:1706.04599) is
    fitted on validation; `store` also stores it in the weights. `robustness` also evaluates the
    clips under noise and the like. `per_speaker` (scikit-learn) also reports, as `transductive`, a
    fit on features standardized per speaker.
    """

    part: Literal["test", "validation"] = "test"
    window: Seconds | None = None
    bootstrap: Annotated[int, Range(min=1, max=100_000)] = 2000
    confidence: OpenShare = 0.95
    temperature: Literal["none", "report", "store"] = "report"
    robustness: bool = False
    per_speaker: bool = False

    @property
    def bootstrapping(self) -> dict[str, Any]:
        return {"bootstrap": self.bootstrap, "confidence": self.confidence}


@dataclasses.dataclass(frozen=True)
class HubSection:
    """Publishes the finished run, as `ser-hf publish` does: the model in `repo` (USER/NAME; null:
    nothing), the report in `report_repo`, and a demo in a `space`."""

    repo: str | None = None
    private: bool = True
    report_repo: str | None = None
    space: bool = False

    @property
    def publication(self) -> dict[str, Any]:
        """The arguments of `ser_hf.hub.publish.publish`."""
        values = dataclasses.asdict(self)
        return {"repo_id": values.pop("repo"), **values}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment. `provenance` (date, versions) of a resolved recipe has no effect."""

    name: FileName
    output_dir: PathName
    corpus: CorpusSection
    model: ModelSection
    task: Literal[tuple(TASKS)] = EMOTIONS.name
    protocol: ProtocolSection = ProtocolSection()
    audio: AudioSection = AudioSection()
    augment: Augmentation = Augmentation()
    freeze: FreezeSection = FreezeSection()
    lora: LoraSection = LoraSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    hub: HubSection = HubSection()
    provenance: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Recipe({self.name}: {self.model.architecture} on {self.corpus.name}, {self.protocol.name})"

    @property
    def preparation(self) -> dict[str, Any]:
        """The fields of `ser_hf.models.preparation.Preparation`; `level: auto` leaves the level as
        it is.
        """
        steps = {
            key: getattr(self.audio, key)
            for key in ("trim_silence", "level", "target_level", "fixed_duration")
        }
        level = None if self.audio.level == "auto" else self.audio.level
        return steps | {"level": level, "functionals": self.model.options.get("feature_set")}

    def to_dict(self) -> dict[str, Any]:
        """The recipe as `read_recipe` reads it, every default written out."""
        sections = dataclasses.asdict(self)
        extras = {
            "corpus": "options",
            "protocol": "options",
            "model": "options",
            "training": "arguments",
        }
        for section, extra in extras.items():
            sections[section].update(sections[section].pop(extra))
        if self.provenance is None:
            del sections["provenance"]
        return _plain(sections)

    def to_yaml(self) -> str:
        return dump_yaml(self.to_dict())


def _plain(value: Any) -> Any:
    """Sections as mappings, tuples as lists and enumerations as strings, for YAML."""
    if isinstance(value, Settings):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)


def built_in_recipes() -> dict[str, Path]:
    """The files of the recipes that come with the package, by name."""
    folder = packaged("recipes")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): folder / name for name in names}


def recipe_file(source: str | Path) -> Path:
    """A file as it is, or the file of the built-in recipe of that name."""
    name = str(source)
    found = built_in_recipes()
    if os.path.exists(name) or Path(name).suffix or os.sep in name:
        return Path(name)
    if name not in found:
        nearest = difflib.get_close_matches(name, found, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{name}: no such file, and no built-in recipe (ser-hf recipes); the nearest is {nearest}"
        )
    return found[name]


def recipe_values(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """The keys of a recipe with overrides applied, not checked; see
    `ser_hf.experiment.recipe_checks.read_recipe`.
    """
    if isinstance(source, Mapping):
        values = copy.deepcopy(dict(source))
        name = values.setdefault("name", "run")
    else:
        values = read_yaml(recipe_file(source))
        name = values.setdefault("name", Path(source).stem)
    for override in overrides:
        _apply(values, override)
    values.setdefault("output_dir", f"runs/{values.get('name', name)}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override}: expected an override of the form section.key=value")
    if path.count(".") >= DEEPEST:
        raise UserError(f"{override}: no key is nested so deep")
    *sections, key = path.split(".")
    target = values
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise UserError(f"{path}: {section} holds a value, not keys")
    target[key] = parse_yaml(text, f"the override {override}")

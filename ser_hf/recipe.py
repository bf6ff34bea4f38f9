"""A recipe: one YAML file is one experiment, read into frozen, typed dataclasses.

Four sections take keys that other packages define, checked by name and type all the same: `corpus` those of the
corpus's parser, `protocol` those of the split rule, `model` those of the network's configuration, `training` those of
`transformers.TrainingArguments`.
They stand beside the section's own keys in the YAML and in the dataclass's last field. Only an `encoder`'s keys are
known first when its checkpoint's configuration is at hand, and are checked there (`ser_hf.training.build`).

    recipe = read_recipe("recipes/quickstart.yaml", ["training.seeds=[1, 2]"])
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from .corpora import CORPORA, corpus_options
from .errors import UserError
from .protocols import PROTOCOLS, protocol_options
from .strict import coerce, dump_yaml, from_mapping, parse_yaml, read_yaml, unknown_key


@dataclasses.dataclass(frozen=True)
class CorpusSection:
    """Which recordings, and which of their emotions the model learns. `exclude` lists ids to leave out."""

    name: str
    root: str | None = None
    labels: list[str] | None = None
    merge: dict[str, str] = dataclasses.field(default_factory=dict)
    drop: list[str] = dataclasses.field(default_factory=list)
    exclude: list[str] = dataclasses.field(default_factory=list)
    on_unknown: Literal["error", "skip"] = "error"
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

    sampling_rate: int = 16000
    trim_silence: float | None = None
    level: Literal["peak", "loudness"] | None = None
    target_level: float | None = None
    fixed_duration: float | None = None
    max_duration: float | None = None
    normalize: bool | None = None
    cache_dir: str | None = None

    @property
    def preparation(self) -> dict[str, Any]:
        """The fields of `ser_hf.models.waveform_preparation.Preparation`."""
        return {name: getattr(self, name) for name in ("trim_silence", "level", "target_level", "fixed_duration")}


@dataclasses.dataclass(frozen=True)
class ModelSection:
    """A network of ours by name, or `encoder`: any `AutoModelForAudioClassification` checkpoint by id or folder.
    `attention` is how an encoder computes it (null: the fastest that torch alone has for it)."""

    architecture: str
    checkpoint: str | None = None
    random_init: bool = False
    weighted_layer_sum: bool = False
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FreezeSection:
    """What does not learn: `feature_encoder` is the convolutional stem of a wav2vec2-like model."""

    feature_encoder: bool = False


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The validation metric that picks the checkpoint; `patience` evaluations without a gain end it (null: never)."""

    metric: Literal["uar", "wa", "macro_f1", "weighted_f1", "loss"] = "uar"
    patience: int | None = None


@dataclasses.dataclass(frozen=True)
class LossSection:
    """What is minimised: cross entropy, and what a recipe changes about it.

    `class_weights` by the clips of a class, by their `effective_number`, or {label: weight}; `focal_gamma` above zero
    is focal loss; `soft_labels` learns the raters' votes in place of one label (`corpus.soft: true` carries them);
    `logit_adjustment` is the tau by which logits are adjusted for how frequent the classes are; `contrastive_weight`
    adds supervised contrastive loss on what the classifier is given.
    """

    class_weights: Literal["balanced", "effective_number"] | dict[str, float] | None = None
    effective_number_beta: float = 0.999
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    soft_labels: bool = False
    logit_adjustment: float = 0.0
    contrastive_weight: float = 0.0
    contrastive_temperature: float = 0.1


@dataclasses.dataclass(frozen=True)
class AverageSection:
    """Averaged weights are judged and saved in place of the last ones: `ema`, their exponential moving average with
    `decay` a step, or `swa`, the mean over the epochs after the share `start` of the training."""

    kind: Literal["ema", "swa"] | None = None
    decay: float = 0.999
    start: float = 0.75


@dataclasses.dataclass(frozen=True)
class TrainingSection:
    """How it learns: the project's own keys, and in `arguments` whatever `TrainingArguments` takes.

    `head_learning_rate` is for what stands outside an encoder, `layer_decay` multiplies the rate of each of its layers
    by that of the one above. `precision: auto` is the fastest that the device does well (bf16, or fp16; fp32 on a
    CPU). `deterministic` forbids operations whose result depends on timing. `sync_batch_norm` takes batch statistics
    over all processes. `solver` is `trainer`, gradient descent by the Trainer, or `sklearn` for the networks that
    scikit-learn can fit (absent or null: as the network is usually fitted); `grid` lists the values of each setting
    that it then tries.
    """

    seeds: list[int] = dataclasses.field(default_factory=lambda: [42])
    loss: LossSection = LossSection()
    early_stopping: EarlyStopping = EarlyStopping()
    average: AverageSection = AverageSection()
    head_learning_rate: float | None = None
    layer_decay: float | None = None
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    deterministic: bool = False
    sync_batch_norm: bool = False
    solver: Literal["trainer", "sklearn"] = "trainer"
    grid: dict[str, list] = dataclasses.field(default_factory=dict)
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EvaluationSection:
    """Who judges, and how sure the judgement is. `part: validation` leaves the test speakers untouched: for choosing
    among configurations. `bootstrap` and `confidence` are the resamples and the coverage of the intervals."""

    part: Literal["test", "validation"] = "test"
    bootstrap: int = 2000
    confidence: float = 0.95

    @property
    def bootstrapping(self) -> dict[str, Any]:
        """What `ser_hf.evaluation.report.judge` takes of it."""
        return {"bootstrap": self.bootstrap, "confidence": self.confidence}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment. `provenance` says where a resolved recipe came from; it decides nothing."""

    name: str
    output_dir: str
    corpus: CorpusSection
    model: ModelSection
    protocol: ProtocolSection = ProtocolSection()
    audio: AudioSection = AudioSection()
    freeze: FreezeSection = FreezeSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
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


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Reads and checks a recipe from a YAML file or a mapping, then applies overrides such as ``corpus.root=data``.

    Raises:
        UserError: naming the key (full path) or file, before any audio is touched.
    """
    if isinstance(source, Mapping):
        values = _copy(source)
        name = values.setdefault("name", "run")
    else:
        values = read_yaml(source)
        name = values.setdefault("name", Path(source).stem)
    for override in overrides:
        _apply(values, override)
    values.setdefault("output_dir", f"runs/{values.get('name', name)}")
    values.setdefault("protocol", {})
    # A section that is no mapping is left for `from_mapping` to complain of.
    sections = {
        name: dict(values.get(name, {}))
        for name in ("corpus", "protocol", "model", "training")
        if _holds_keys(values, name)
    }
    if "corpus" in sections:
        values["corpus"] = _corpus(sections["corpus"])
    if "protocol" in sections:
        values["protocol"] = _protocol(sections["protocol"])
    if "model" in sections:
        values["model"] = _model(sections["model"])
    if "training" in sections:
        values["training"] = _training(sections["training"], sections.get("model", {}).get("architecture"))
    recipe = from_mapping(Recipe, values)
    _check_ranges(recipe)
    return recipe


def _holds_keys(values: Mapping[str, Any], section: str) -> bool:
    return isinstance(values.get(section, {}), Mapping)


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override}: an override reads section.key=value")
    *sections, key = path.split(".")
    target = values
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise UserError(f"{path}: {section} holds a value, not keys")
    target[key] = parse_yaml(text, f"the override {override}")


def _corpus(values: dict[str, Any]) -> dict[str, Any]:
    name = values.get("name")
    if not isinstance(name, str) or name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is none of {', '.join(CORPORA)}")
    return _split_off(values, CorpusSection, corpus_options(name), "corpus", "options")


def _protocol(values: dict[str, Any]) -> dict[str, Any]:
    name = values.get("name", "speaker_independent")
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise UserError(f"protocol.name: {name!r} is none of {', '.join(PROTOCOLS)}")
    return _split_off(values, ProtocolSection, protocol_options(name), "protocol", "options")


def _model(values: dict[str, Any]) -> dict[str, Any]:
    architecture = values.get("architecture")
    if architecture == "encoder":
        # A checkpoint's own configuration knows these; the model's construction checks them against it.
        own = {field.name for field in dataclasses.fields(ModelSection)} - {"options"}
        options = {key: values.pop(key) for key in list(values) if key not in own}
        return values | {"options": options}
    from .models import ARCHITECTURES

    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise UserError(f"model.architecture: {architecture!r} is none of {', '.join([*ARCHITECTURES, 'encoder'])}")
    return _split_off(values, ModelSection, config_options(ARCHITECTURES[architecture]), "model", "options")


def config_options(model_class: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of what a network's configuration takes, beyond what every configuration does."""
    from transformers import PreTrainedConfig

    common = {field.name for field in dataclasses.fields(PreTrainedConfig)} | {"sampling_rate"}
    return {
        field.name: (field.type, field.default)
        for field in dataclasses.fields(model_class.config_class)
        if field.name not in common
    }


def _training(values: dict[str, Any], architecture: str) -> dict[str, Any]:
    from .training.arguments import MANAGED, argument_options, sampling_for, solvers_for
    from .training.schedules import ignores_warmup

    for key in values:
        if key in MANAGED:
            raise UserError(f"training.{key}: {MANAGED[key]}")
    values.setdefault("train_sampling_strategy", sampling_for(architecture))
    if architecture != "encoder":
        # Encoders drop whole layers; in our networks every parameter has a gradient in every step.
        values.setdefault("ddp_find_unused_parameters", False)
    if isinstance(schedule := values.get("lr_scheduler_type"), str) and ignores_warmup(schedule):
        values.setdefault("warmup_steps", 0)
    if values.get("solver") is None:
        values["solver"] = solvers_for(architecture)[0]
    values["grid"] = _grid(values.get("grid", {}), values["solver"], architecture)
    return _split_off(values, TrainingSection, argument_options(), "training", "arguments")


def _grid(given: Any, solver: Any, architecture: str) -> Any:
    """What scikit-learn is to try: the network's own grid, the recipe's values in place of its."""
    from .training.arguments import GRIDS, solvers_for

    solvers = {"trainer": "trained by gradient", "sklearn": "fitted by scikit-learn"}
    possible = solvers_for(architecture)
    if not isinstance(solver, str) or solver not in solvers or not isinstance(given, Mapping):
        return given  # left for `from_mapping` to complain of
    if solver not in possible:
        raise UserError(f"training.solver: {architecture} can only be {solvers[possible[0]]}")
    if solver == "trainer":
        if given:
            raise UserError("training.grid: belongs to solver sklearn; the Trainer has no grid")
        return given
    grid = dict(GRIDS[architecture])
    for key, values in given.items():
        if key not in grid:
            raise unknown_key(f"training.grid.{key}", grid)
        grid[key] = coerce(values, list[type(grid[key][0])], f"training.grid.{key}")
        if not grid[key] or not all(0 < value < math.inf for value in grid[key]):
            raise UserError(f"training.grid.{key}: expected values above zero, got {grid[key]}")
    return grid


def _split_off(
    values: dict[str, Any], kind: type, options: dict[str, tuple[Any, Any]], section: str, extra: str
) -> dict[str, Any]:
    """Moves the keys that another package defines (name -> (annotation, default)) into the section's `extra` field."""
    own = [field.name for field in dataclasses.fields(kind) if field.name != extra]
    # Defaults are coerced like values, so that a resolved recipe reads back equal (a tuple is a list, 500 is 500.0).
    resolved = {name: coerce(default, hint, f"{section}.{name}") for name, (hint, default) in options.items()}
    for key in [key for key in values if key not in own]:
        if key not in options:
            raise unknown_key(f"{section}.{key}", [*own, *options])
        resolved[key] = coerce(values.pop(key), options[key][0], f"{section}.{key}")
    return values | {extra: resolved}


def _check_ranges(recipe: Recipe) -> None:
    """What types cannot say. Raises a `UserError` naming the key."""
    audio, training, loss = recipe.audio, recipe.training, recipe.training.loss
    positive = {
        "audio.sampling_rate": audio.sampling_rate,
        "audio.max_duration": audio.max_duration,
        "evaluation.bootstrap": recipe.evaluation.bootstrap,
        "training.head_learning_rate": training.head_learning_rate,
        "training.layer_decay": training.layer_decay,
        "training.early_stopping.patience": training.early_stopping.patience,
        "training.average.decay": training.average.decay,
        "training.loss.effective_number_beta": loss.effective_number_beta,
        "training.loss.contrastive_temperature": loss.contrastive_temperature,
    }
    counted = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size")
    for key in (*counted, "gradient_accumulation_steps", "save_total_limit"):
        positive[f"training.{key}"] = training.arguments.get(key)
    if max(training.seeds, default=0) >= 2**32:
        raise UserError(f"training.seeds: expected numbers below 2**32, got {max(training.seeds)}")
    for key, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{key}: expected more than zero, got {value}")
    not_negative = {
        "training.seeds": min(training.seeds, default=0),
        "protocol.seed": recipe.protocol.options.get("seed", 0),
        "training.loss.focal_gamma": loss.focal_gamma,
        "training.loss.logit_adjustment": loss.logit_adjustment,
        "training.loss.contrastive_weight": loss.contrastive_weight,
        "training.max_grad_norm": training.arguments.get("max_grad_norm", 0),
        "training.weight_decay": training.arguments.get("weight_decay", 0),
        "training.dataloader_num_workers": training.arguments.get("dataloader_num_workers") or 0,
    }
    for key, value in not_negative.items():
        if not 0 <= value < math.inf:
            raise UserError(f"{key}: expected zero or more, got {value}")
    shares = {
        "evaluation.confidence": (recipe.evaluation.confidence, 0 < recipe.evaluation.confidence < 1),
        "training.loss.label_smoothing": (loss.label_smoothing, 0 <= loss.label_smoothing < 1),
        "training.loss.effective_number_beta": (loss.effective_number_beta, loss.effective_number_beta < 1),
        "training.average.decay": (training.average.decay, training.average.decay < 1),
        "training.average.start": (training.average.start, 0 <= training.average.start < 1),
        "training.layer_decay": (training.layer_decay, training.layer_decay is None or training.layer_decay <= 1),
    }
    for key, (value, possible) in shares.items():
        if not possible:
            raise UserError(f"{key}: expected between 0 and 1, got {value}")
    folds = recipe.protocol.folds
    if folds is not None and (not folds or len(set(folds)) != len(folds)):
        raise UserError(f"protocol.folds: expected numbers of folds, each once, got {folds}")
    if recipe.protocol.foil == recipe.protocol.name:
        raise UserError(f"protocol.foil: {recipe.protocol.foil} is the protocol itself; name it under one of the two")
    if not training.seeds:
        raise UserError("training.seeds: expected at least one seed, got an empty list")
    if len(set(training.seeds)) != len(training.seeds):
        raise UserError(f"training.seeds: each seed once, got {training.seeds}")
    _check_audio(audio)
    _check_model(recipe)
    if training.solver == "sklearn":
        _check_unused_by_sklearn(recipe)
    else:
        _check_training(training)


def _check_audio(audio: AudioSection) -> None:
    from .models.waveform_preparation import Preparation

    try:
        Preparation(**audio.preparation)
    except ValueError as error:
        raise UserError(f"audio.{error}") from None
    if audio.fixed_duration and audio.max_duration and audio.max_duration > audio.fixed_duration:
        raise UserError(
            f"audio.max_duration: audio.fixed_duration makes every clip {audio.fixed_duration:g} s; leave it out"
        )


def _check_model(recipe: Recipe) -> None:
    model, ours = recipe.model, recipe.model.architecture != "encoder"
    if not ours and not model.checkpoint:
        raise UserError("model.checkpoint: missing; architecture encoder needs a Hub id or a folder")
    for key in ("checkpoint", "random_init", "weighted_layer_sum", "attention"):
        if ours and getattr(model, key):
            raise UserError(f"model.{key}: belongs to architecture encoder, not to {model.architecture}")
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if ours and recipe.training.arguments.get(key):
            raise UserError(f"training.{key}: for encoders; networks of ours are small enough without")
    for key in ("head_learning_rate", "layer_decay"):
        if ours and getattr(recipe.training, key):
            raise UserError(
                f"training.{key}: {model.architecture} has no encoder to tell its head from; use "
                "training.learning_rate"
            )


def _check_training(training: TrainingSection) -> None:
    """Keys that ask for nothing, the schedule's words and the trackers, before any audio is touched."""
    from .training.schedules import check_schedule
    from .training.tracking import check_report_to

    loss, average = training.loss, training.average
    belongs = {
        "loss.effective_number_beta": (
            loss,
            loss.class_weights == "effective_number",
            "class_weights effective_number",
        ),
        "loss.contrastive_temperature": (loss, loss.contrastive_weight, "a contrastive_weight"),
        "average.decay": (average, average.kind == "ema", "average.kind ema"),
        "average.start": (average, average.kind == "swa", "average.kind swa"),
    }
    for key, (section, asked, whose) in belongs.items():
        name = key.partition(".")[2]
        if not asked and getattr(section, name) != getattr(type(section)(), name):
            raise UserError(f"training.{key}: belongs to {whose}; leave it out")
    if loss.class_weights == {}:
        raise UserError("training.loss.class_weights: no weights at all; leave it out, or give one for each label")
    if average.kind == "swa" and training.early_stopping.patience:
        raise UserError(
            "training.early_stopping.patience: swa averages the end of a training, which has to come; leave it out"
        )
    arguments = training.arguments
    warmup, schedule = arguments["warmup_steps"], arguments["lr_scheduler_type"]
    check_schedule(schedule, arguments["lr_scheduler_kwargs"] or {}, warmup)
    check_report_to(arguments["report_to"])


# What predicting takes, and what the machine decides.
USED_BY_SKLEARN = {
    *("per_device_eval_batch_size", "use_cpu", "dataloader_num_workers", "dataloader_pin_memory", "disable_tqdm"),
    *("dataloader_prefetch_factor", "ddp_find_unused_parameters", "ddp_backend", "ddp_timeout"),
}


def _check_unused_by_sklearn(recipe: Recipe) -> None:
    """What would be ignored without a word. Raises a `UserError` naming the key."""
    from .training.arguments import argument_options

    training, defaults = recipe.training, argument_options()
    asked = {
        "audio.max_duration": recipe.audio.max_duration,
        "training.early_stopping.patience": training.early_stopping.patience,
    }
    for field in dataclasses.fields(LossSection):
        if field.name not in ("class_weights", "effective_number_beta"):
            asked[f"training.loss.{field.name}"] = getattr(training.loss, field.name) != field.default
    for field in dataclasses.fields(AverageSection):
        asked[f"training.average.{field.name}"] = getattr(training.average, field.name) != field.default
    for key in ("head_learning_rate", "layer_decay", "precision", "deterministic", "sync_batch_norm"):
        asked[f"training.{key}"] = getattr(training, key) != getattr(TrainingSection(), key)
    for key, value in training.arguments.items():
        if key not in USED_BY_SKLEARN:
            asked[f"training.{key}"] = value != defaults[key][1]
    for key in ("band_warp", "time_stretch", "mix_style"):
        asked[f"model.{key}"] = recipe.model.options[key]
    for key, value in asked.items():
        if value:
            raise UserError(f"{key}: of no use to scikit-learn, which fits whole clips as they are; leave it out")


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, Mapping) else values


def _plain(value: Any) -> Any:
    """Tuples as lists and enumerations as their words, as YAML has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)

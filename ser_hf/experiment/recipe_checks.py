"""Reads recipes and checks keys against each other: contradictions, and keys that would be ignored."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..corpora import CORPORA, complete_options, corpus_options
from ..protocols import PROTOCOLS, protocol_options
from ..utils.errors import UserError
from ..utils.yaml import Range, coerce, from_mapping, parse_yaml, read_yaml, unknown_key
from .recipe import (
    AudioSection,
    AverageSection,
    CorpusSection,
    FreezeSection,
    GradualSection,
    LoraSection,
    LossSection,
    ModelSection,
    ProtocolSection,
    Recipe,
    TrainingSection,
)

# What makes a vector of a clip without having learnt to.
FIXED_POOLINGS = ("mean", "max", "mean_std")


# Ranges of keys that `TrainingArguments` or a protocol defines.
ARGUMENT_RANGES = {
    **dict.fromkeys(("learning_rate", "num_train_epochs"), Range(above=0)),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), Range(above=0)),
    **dict.fromkeys(("gradient_accumulation_steps", "save_total_limit"), Range(above=0)),
    **dict.fromkeys(("max_grad_norm", "weight_decay", "dataloader_num_workers"), Range(min=0)),
}


def check(recipe: Recipe) -> None:
    """Checks keys against each other. Raises a `UserError` naming the key."""
    training = recipe.training
    values = {f"training.{name}": (training.arguments.get(name), own) for name, own in ARGUMENT_RANGES.items()}
    values["protocol.seed"] = (recipe.protocol.options.get("seed"), Range(min=0))
    for key, (value, own) in values.items():
        if value is not None and not own.holds(value):
            raise UserError(f"{key}: expected {own}, got {value}")
    folds = recipe.protocol.folds
    if folds is not None and (not folds or len(set(folds)) != len(folds)):
        raise UserError(f"protocol.folds: expected numbers of folds, each once, got {folds}")
    if recipe.protocol.foil == recipe.protocol.name:
        raise UserError(f"protocol.foil: {recipe.protocol.foil} is the protocol itself; name it under one of the two")
    if not training.seeds:
        raise UserError("training.seeds: expected at least one seed, got an empty list")
    if len(set(training.seeds)) != len(training.seeds):
        raise UserError(f"training.seeds: each seed once, got {training.seeds}")
    _check_audio(recipe.audio)
    _check_augmentation(recipe)
    _check_balance(recipe)
    _check_model(recipe)
    _check_hub(recipe)
    if training.solver == "sklearn":
        _check_unused_by_sklearn(recipe)
    else:
        _check_training(training)


def _check_hub(recipe: Recipe) -> None:
    """Names that the Hub cannot have would be noticed after hours of training."""
    hub = recipe.hub
    for key in ("report_repo", "space", "benchmark"):
        if getattr(hub, key) and hub.repo is None:
            raise UserError(f"hub.{key}: nothing is published while hub.repo is null; name a repository there")
    for key in ("repo", "report_repo", "benchmark"):
        name = getattr(hub, key)
        if name is not None and not re.fullmatch(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}", name):
            raise UserError(f"hub.{key}: expected USER/NAME, of letters, digits, -, _ and ., got {name}")


def _check_audio(audio: AudioSection) -> None:
    from ..models.preparation import Preparation

    try:
        Preparation(**audio.preparation)
    except ValueError as error:
        raise UserError(f"audio.{error}") from None
    if audio.fixed_duration and audio.max_duration and audio.max_duration > audio.fixed_duration:
        raise UserError(
            f"audio.max_duration: audio.fixed_duration makes every clip {audio.fixed_duration:g} s; leave it out"
        )


def _check_augmentation(recipe: Recipe) -> None:
    """Mixup needs a second clip, and two corrections of one imbalance would overshoot it."""
    loss = recipe.training.loss
    if recipe.augment.mixup.probability and recipe.training.arguments.get("per_device_train_batch_size") == 1:
        raise UserError(
            "augment.mixup: mixes clips of a batch, and training.per_device_train_batch_size is 1; make it larger"
        )
    for key, asked in (("class_weights", loss.class_weights), ("logit_adjustment", loss.logit_adjustment)):
        if recipe.augment.oversample and asked:
            raise UserError(
                f"training.loss.{key}: augment.oversample makes classes equally frequent already, and both together "
                "correct twice; leave out one of the two"
            )


def _check_balance(recipe: Recipe) -> None:
    """Two rules about how often an epoch meets a clip would undo each other."""
    balance, loss, augment = recipe.training.balance, recipe.training.loss, recipe.augment
    weighted = _weighted(recipe)
    if balance in ("corpus", "corpus_and_class"):
        if recipe.corpus.name != "mixture":
            raise UserError(f"training.balance: {balance} needs several corpora (corpus.name: mixture)")
        for key in weighted:
            raise UserError(f"{key}: training.balance makes corpora equally frequent; leave out one of the two")
    if augment.oversample:
        for key in ["training.balance"] * bool(balance) + weighted:
            raise UserError(f"augment.oversample: {key} says how often clips are met; leave out one of the two")
    for key, asked in (("class_weights", loss.class_weights), ("logit_adjustment", loss.logit_adjustment)):
        if balance in ("class", "corpus_and_class") and asked:
            raise UserError(
                f"training.loss.{key}: training.balance: {balance} corrects how frequent classes are already, and "
                "both together correct twice; leave out one of the two"
            )


def _weighted(recipe: Recipe) -> list[str]:
    """The keys of a mixture's weights that are not 1."""
    items = recipe.corpus.options.get("corpora") if recipe.corpus.name == "mixture" else None
    return [f"corpus.corpora[{i}].weight" for i, item in enumerate(items or ()) if item["weight"] != 1]


def _check_model(recipe: Recipe) -> None:
    """What the three kinds of network take: from scratch, transferred from another task, or a speech encoder."""
    from ..models import TRANSFERRED

    model, training = recipe.model, recipe.training
    encoder, transferred = model.architecture == "encoder", model.architecture in TRANSFERRED
    if not model.checkpoint and encoder:
        raise UserError("model.checkpoint: missing; architecture encoder needs a Hub id or a folder")
    if not model.checkpoint and transferred and not model.random_init:
        raise UserError(
            f"model.checkpoint: missing; {model.architecture} needs the file of its published weights, or "
            "random_init: true to start from random numbers"
        )
    for field in dataclasses.fields(model):
        known = encoder or field.name in ("architecture", "options")
        if not (known or (transferred and field.name in ("checkpoint", "random_init"))):
            default = [] if field.default is dataclasses.MISSING else field.default
            if getattr(model, field.name) != default:
                raise UserError(f"model.{field.name}: belongs to architecture encoder, not to {model.architecture}")
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if not encoder and training.arguments.get(key):
            raise UserError(f"training.{key}: for encoders; networks of ours are small enough without")
    if not (encoder or transferred):
        for key in ("head_learning_rate", "layer_decay"):
            if getattr(training, key):
                raise UserError(
                    f"training.{key}: {model.architecture} has no encoder to tell its head from; use "
                    "training.learning_rate"
                )
        if dataclasses.replace(recipe.freeze, cache=False) != FreezeSection():
            raise UserError(
                f"freeze: {model.architecture} starts from random numbers, which have to learn; leave it out"
            )
    if model.options.get("head") == "svm" and training.solver != "sklearn":
        raise UserError("model.head: support vector machines do not learn by gradient; set training.solver: sklearn")
    if encoder and training.solver == "sklearn" and (model.pooling not in FIXED_POOLINGS or model.head_layers):
        raise UserError(
            "training.solver: scikit-learn fits the classifier alone, so that nothing before it may have to learn: "
            f"set model.pooling to {', '.join(FIXED_POOLINGS[:-1])} or {FIXED_POOLINGS[-1]}, and leave out "
            "model.head_layers"
        )
    if recipe.evaluation.temperature == "store" and _fitted_head(recipe):
        raise UserError(
            "evaluation.temperature: no linear layer makes the logits of support vector machines and trees, which a "
            "temperature could be stored in; leave it at report"
        )
    _check_depth(recipe)
    if recipe.freeze.cache and training.solver != "sklearn":  # which computes embeddings once anyway
        _check_cache(recipe)
    _check_lora(recipe)


def _fitted_head(recipe: Recipe) -> bool:
    """Whether the classifier is of a kind that scikit-learn alone can fit."""
    from ..training.arguments import solvers_for

    return solvers_for(recipe.model.architecture) == ("sklearn",) or recipe.model.options.get("head") == "svm"


def _check_depth(recipe: Recipe) -> None:
    """Keys about what learns that contradict each other."""
    from ..training.freezing import Freezing

    freeze, training = recipe.freeze, recipe.training
    Freezing(**freeze.freezing)  # complains of its own
    if freeze.gradual.every is None and freeze.gradual != GradualSection():
        raise UserError("freeze.gradual.every: missing; after how many epochs the next layers are to learn")
    if freeze.encoder and training.layer_decay:
        raise UserError("training.layer_decay: freeze.encoder freezes all layers; leave out one of the two")
    settings = [training.arguments.get(f"{word}_checkpointing_kwargs") or {} for word in ("gradient", "activation")]
    partly = dataclasses.replace(freeze, cache=False) != FreezeSection() or recipe.lora.rank is not None
    if partly and any(kwargs.get("use_reentrant") for kwargs in settings):
        raise UserError(
            "training.gradient_checkpointing_kwargs.use_reentrant: layers above frozen ones would get no gradient; "
            "leave it out"
        )


def _check_cache(recipe: Recipe) -> None:
    """What would change what is computed once. Whether anything can be cached depends on the network."""
    freeze, augment, arguments = recipe.freeze, recipe.augment, recipe.training.arguments
    changing = {f"augment.{name}": "changes waveforms anew in every epoch" for name in augment.steps}
    if augment.mixup.probability:
        changing["augment.mixup"] = "mixes waveforms anew in every epoch"
    if recipe.lora.rank is not None:
        changing["lora"] = "adapts the layers that would be cached"
    for key, does in changing.items():
        raise UserError(f"freeze.cache: {key} {does}, and what is cached is computed once; leave out one of the two")
    if recipe.model.architecture == "encoder" and not freeze.encoder:
        raise UserError(
            "freeze.cache: only a fully frozen encoder can be cached; set freeze.encoder: true, or leave it out"
        )
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if freeze.encoder and arguments.get(key):
            raise UserError(f"training.{key}: with freeze.cache no layer of the encoder is run; leave it out")


def _check_lora(recipe: Recipe) -> None:
    from ..training.lora import Lora

    lora, freeze = recipe.lora, recipe.freeze
    if lora.rank is None:
        if lora != LoraSection():
            raise UserError("lora.rank: missing; the other keys of lora are of no use without it (8 is usual)")
        return
    Lora(**dataclasses.asdict(lora))  # complains of its own
    if lora.targets == []:
        raise UserError("lora.targets: expected names of linear layers, or null for the usual ones, got none")
    if recipe.model.architecture != "encoder":
        raise UserError(
            f"lora: adapts the attention of speech encoders, which {recipe.model.architecture} does not have"
        )
    if recipe.model.random_init:
        raise UserError("lora: adapts pretrained weights, and model.random_init has none; leave out one of the two")
    if freeze != dataclasses.replace(FreezeSection(), feature_encoder=freeze.feature_encoder):
        raise UserError("freeze: lora freezes the whole encoder; leave out all keys but feature_encoder")


def _check_training(training: TrainingSection) -> None:
    """Keys that ask for nothing, the schedule's words and the trackers, before any audio is touched."""
    from ..training.callbacks import check_report_to
    from ..training.optimizer import check_schedule

    loss, average = training.loss, training.average
    belongs = {
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
    from ..training.arguments import argument_options

    training, defaults = recipe.training, argument_options()
    asked = {
        "audio.max_duration": recipe.audio.max_duration,
        # The encoder is frozen anyway, which a recipe may say.
        "lora": recipe.lora != LoraSection(),
        "freeze.cache": recipe.freeze.cache,
        "freeze": recipe.freeze != dataclasses.replace(FreezeSection(), encoder=recipe.freeze.encoder),
        "training.early_stopping.patience": training.early_stopping.patience,
    }
    for field in dataclasses.fields(LossSection):
        if field.name not in ("class_weights",):
            asked[f"training.loss.{field.name}"] = getattr(training.loss, field.name) != field.default
    for field in dataclasses.fields(AverageSection):
        asked[f"training.average.{field.name}"] = getattr(training.average, field.name) != field.default
    for key in ("head_learning_rate", "layer_decay", "precision", "balance", "deterministic"):
        asked[f"training.{key}"] = getattr(training, key) != getattr(TrainingSection(), key)
    augment = recipe.augment
    asked |= {f"augment.{name}": True for name in augment.steps}
    asked |= dict.fromkeys(_weighted(recipe), True)
    asked |= {"augment.mixup": augment.mixup.probability, "augment.oversample": augment.oversample}
    for key, value in training.arguments.items():
        if key not in USED_BY_SKLEARN:
            asked[f"training.{key}"] = value != defaults[key][1]
    for key in ("band_warp", "time_stretch", "mix_style"):
        asked[f"model.{key}"] = recipe.model.options.get(key)
    for key, value in asked.items():
        if value:
            raise UserError(f"{key}: of no use to scikit-learn, which fits whole clips as they are; leave it out")


# Keys that are gone: the default, which a saved recipe may have, and what to use instead.
DROPPED: dict[str, tuple[Any, str]] = {
    "augment.crop": ({"probability": None, "share": [0.7, 1.0]}, "use audio.max_duration"),
    "augment.tempo": ({"probability": None, "factor": [0.9, 1.1]}, "use augment.speed"),
    "augment.time_shift": ({"probability": None, "seconds": [-0.3, 0.3]}, "use audio.max_duration"),
    "augment.band_limit": (
        {"probability": None, "low": [20.0, 300.0], "high": [3000.0, 7500.0]},
        "use augment.telephone",
    ),
    "augment.clipping": ({"probability": None, "share": [0.0, 0.05]}, "use augment.gain"),
    "training.auto_find_batch_size": (
        False,
        "use a smaller training.per_device_train_batch_size with training.gradient_accumulation_steps",
    ),
    "training.sync_batch_norm": (False, "use a larger training.per_device_train_batch_size"),
    "training.loss.contrastive_weight": (0.0, "use training.loss.label_smoothing or focal_gamma"),
    "training.loss.contrastive_temperature": (0.1, "leave it out"),
    "training.loss.effective_number_beta": (0.999, "use training.loss.class_weights balanced, or weights by label"),
}


def _refuse_dropped(values: dict[str, Any]) -> None:
    """Remove keys that are gone, and raise a `UserError` for one that is not at its default."""
    for path, (default, instead) in DROPPED.items():
        *sections, key = path.split(".")
        target: Any = values
        for section in sections:
            target = target.get(section) if isinstance(target, dict) else None
        if isinstance(target, dict) and key in target and target.pop(key) != default:
            raise UserError(f"{path}: no longer supported; {instead}")


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
    _refuse_dropped(values)
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
        freeze = values.get("freeze")
        gradual = isinstance(freeze, Mapping) and bool(freeze.get("gradual"))
        values["training"] = _training(sections["training"], sections.get("model", {}).get("architecture"), gradual)
    recipe = from_mapping(Recipe, values)
    check(recipe)
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
    section = _split_off(values, CorpusSection, corpus_options(name), "corpus", "options")
    # The corpora of a mixture have options of their own.
    return section | {"options": complete_options(name, section["options"])}


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
    from ..models import ARCHITECTURES

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


def _training(values: dict[str, Any], architecture: str, gradual: bool) -> dict[str, Any]:
    from ..training.arguments import MANAGED, argument_options, sampling_for, solvers_for
    from ..training.optimizer import WITHOUT_WARMUP

    for key in values:
        if key in MANAGED:
            raise UserError(f"training.{key}: {MANAGED[key]}")
    if architecture != "encoder" and not gradual:
        # Encoders drop whole layers; in our networks every parameter has a gradient in every step.
        values.setdefault("ddp_find_unused_parameters", False)
    if values.get("lr_scheduler_type") in WITHOUT_WARMUP:
        values.setdefault("warmup_steps", 0)
    if values.get("solver") is None:
        values["solver"] = solvers_for(architecture)[0]
    if values["solver"] == "trainer":
        values.setdefault("train_sampling_strategy", sampling_for(architecture))
    values["grid"] = _grid(values.get("grid", {}), values["solver"], architecture)
    return _split_off(values, TrainingSection, argument_options(), "training", "arguments")


def _grid(given: Any, solver: Any, architecture: str) -> Any:
    """What scikit-learn is to try: the network's own grid, the recipe's values in place of its."""
    from ..training.arguments import GRIDS, solvers_for

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
        if not grid[key] or not all(Range(above=0).holds(value) for value in grid[key]):
            raise UserError(f"training.grid.{key}: expected values above zero, got {grid[key]}")
    return grid


def _split_off(
    values: dict[str, Any], kind: type, options: dict[str, tuple[Any, Any]], section: str, extra: str
) -> dict[str, Any]:
    """Moves the keys that another package defines (name -> (annotation, default)) into the section's `extra` field.

    A key that both define, as `pooling` of some networks, is the other package's.
    """
    own = [field.name for field in dataclasses.fields(kind) if field.name not in (extra, *options)]
    # Defaults are coerced like values, so that a resolved recipe reads back equal (a tuple is a list, 500 is 500.0).
    resolved = {name: coerce(default, hint, f"{section}.{name}") for name, (hint, default) in options.items()}
    for key in [key for key in values if key not in own]:
        if key not in options:
            raise unknown_key(f"{section}.{key}", [*own, *options])
        resolved[key] = coerce(values.pop(key), options[key][0], f"{section}.{key}")
    return values | {extra: resolved}


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, Mapping) else values

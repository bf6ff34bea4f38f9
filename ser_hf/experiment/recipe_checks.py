"""Reads recipes and checks keys against each other: contradictions, and keys that would be ignored."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from ..corpora import CORPORA, complete_options, corpus_options
from ..corpora.targets import check_targets
from ..evaluation.tasks import DIMENSIONS, EMOTIONS, TASKS
from ..protocols import PROTOCOLS, protocol_options
from ..training.argument_names import MANAGED, argument_names
from ..utils.errors import UserError
from ..utils.files import class_fields
from ..utils.settings import Settings
from ..utils.yaml import Range, coerce, from_mapping, unknown_key
from .recipe import (
    CorpusSection,
    FreezeSection,
    HubSection,
    LoraSection,
    ModelSection,
    ProtocolSection,
    Recipe,
    TrainingSection,
    recipe_values,
)

MOST_RUNS = 1000  # of a recipe: seeds, and folds
FIXED_POOLINGS = ("mean", "max", "mean_std")  # without parameters

# Ranges of keys that `TrainingArguments` defines.
ARGUMENT_RANGES = {
    "learning_rate": Range(above=0, max=100),
    "num_train_epochs": Range(above=0, max=100_000),
    "max_steps": Range(min=-1, max=10**9),
    **dict.fromkeys(
        ("per_device_train_batch_size", "per_device_eval_batch_size"), Range(min=1, max=65_536)
    ),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "save_total_limit"), Range(min=1, max=1_000_000)
    ),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), Range(above=0, max=10**9)),
    **dict.fromkeys(
        ("max_grad_norm", "weight_decay", "warmup_steps", "eval_delay"), Range(min=0, max=10**9)
    ),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Range(min=0, below=1)),
    "adam_epsilon": Range(min=0, max=1),
    "dataloader_num_workers": Range(min=0, max=256),
    **dict.fromkeys(("dataloader_prefetch_factor", "ddp_bucket_cap_mb"), Range(min=1, max=10_000)),
    **dict.fromkeys(
        ("eval_accumulation_steps", "torch_empty_cache_steps"), Range(min=1, max=1_000_000)
    ),
    "ddp_timeout": Range(min=1, max=10**7),
}

# Arguments that scikit-learn's solver uses, for prediction and the machine.
USED_BY_SKLEARN = {
    *(
        "per_device_eval_batch_size",
        "use_cpu",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "disable_tqdm",
    ),
    *("dataloader_prefetch_factor", "ddp_find_unused_parameters", "ddp_backend", "ddp_timeout"),
}

# Keys of removed features: the default, which saved recipes may have (None: a step of probability
# 0), and what to use instead.
DROPPED: dict[str, tuple[Any, str]] = {
    "corpus.perception": (False, "leave it out"),
    "corpus.known_bad": ("drop", "leave it out; known bad clips are always left out"),
    "corpus.merge_excited": (None, "use corpus.classes: 6 and corpus.merge: {excited: happy}"),
    "augment.crop": (None, "use audio.max_duration"),
    "augment.tempo": (None, "use augment.speed"),
    "augment.time_shift": (None, "use audio.max_duration"),
    "augment.band_limit": (None, "use augment.telephone"),
    "augment.clipping": (None, "use augment.gain"),
    "augment.vocal_tract": (None, "use model.band_warp"),
    "augment.mixup.speakers": ("any", "leave it out"),
    "augment.oversample": (False, "use training.balance: class"),
    "freeze.gradual.every": (None, "use training.layer_decay or freeze.top_layers"),
    "freeze.gradual.layers": (1, "use training.layer_decay or freeze.top_layers"),
    "freeze.gradual": ({}, "use training.layer_decay or freeze.top_layers"),
    "training.auto_find_batch_size": (
        False,
        "use a smaller training.per_device_train_batch_size with training.gradient_accumulation_steps",
    ),
    "training.sync_batch_norm": (False, "use a larger training.per_device_train_batch_size"),
    "training.dataloader_drop_last": (False, "leave it out; every clip is used"),
    "training.average.start": (0.75, "use training.average: {kind: ema}"),
    "training.loss.contrastive_weight": (0.0, "use training.loss.label_smoothing or focal_gamma"),
    "training.loss.contrastive_temperature": (0.1, "leave it out"),
    "training.loss.logit_adjustment": (0.0, "use training.loss.class_weights"),
    "training.loss.effective_number_beta": (
        0.999,
        "use training.loss.class_weights balanced, or weights by label",
    ),
    "evaluation.embeddings": (False, "use ser-hf predict --embeddings, and project the vectors"),
    "hub.benchmark": (None, "leave it out; the Hub's client writes .eval_results"),
    "hub.benchmark_task": ("default", "leave it out"),
}


def check(recipe: Recipe) -> None:
    """Check keys against each other. Raises a `UserError` naming the key."""
    from ..models.preparation import Preparation

    training = recipe.training
    protocol = recipe.protocol
    values = {
        f"training.{name}": (training.arguments.get(name), own)
        for name, own in ARGUMENT_RANGES.items()
    }
    values["protocol.seed"] = (protocol.options.get("seed"), Range(min=0))
    for key, (value, own) in values.items():
        if value is not None and not own.holds(value):
            raise UserError(f"{key}: expected {own}, got {value}")
    for key, numbers in {
        "protocol.folds": protocol.folds,
        "training.seeds": training.seeds,
    }.items():
        if numbers is not None and not len(set(numbers)) == len(numbers) in range(1, MOST_RUNS + 1):
            raise UserError(f"{key}: expected 1 to {MOST_RUNS:,} numbers, each once, got {numbers}")
    try:
        preparation = Preparation(**recipe.preparation)
    except ValueError as error:
        raise UserError(f"audio.{error}") from None
    except ImportError:
        raise UserError(
            'model.feature_set: openSMILE is not installed: pip install "ser_hf[opensmile]"'
        ) from None
    whole = {
        "audio.normalize": recipe.audio.normalize,
        "evaluation.window": recipe.evaluation.window,
    }
    for key in [key for key, value in whole.items() if value and preparation.functionals]:
        raise UserError(
            f"{key}: cannot be applied to functionals, which describe whole clips; leave it out"
        )
    _check_task(recipe)
    _check_class_balance(recipe)
    _check_model(recipe)
    _check_frozen(recipe)
    _check_hub(recipe.hub)
    if recipe.evaluation.per_speaker and training.solver != "sklearn":
        raise UserError("evaluation.per_speaker: needs training.solver: sklearn; leave it out")
    if training.solver == "sklearn":
        _check_unused_by_sklearn(recipe)
    else:
        _check_training(training)


def _check_task(recipe: Recipe) -> None:
    """Check the keys of one task against those of the other."""
    task, corpus, training, loss = (
        TASKS[recipe.task],
        recipe.corpus,
        recipe.training,
        recipe.training.loss,
    )
    check_targets(corpus.targets, corpus.ranges)
    metric = training.early_stopping.metric
    known = (*task.headline, "loss")
    if metric not in known:
        problem = f"unknown metric {metric!r} of {task.name}; choose one of {', '.join(known)}"
        raise UserError(f"training.early_stopping.metric: {problem}")
    rated = task is DIMENSIONS
    if rated != bool(corpus.targets):
        remedy = (
            "missing; name the columns of the ratings"
            if rated
            else "have no effect without task: dimensions"
        )
        raise UserError(f"corpus.targets: {remedy}")
    ours = {"dimensions", "weights"}
    others = [f"training.loss.{key}" for key in _changed(loss) if (key in ours) != rated]
    if rated:
        others += ["evaluation.temperature"] * (recipe.evaluation.temperature == "store")
    for key in others:
        raise UserError(f"{key}: not of task {task.name}; leave it out")
    if rated and training.solver != "trainer":
        raise UserError(
            "training.solver: scikit-learn fits classes only; use trainer, and a network it can train"
        )
    for name in loss.weights:
        if name not in corpus.targets:
            raise UserError(f"training.loss.weights.{name}: not in corpus.targets; leave it out")
    if rated and not any(loss.weights.get(name, 1.0) for name in corpus.targets):
        raise UserError("training.loss.weights: every target weighs 0; use a weight above 0")
    if (
        rated
        and loss.dimensions != "mse"
        and training.arguments.get("per_device_train_batch_size") == 1
    ):
        raise UserError(
            "training.per_device_train_batch_size: the CCC of one clip is undefined; use 2 or more, or "
            "training.loss.dimensions: mse"
        )


def _check_hub(hub: HubSection) -> None:
    """Check names before hours of training."""
    for key in ("repo", "report_repo"):
        name = getattr(hub, key)
        if name is not None and not re.fullmatch(
            r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}", name
        ):
            raise UserError(
                f"hub.{key}: expected USER/NAME, of letters, digits, -, _ and ., got {name}"
            )
        if hub.repo is None and (name or hub.space):
            key = key if name else "space"
            raise UserError(
                f"hub.{key}: nothing is published while hub.repo is null; name a repository there"
            )


def _check_class_balance(recipe: Recipe) -> None:
    """Check mixup and batch size, and refuse two corrections of one imbalance."""
    balance = recipe.training.balance
    loss = recipe.training.loss
    augment = recipe.augment
    weighted = _weighted(recipe)
    if (
        augment.mixup.probability
        and recipe.training.arguments.get("per_device_train_batch_size") == 1
    ):
        raise UserError(
            "augment.mixup: needs several clips in a batch, but training.per_device_train_batch_size is 1"
        )
    if balance in ("corpus", "corpus_and_class"):
        if recipe.corpus.name != "mixture":
            raise UserError(
                f"training.balance: {balance} needs several corpora (corpus.name: mixture)"
            )
        for key in weighted:
            raise UserError(
                f"{key}: training.balance makes corpora equally frequent; leave out one of the two"
            )
    if loss.class_weights and balance in ("class", "corpus_and_class"):
        raise UserError(
            f"training.loss.class_weights: training.balance: {balance} balances classes too; leave out one"
        )


def _weighted(recipe: Recipe) -> list[str]:
    """The keys of a mixture's weights that are not 1."""
    items = recipe.corpus.options.get("corpora") if recipe.corpus.name == "mixture" else None
    return [
        f"corpus.corpora[{i}].weight" for i, item in enumerate(items or ()) if item["weight"] != 1
    ]


def _check_model(recipe: Recipe) -> None:
    """Check the keys of the three kinds of network: from scratch, transferred, and speech encoders."""
    from ..loading.plan import plan_network
    from ..models import TRANSFERRED
    from ..training.arguments import solvers_for

    model, training, name = recipe.model, recipe.training, recipe.model.architecture
    encoder = name == "encoder"
    transferred = name in TRANSFERRED
    if not model.checkpoint and (encoder or (transferred and not model.random_init)):
        needed = (
            "a Hub id or a folder"
            if encoder
            else "the file of its published weights, or random_init: true"
        )
        raise UserError(f"model.checkpoint: missing; {name} needs {needed}")
    own = ("architecture", "options", *(("checkpoint", "random_init") if transferred else ()))
    for key in () if encoder else _changed(model):
        if key not in own:
            raise UserError(f"model.{key}: belongs to architecture encoder, not to {name}")
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if not encoder and training.arguments.get(key):
            raise UserError(f"training.{key}: for encoders only; leave it out")
    if not encoder:
        plan_network(name, recipe.audio.sampling_rate, model.options)  # raises
    svm = model.options.get("head") == "svm"
    if svm and training.solver != "sklearn":
        raise UserError(
            "model.head: support vector machines have no gradient; set training.solver: sklearn"
        )
    if (
        encoder
        and training.solver == "sklearn"
        and (model.pooling not in FIXED_POOLINGS or model.head_layers)
    ):
        raise UserError(
            "training.solver: scikit-learn fits only the classifier: set model.pooling to one of "
            f"{', '.join(FIXED_POOLINGS)}, and leave out model.head_layers"
        )
    if recipe.evaluation.temperature == "store" and (svm or solvers_for(name) == ("sklearn",)):
        raise UserError(
            "evaluation.temperature: cannot be stored in support vector machines or trees; use report"
        )


def _check_frozen(recipe: Recipe) -> None:
    """Check `freeze` and `lora`."""
    from ..training.freezing import Freezing

    freeze = recipe.freeze
    lora = recipe.lora
    augment = recipe.augment
    Freezing(**freeze.freezing)  # raises
    # scikit-learn's embeddings are computed once anyway
    if freeze.cache and recipe.training.solver == "trainer":
        for key in [*augment.steps, *["mixup"] * bool(augment.mixup.probability)]:
            raise UserError(
                f"freeze.cache: augment.{key} changes what would be cached; leave out one of the two"
            )
    if lora.rank is None:
        if lora != LoraSection():
            raise UserError(
                "lora.rank: missing; the other keys of lora have no effect without it (8 is usual)"
            )
        return
    if lora.targets == []:
        raise UserError(
            "lora.targets: expected names of linear layers, or null for the usual ones, got none"
        )
    if recipe.model.architecture != "encoder":
        raise UserError(
            f"lora: supported by speech encoders only, not by {recipe.model.architecture}; leave it out"
        )
    if freeze != dataclasses.replace(FreezeSection(), feature_encoder=freeze.feature_encoder):
        raise UserError(
            "freeze: lora freezes the whole encoder; leave out all keys but feature_encoder"
        )


def _check_training(training: TrainingSection) -> None:
    """Refuse keys without effect, wrong schedules and trackers."""
    from ..training.callbacks import check_report_to
    from ..training.optimizer import check_schedule

    average = training.average
    arguments = training.arguments
    if average.kind is None and _changed(average):
        raise UserError("training.average.decay: belongs to kind ema; leave it out")
    check_schedule(
        arguments["lr_scheduler_type"], arguments["lr_scheduler_kwargs"], arguments["warmup_steps"]
    )
    check_report_to(arguments["report_to"])


def _check_unused_by_sklearn(recipe: Recipe) -> None:
    """Refuse keys that scikit-learn's solver would ignore."""
    from ..training.arguments import argument_options

    training = recipe.training
    augment = recipe.augment
    defaults = argument_options()
    sections = {
        "training.loss": dataclasses.replace(training.loss, class_weights=None),
        "training.early_stopping": dataclasses.replace(training.early_stopping, metric=None),
        "training.average": training.average,
        "freeze": dataclasses.replace(recipe.freeze, encoder=False),  # the encoder is frozen anyway
        "lora": recipe.lora,
        "augment": augment,
    }
    keys = [
        f"{name}.{key}" for name, section in sections.items() for key in _changed(section)
    ] + _weighted(recipe)
    used = ("seeds", "solver", "grid", "arguments", "loss", "average", "early_stopping")
    keys += [f"training.{key}" for key in _changed(training) if key not in used]
    keys += ["audio.max_duration"] * bool(recipe.audio.max_duration)
    keys += [
        f"training.{key}"
        for key, value in training.arguments.items()
        if key not in USED_BY_SKLEARN and value != defaults[key][1]
    ]
    keys += [
        f"model.{key}"
        for key in ("band_warp", "time_stretch", "mix_style")
        if recipe.model.options.get(key)
    ]
    for key in keys:
        raise UserError(
            f"{key}: has no effect with scikit-learn, which fits whole clips as they are; leave it out"
        )


def _changed(section: Any) -> list[str]:
    """The keys of a section that differ from their defaults."""
    if isinstance(section, Settings):
        default = type(section)()
        return [
            name
            for name in type(section).model_fields
            if getattr(section, name) != getattr(default, name)
        ]
    changed = []
    for field in dataclasses.fields(section):
        default = (
            field.default
            if field.default_factory is dataclasses.MISSING
            else field.default_factory()
        )
        if getattr(section, field.name) != default:
            changed.append(field.name)
    return changed


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, and check it before any audio is read.

    Example: `ser_hf.read_recipe("quickstart", ["training.num_train_epochs=2"])`

    Args:
        source: a YAML file or a mapping.
        overrides: such as ``corpus.root=data``.

    Returns:
        The recipe with all defaults.

    Raises:
        UserError: naming the key (full path) or file.
    """
    values = recipe_values(source, overrides)
    _drop(values)
    values.setdefault("protocol", {})
    values.setdefault("training", {})
    completions = {"corpus": _corpus, "protocol": _protocol, "model": _model, "training": _training}
    for section, complete in completions.items():
        # the first section whose keys are torch's: all others are checked before it is loaded
        if section == "model":
            from_mapping(
                Recipe, values | {"model": ModelSection("any"), "training": TrainingSection()}
            )
            _check_names(values)
        if isinstance(values.get(section, {}), Mapping):  # `from_mapping` refuses anything else
            values[section] = complete(dict(values.get(section, {})), values)
    recipe = from_mapping(Recipe, values)
    check(recipe)
    return recipe


def _drop(values: dict[str, Any]) -> None:
    """Remove keys of `DROPPED` that have their default; raises a `UserError` for other values."""
    for key, (default, instead) in DROPPED.items():
        *sections, name = key.split(".")
        target: Any = values
        for section in sections:
            target = target.get(section) if isinstance(target, Mapping) else None
        if not isinstance(target, dict) or name not in target:
            continue
        value = target.pop(name)
        off = isinstance(value, Mapping) and not value.get("probability")
        if value != default and not off:
            raise UserError(f"{key}: no longer supported; {instead}")


def _chosen(key: str, word: Any, known: Collection[str]) -> str:
    if isinstance(word, str) and word in known:
        return word
    section, _, kind = key.partition(".")
    problem = (
        "missing" if word is None else f"unknown {section if kind == 'name' else kind} {word!r}"
    )
    raise UserError(f"{key}: {problem}; choose one of {', '.join(known)}")


def _corpus(values: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    name = _chosen("corpus.name", values.get("name"), CORPORA)
    section = _split_off(values, CorpusSection, corpus_options(name), "corpus", "options")
    # The corpora of a mixture have options of their own.
    return section | {"options": complete_options(name, section["options"])}


def _protocol(values: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    name = _chosen("protocol.name", values.get("name", "speaker_independent"), PROTOCOLS)
    return _split_off(values, ProtocolSection, protocol_options(name), "protocol", "options")


def _check_names(values: Mapping[str, Any]) -> None:
    """Refuse unknown keys of `model` and `training`, before transformers is imported for their
    types and defaults.
    """
    fields = class_fields(*(Path(__file__).parents[1] / "models").glob("*.py"))
    networks = {name.removesuffix("Config").lower(): own for name, own in fields.items()}
    model, training = (
        values[name] if isinstance(values.get(name), Mapping) else {}
        for name in ("model", "training")
    )
    network = networks.get(str(model.get("architecture")).replace("_", ""))
    if network is not None:
        _known_keys("model", model, ModelSection, set(network) - {"sampling_rate"})
    for key in training:
        if key in MANAGED:
            raise UserError(f"training.{key}: {MANAGED[key]}")
    _known_keys("training", training, TrainingSection, argument_names())


def _known_keys(
    section: str, values: Mapping[str, Any], kind: type, options: Collection[str]
) -> None:
    known = {field.name for field in dataclasses.fields(kind)} - {"options", "arguments"} | {
        *options
    }
    for key in values:
        if key not in known:
            raise unknown_key(f"{section}.{key}", sorted(known))


def _model(values: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    architecture = values.get("architecture")
    if architecture == "encoder":
        # A checkpoint's own configuration knows these; the model's construction checks them against
        # it.
        own = {field.name for field in dataclasses.fields(ModelSection)} - {"options"}
        options = {key: values.pop(key) for key in list(values) if key not in own}
        return values | {"options": options}
    from ..models import ARCHITECTURES

    _chosen("model.architecture", architecture, [*ARCHITECTURES, "encoder"])
    from transformers import PreTrainedConfig

    common = {field.name for field in dataclasses.fields(PreTrainedConfig)} | {"sampling_rate"}
    fields = dataclasses.fields(ARCHITECTURES[architecture].config_class)
    options = {
        field.name: (field.type, field.default) for field in fields if field.name not in common
    }
    return _split_off(values, ModelSection, options, "model", "options")


def _training(values: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    from ..training.arguments import argument_options, sampling_for, solvers_for
    from ..training.optimizer import WITHOUT_WARMUP

    stopping = values.get("early_stopping", {})
    # `from_mapping` refuses anything else
    if isinstance(stopping, Mapping) and stopping.get("metric") is None:
        values["early_stopping"] = dict(stopping) | {
            "metric": TASKS.get(str(recipe.get("task")), EMOTIONS).main
        }
    model = recipe.get("model")
    architecture = model.get("architecture") if isinstance(model, Mapping) else None
    if architecture != "encoder":
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
    """The values that scikit-learn tries: the network's own grid, with those of the recipe in their
    place.
    """
    from ..training.arguments import GRIDS, solvers_for

    solvers = {"trainer": "trained by gradient", "sklearn": "fitted by scikit-learn"}
    possible = solvers_for(architecture)
    if solver not in list(solvers) or not isinstance(given, Mapping):
        return given  # `from_mapping` raises
    if solver not in possible:
        raise UserError(f"training.solver: {architecture} can only be {solvers[possible[0]]}")
    grid = dict(GRIDS[architecture]) if solver == "sklearn" else {}
    if given and not grid:
        raise UserError("training.grid: only training.solver: sklearn has a grid; leave it out")
    for key, values in given.items():
        if key not in grid:
            raise unknown_key(f"training.grid.{key}", grid)
        grid[key] = coerce(
            values, list[Annotated[type(grid[key][0]), Range(above=0)]], f"training.grid.{key}"
        )
        if not grid[key]:
            raise UserError(f"training.grid.{key}: expected at least one value, got none")
    return grid


def _split_off(
    values: dict[str, Any],
    kind: type,
    options: dict[str, tuple[Any, Any]],
    section: str,
    extra: str,
) -> dict[str, Any]:
    """Move the keys that another package defines (name -> (annotation, default)) into the section's
    `extra` field. A key that both define, as `pooling` of some networks, is the other package's."""
    own = [field.name for field in dataclasses.fields(kind) if field.name not in (extra, *options)]
    # Defaults are coerced like values, so that a resolved recipe reads back equal (a tuple is a
    # list, 500 is 500.0).
    resolved = {
        name: coerce(default, hint, f"{section}.{name}")
        for name, (hint, default) in options.items()
    }
    for key in [key for key in values if key not in own]:
        if key not in options:
            raise unknown_key(f"{section}.{key}", [*own, *options])
        resolved[key] = coerce(values.pop(key), options[key][0], f"{section}.{key}")
    return values | {extra: resolved}

"""Checks the keys of a recipe against each other: contradictions, and keys without an effect.

Checks within one section are in the class of this section. Each check function here raises a
`UserError` that names a key.
"""

import dataclasses
import os
import shutil
import sys
from typing import TYPE_CHECKING

from ..evaluation.maps import require_installed
from ..evaluation.tasks import EMOTIONS, TASKS, Task
from ..training.settings import TrainingSettings
from ..utils.errors import UserError
from .model_settings import ENCODER, EncoderSettings, NetworkSettings, TransferredSettings
from .recipe import Recipe
from .settings import FreezeSettings

if TYPE_CHECKING:
    from ..training.freezing import Freezing

# Kinds of pooling that have no parameters.
FIXED_POOLINGS = ("mean", "max", "mean_std")

# Keys of `TrainingArguments` that the scikit-learn solver uses too, for prediction or hardware.
USED_BY_SKLEARN = (
    "per_device_eval_batch_size",
    "use_cpu",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "ddp_find_unused_parameters",
    "ddp_backend",
    "ddp_timeout",
    "disable_tqdm",
)
# Other keys of `training` that both solvers use.
_OF_ALL_SOLVERS = ("seeds", "solver", "grid", "loss", "average", "early_stopping")


def check(recipe: Recipe) -> None:
    """Check the keys of a recipe against each other; checks that need no network come first.

    Raises:
        UserError: naming the wrong key.
    """
    _check_preparation(recipe)
    _check_task(recipe)
    _check_loss_of_task(recipe)
    _check_mixup(recipe)
    _check_balance(recipe)
    _check_checkpoint(recipe)
    _check_network(recipe)
    _check_compiled(recipe)
    _check_solver_of_model(recipe)
    _check_frozen(recipe)
    _check_lora(recipe)
    _check_benchmark(recipe)
    require_installed(recipe.evaluation.map, "evaluation.map")
    if recipe.training.solver == "sklearn":
        _check_unused_by_sklearn(recipe)
    else:
        _check_trainer(recipe)


def _check_benchmark(recipe: Recipe) -> None:
    """Check that the run will have a result for the leaderboard of `hub.benchmark`."""
    if recipe.hub.benchmark is not None and recipe.evaluation.part != "test":
        raise UserError(
            "hub.benchmark: a leaderboard takes results of test speakers, and the recipe has "
            f"evaluation.part: {recipe.evaluation.part}"
        )


def _check_preparation(recipe: Recipe) -> None:
    """Refuse wrong preparation, and waveform settings for networks on functionals."""
    try:
        preparation = recipe.preparation
    except ValueError as error:
        raise UserError(f"audio.{error}") from None
    except ImportError:
        raise UserError(
            'model.feature_set: openSMILE is not installed: pip install "ser_hf[opensmile]"'
        ) from None
    waveform_settings = {
        "audio.normalize": recipe.audio.normalize,
        "evaluation.window": recipe.evaluation.window,
    }
    for key, value in waveform_settings.items():
        if value and preparation.functionals:
            raise UserError(
                f"{key}: cannot be applied to functionals, which describe whole clips; leave it out"
            )


def _check_task(recipe: Recipe) -> None:
    """Check keys that only some tasks need or allow."""
    task = TASKS[recipe.task]
    metric = recipe.training.early_stopping.metric
    metrics = (*dict.fromkeys((*task.headline, task.selects)), "loss")
    if metric not in metrics:
        raise UserError(
            f"training.early_stopping.metric: unknown metric {metric!r:.100} of {task.name}; "
            f"choose one of {', '.join(metrics)}"
        )
    _check_targets(recipe, task)
    if task is not EMOTIONS and recipe.training.solver != "trainer":
        raise UserError(
            f"training.solver: scikit-learn fits the task emotions only, not {task.name}; use "
            "trainer, and a network that it can train"
        )
    if not task.one_label and recipe.evaluation.temperature == "store":
        raise UserError(f"evaluation.temperature: not of task {task.name}; leave it out")
    if not task.has_ratings and recipe.evaluation.rating_scale != "store":
        raise UserError(f"evaluation.rating_scale: not of task {task.name}; leave it out")
    of_sets = {
        "corpus.positive_share": recipe.corpus.positive_share,
        "evaluation.label_threshold": recipe.evaluation.label_threshold,
    }
    for key, value in of_sets.items():
        if value is not None and not task.has_votes:
            raise UserError(f"{key}: not of task {task.name}; leave it out")


def _check_targets(recipe: Recipe, task: Task) -> None:
    """Check the columns of ratings: only tasks with ratings have them."""
    corpus = recipe.corpus
    if task.has_ratings and not corpus.targets:
        raise UserError("corpus.targets: missing; name the columns of the ratings")
    if not task.has_ratings and corpus.targets:
        tasks = " or ".join(name for name, other in TASKS.items() if other.has_ratings)
        raise UserError(f"corpus.targets: have no effect without task: {tasks}")
    if corpus.partial and not (task.has_classes and task.has_ratings):
        raise UserError(f"corpus.partial: not of task {task.name}; leave it out")
    same_names = sorted(set(corpus.targets) & set(corpus.labels or ()))
    if same_names:
        raise UserError(f"corpus.targets: {same_names[0]} is in corpus.labels too; rename one")


def _check_loss_of_task(recipe: Recipe) -> None:
    """Refuse loss settings that the task does not have, or that give no loss."""
    task = TASKS[recipe.task]
    loss = recipe.training.loss
    targets = recipe.corpus.targets
    for key in loss.changed_keys():
        if key not in task.loss_keys:
            raise UserError(f"training.loss.{key}: not of task {task.name}; leave it out")
    if not task.has_ratings:
        return
    for name in loss.weights:
        if name not in targets:
            raise UserError(f"training.loss.weights.{name}: not in corpus.targets; leave it out")
    if not any(loss.task_weights.get(name, 1.0) for name in task.parts):
        raise UserError("training.loss.task_weights: every task weighs 0; use a weight above 0")
    if not any(loss.weights.get(name, 1.0) for name in targets):
        raise UserError("training.loss.weights: every target weighs 0; use a weight above 0")
    if loss.dimensions != "mse" and recipe.training.per_device_train_batch_size == 1:
        raise UserError(
            "training.per_device_train_batch_size: the CCC of one clip is undefined; use 2 or "
            "more, or training.loss.dimensions: mse"
        )


def _check_mixup(recipe: Recipe) -> None:
    """Refuse mixup in batches of one clip."""
    if recipe.augment.mixup.probability and recipe.training.per_device_train_batch_size == 1:
        raise UserError(
            "augment.mixup: needs several clips in a batch, but "
            "training.per_device_train_batch_size is 1"
        )


def _check_balance(recipe: Recipe) -> None:
    """Refuse a recipe that corrects the same imbalance twice: by weights and by sampling."""
    balance = recipe.training.balance
    if balance in ("corpus", "corpus_and_class"):
        if recipe.corpus.name != "mixture" and not recipe.corpus.auxiliary:
            raise UserError(
                f"training.balance: {balance} needs several corpora (corpus.name: mixture)"
            )
        weighted = _weighted_corpora(recipe)
        if weighted:
            raise UserError(
                f"{weighted[0]}: training.balance makes corpora equally frequent; "
                "leave out one of the two"
            )
    if balance in ("class", "corpus_and_class") and recipe.training.loss.class_weights:
        raise UserError(
            f"training.loss.class_weights: training.balance: {balance} balances classes too; "
            "leave out one"
        )


def _weighted_corpora(recipe: Recipe) -> list[str]:
    """The keys of the corpora of a mixture, and of auxiliary corpora, whose weight is not 1."""
    corpus = recipe.corpus
    items_of_key = {
        "corpus.corpora": getattr(corpus, "corpora", None) or (),
        "corpus.auxiliary": corpus.auxiliary,
    }
    keys = []
    for key, items in items_of_key.items():
        for position, item in enumerate(items):
            if item.weight != 1:
                keys.append(f"{key}[{position}].weight")
    return keys


def _check_checkpoint(recipe: Recipe) -> None:
    """Refuse a missing checkpoint, and one that the solver would not use."""
    model = recipe.model
    if model.architecture == ENCODER and not model.checkpoint:
        raise UserError("model.checkpoint: missing; encoder needs a Hub id or a folder")
    if isinstance(model, EncoderSettings) and model.label_names is not None:
        if model.random_init:
            raise UserError("model.label_names: random_init keeps no row of a classifier")
        if recipe.training.solver == "sklearn":
            raise UserError("model.label_names: scikit-learn fits the classifier anew")
    if isinstance(model, TransferredSettings):
        if not model.checkpoint and not model.random_init:
            raise UserError(
                f"model.checkpoint: missing; {model.architecture} needs the file of its published "
                "weights, or random_init: true"
            )
    elif isinstance(model, NetworkSettings) and model.checkpoint:
        if recipe.training.solver == "sklearn":
            raise UserError(
                f"model.checkpoint: scikit-learn fits all of {model.architecture} anew; leave it "
                "out"
            )


def _check_network(recipe: Recipe) -> None:
    """Refuse options of a network that do not fit each other, or that only encoders have."""
    from ..loading.plan import plan_network

    model = recipe.model
    if model.architecture == ENCODER:
        return
    if recipe.training.activation_checkpointing:
        raise UserError("training.activation_checkpointing: for encoders only; leave it out")
    # Raises for options that do not fit each other.
    plan_network(model.architecture, recipe.audio.sampling_rate, model.options)


def _check_compiled(recipe: Recipe) -> None:
    """Refuse compilation of networks for which it takes longer than training, or cannot start."""
    training = recipe.training
    # transformers compiles as well if only one of the other two keys is set
    for key in ("torch_compile", "torch_compile_backend", "torch_compile_mode"):
        if not getattr(training, key):
            continue
        if recipe.model.architecture != ENCODER:
            raise UserError(
                f"training.{key}: for encoders only; {recipe.model.architecture} would be compiled "
                "for minutes, and again for other lengths of clips; leave it out"
            )
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        with_inductor = training.torch_compile_backend in (None, "inductor")
        if with_inductor and os.name == "posix" and shutil.which(compiler) is None:
            raise UserError(
                f"training.{key}: needs a C++ compiler, and {compiler} is not installed; install "
                "it, name another one in the variable CXX, or leave the key out"
            )


def _check_solver_of_model(recipe: Recipe) -> None:
    """Refuse a solver that cannot train the model, and settings that the solver does not have."""
    from ..training.arguments import solvers_for

    model = recipe.model
    solver = recipe.training.solver
    has_svm_head = model.options.get("head") == "svm"
    if has_svm_head and solver != "sklearn":
        raise UserError(
            "model.head: support vector machines have no gradient; set training.solver: sklearn"
        )
    if model.architecture == ENCODER and solver == "sklearn":
        if model.pooling not in FIXED_POOLINGS or model.head_layers:
            raise UserError(
                "training.solver: scikit-learn fits only the classifier: set model.pooling to one "
                f"of {', '.join(FIXED_POOLINGS)}, and leave out model.head_layers"
            )
    without_gradient = has_svm_head or solvers_for(model.architecture) == ("sklearn",)
    if recipe.evaluation.temperature == "store" and without_gradient:
        raise UserError(
            "evaluation.temperature: cannot be stored in support vector machines or trees; "
            "use report"
        )
    if recipe.evaluation.per_speaker and solver != "sklearn":
        raise UserError("evaluation.per_speaker: needs training.solver: sklearn; leave it out")


def _check_frozen(recipe: Recipe) -> None:
    """Refuse contradictory settings of `freeze`, and a cache of clips that change."""
    freezing = recipe.freeze.freezing  # raises for contradictory settings
    _check_frozen_random_weights(recipe, freezing)
    # The scikit-learn solver computes embeddings only once anyway.
    if not recipe.freeze.cache or recipe.training.solver != "trainer":
        return
    augmentations = list(recipe.augment.active_steps)
    if augmentations:
        raise UserError(
            f"freeze.cache: augment.{augmentations[0]} changes what would be cached; "
            "leave out one of the two"
        )


def _check_frozen_random_weights(recipe: Recipe, freezing: "Freezing") -> None:
    """Refuse frozen parts of a network that starts from random weights."""
    model = recipe.model
    is_random = isinstance(model, NetworkSettings) and not model.checkpoint
    if not is_random or isinstance(model, TransferredSettings):
        return
    unfrozen = dataclasses.asdict(type(freezing)())
    for key, value in dataclasses.asdict(freezing).items():
        if value != unfrozen[key]:
            raise UserError(
                f"freeze.{key}: {model.architecture} starts from random weights; leave it out, or "
                "set model.checkpoint"
            )


def _check_lora(recipe: Recipe) -> None:
    """Refuse adapters on networks other than encoders, and adapters with other frozen parts."""
    if recipe.lora.rank is None:
        return
    if recipe.model.architecture != ENCODER:
        raise UserError(
            f"lora: supported by speech encoders only, not by {recipe.model.architecture}; "
            "leave it out"
        )
    if recipe.freeze != FreezeSettings(feature_encoder=recipe.freeze.feature_encoder):
        raise UserError(
            "freeze: lora freezes the whole encoder; leave out all keys but feature_encoder"
        )


def _check_trainer(recipe: Recipe) -> None:
    """Refuse a wrong learning rate schedule or tracker."""
    from ..training.callbacks import check_report_to
    from ..training.schedules import check_schedule

    training = recipe.training
    check_schedule(training.lr_scheduler_type, training.lr_scheduler_kwargs, training.warmup_steps)
    check_report_to(training.report_to)


def _check_unused_by_sklearn(recipe: Recipe) -> None:
    """Refuse keys that the scikit-learn solver would ignore."""
    unused = [
        *_unused_sections(recipe),
        *_weighted_corpora(recipe),
        *_unused_training_keys(recipe),
        *_unused_options(recipe),
    ]
    if unused:
        raise UserError(
            f"{unused[0]}: has no effect with scikit-learn, which fits whole clips as they are; "
            "leave it out"
        )


def _unused_sections(recipe: Recipe) -> list[str]:
    """Changed keys of the sections that the scikit-learn solver does not use."""
    training = recipe.training
    sections = {
        "training.loss": training.loss.replace(class_weights=None),
        "training.early_stopping": training.early_stopping.replace(metric=None),
        "training.average": training.average,
        # freeze.encoder is allowed: the scikit-learn solver always freezes the encoder.
        "freeze": recipe.freeze.replace(encoder=False),
        "lora": recipe.lora,
        "augment": recipe.augment,
    }
    return [f"{name}.{key}" for name, section in sections.items() for key in section.changed_keys()]


def _unused_training_keys(recipe: Recipe) -> list[str]:
    """Changed keys of `training` that the scikit-learn solver does not use."""
    # Compare with the defaults for this network: some defaults depend on the network.
    from .completion import complete_training

    default = complete_training(
        TrainingSettings(solver="sklearn"), recipe.model.architecture, recipe.task
    )
    keys = []
    for key in TrainingSettings.model_fields:
        ignored = key not in _OF_ALL_SOLVERS and key not in USED_BY_SKLEARN
        if ignored and getattr(recipe.training, key) != getattr(default, key):
            keys.append(f"training.{key}")
    return keys


def _unused_options(recipe: Recipe) -> list[str]:
    """Random changes of clips or features, which the scikit-learn solver does not make."""
    keys = ["audio.max_duration"] if recipe.audio.max_duration else []
    for key in ("band_warp", "time_stretch", "mix_style"):
        if recipe.model.options.get(key):
            keys.append(f"model.{key}")
    return keys

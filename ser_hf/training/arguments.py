"""`TrainingArguments` from the `training` section of a recipe: allowed keys, defaults, and keys set
by a run.
"""

import atexit
import copy
import dataclasses
import os
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, enable_full_determinism

from ..evaluation.metrics import lower_is_better
from ..loading.batches import batches
from ..models import TRANSFERRED
from ..utils.environment import usable_cores
from ..utils.errors import UserError
from ..utils.processes import end_process_group
from .argument_names import argument_names
from .optimizer import ONE_CYCLE, schedule_names

_MOST_WORKERS = 8


def precision_arguments(precision: str) -> dict[str, Any]:
    """The `TrainingArguments` of a precision; ``auto`` is the device's fastest native one. Weights
    stay float32.
    """
    cuda = torch.cuda.is_available()
    ampere = cuda and torch.cuda.get_device_capability() >= (8, 0)
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        precision = "bf16" if bf16 else "fp16" if cuda else "fp32"
    possible = {"fp32": True, "tf32": ampere, "bf16": bf16 or not cuda, "fp16": cuda}
    if not possible[precision]:
        device = torch.cuda.get_device_name() if cuda else "a machine without a CUDA GPU"
        raise UserError(f"training.precision: {precision} is not supported by {device}; use auto")
    # Overrides the setting of a launcher, and of an earlier run in this process.
    os.environ["ACCELERATE_MIXED_PRECISION"] = precision if precision in ("bf16", "fp16") else "no"
    # What autocast leaves in float32, the front ends above all, must stay exact: TF32 only on
    # request. The Trainer sets it for matrix products; for convolutions and recurrent layers
    # cuDNN's default is TF32.
    if ampere:
        for layers in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            layers.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    return {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "tf32": precision == "tf32" if ampere else None,
    }


def data_workers() -> int:
    """Number of worker processes for batches: none on a CPU, where they would compete with the
    training.
    """
    if not torch.cuda.is_available():
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, usable_cores() // processes - 1))


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch on every device; `deterministic` makes torch refuse
    nondeterministic operations.
    """
    if deterministic:
        enable_full_determinism(seed)
    else:
        torch.use_deterministic_algorithms(False)
        transformers.set_seed(seed)


# What differs from the library's defaults: small models, one evaluation and one checkpoint an
# epoch.
HOUSE_DEFAULTS: dict[str, Any] = {
    "learning_rate": 1.0e-3,
    "num_train_epochs": 30.0,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "weight_decay": 0.01,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "logging_strategy": "epoch",
    # Processes wait that long for the first one, which evaluates and writes reports; the library
    # waits half an hour.
    "ddp_timeout": 6 * 3600,
    # Trackio's; the library would name the project huggingface and create another Space.
    "project": "ser_hf",
    "trackio_static_space_id": False,
}

# Settings of the machine at hand: a recipe may set them, a resolved recipe does not carry their
# defaults along.
_MACHINE = (
    "use_cpu",
    "dataloader_pin_memory",
    "dataloader_num_workers",
    "disable_tqdm",
    "ddp_find_unused_parameters",
)

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
SAMPLING = ("random", "group_by_length", "sequential")


def sampling_for(architecture: str) -> str:
    """The default `train_sampling_strategy` of a network.

    Batches of similar length need little padding, but tempo is an emotion cue: they hold few
    emotions, which harms batch normalization. Encoders normalize each clip by itself.
    """
    return "group_by_length" if architecture == "encoder" else "random"


# Hundreds of standardized values per clip (embeddings, functionals) need more regularization than a
# few cepstra.
_EMBEDDINGS: dict[str, list[Any]] = {"C": [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0]}

# Networks that scikit-learn can fit, and the default of `training.grid`.
GRIDS: dict[str, dict[str, list[Any]]] = {
    "mfcc_linear": {"C": [0.001, 0.01, 0.1, 1.0, 10.0]},
    "mfcc_svm": {"C": [0.0001, 0.001, 0.01, 0.1, 1.0]},
    "mfcc_rbf_svm": {"C": [1.0, 10.0, 100.0], "gamma_scale": [0.1, 0.3, 1.0, 3.0]},
    "mfcc_forest": {"n_estimators": [300], "min_samples_leaf": [1, 2, 4, 8]},
    **dict.fromkeys(
        (*TRANSFERRED, "encoder", "functionals_linear", "functionals_svm"), _EMBEDDINGS
    ),
}


def solvers_for(architecture: str) -> tuple[str, ...]:
    """Possible values of `training.solver` for a network, the default first."""
    if architecture in ("mfcc_linear", "functionals_linear"):
        return ("sklearn", "trainer")
    if architecture in TRANSFERRED or architecture == "encoder":
        return ("trainer", "sklearn")
    return ("sklearn",) if architecture in GRIDS else ("trainer",)


def argument_options() -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of every `TrainingArguments` key that a recipe may set."""
    hints = typing.get_type_hints(TrainingArguments)
    settable = argument_names()
    options = {}
    for field in dataclasses.fields(TrainingArguments):
        if field.name not in settable:
            continue
        default = (
            field.default if field.default is not dataclasses.MISSING else field.default_factory()
        )
        options[field.name] = (hints[field.name], HOUSE_DEFAULTS.get(field.name, default))
    for name in _MACHINE:
        options[name] = (options[name][0] | None, None)
    options["train_sampling_strategy"] = (Literal[SAMPLING], SAMPLING[0])
    options["lr_scheduler_type"] = (
        Literal[tuple(schedule_names())],
        HOUSE_DEFAULTS["lr_scheduler_type"],
    )
    options["dataloader_multiprocessing_context"] = (
        Literal["fork", "forkserver", "spawn"] | None,
        None,
    )
    options["torch_compile_mode"] = (Literal[COMPILE_MODES] | None, None)
    options["lr_scheduler_kwargs"] = (dict[str, Any] | None, None)
    return options


@dataclasses.dataclass
class EmotionTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the settings of `EmotionTrainer`.

    `schedule` is the name of the learning rate schedule; `kept_checkpoints` are kept beside the
    best one (`save_total_limit` would delete before a new one is complete); the mean metric of the
    last `selecting_evaluations` selects the best one. Batches of evaluation hold clips of one
    length for models that are not `padding_safe`. Example:
    `ser_hf.EmotionTrainingArguments("runs/own", head_learning_rate=1e-3)`
    """

    schedule: str = "linear"
    head_learning_rate: float | None = None
    layer_decay: float | None = None
    kept_checkpoints: int | None = None
    selecting_evaluations: int = 1
    average: str | None = None
    average_decay: float = 0.999
    padding_safe: bool = True

    def __post_init__(self):
        super().__post_init__()  # starts the process group, if there are several processes
        atexit.unregister(end_process_group)  # an earlier run's, to end it once
        atexit.register(end_process_group)
        if not self.padding_safe and self.world_size > 1:  # processes exchange batches of one size
            self.per_device_eval_batch_size = 1

    def evaluation_batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """The clips of each batch in evaluation, in their order; `lengths` in samples, sorted."""
        size = self.per_device_eval_batch_size
        return [list(range(*bounds)) for bounds in batches(lengths, size, self.padding_safe)]

    @property
    def n_gpu(self) -> int:
        """GPUs of this process, at most one: the Trainer would wrap the model in `nn.DataParallel`
        for several, which multiplies a loss that is divided by the clips of the whole step."""
        return min(1, super().n_gpu)

    @property
    def rates(self) -> tuple[float, float, float | None, float | None]:
        """Settings of `parameter_groups`."""
        return self.learning_rate, self.weight_decay, self.head_learning_rate, self.layer_decay

    @property
    def step_batch_size(self) -> int:
        """Clips of one optimizer step, over all processes and accumulated batches."""
        return self.train_batch_size * self.gradient_accumulation_steps * max(1, self.world_size)


def training_arguments(
    arguments: dict[str, Any],
    output_dir: Path,
    seed: int,
    metric: str = "uar",
    padding_safe: bool = True,
    progress: bool = True,
    precision: str = "auto",
    deterministic: bool = False,
    **own: Any,
) -> EmotionTrainingArguments:
    """The arguments of one run.

    Args:
        metric: validation metric that selects the checkpoint.
        padding_safe: False for models whose logits depend on padding; they are evaluated in batches
            of equal length.
        own: further fields of `EmotionTrainingArguments`.

    Raises:
        UserError: for arguments that contradict each other or that Transformers refuses.
    """
    arguments = dict(arguments)
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    machine = {
        "use_cpu": not (cuda or mps),
        "dataloader_pin_memory": cuda,
        "dataloader_num_workers": data_workers(),
        "disable_tqdm": not progress,
    }
    arguments |= {name: default for name, default in machine.items() if arguments.get(name) is None}
    if arguments["eval_strategy"] == "no":
        raise UserError(
            "training.eval_strategy: validation selects the checkpoint; use epoch or steps"
        )
    # Otherwise the best weights of a run may be in no checkpoint.
    for key in ("strategy", "steps") if arguments["eval_strategy"] == "steps" else ("strategy",):
        if arguments.get(f"eval_{key}") != arguments.get(f"save_{key}"):
            raise UserError(
                f"training.save_{key}: differs from eval_{key}; set both to the same value"
            )
    backend = arguments.get("torch_compile_backend")
    if backend is not None and backend not in (
        known := torch.compiler.list_backends(exclude_tags=())
    ):
        raise UserError(
            f"training.torch_compile_backend: unknown {backend!r}; choose one of {', '.join(known)}"
        )
    if (
        arguments.get("dataloader_multiprocessing_context")
        and not arguments["dataloader_num_workers"]
    ):
        raise UserError(
            "training.dataloader_multiprocessing_context: has no effect; set dataloader_num_workers too"
        )
    own |= {
        "schedule": arguments["lr_scheduler_type"],
        "kept_checkpoints": arguments.pop("save_total_limit"),
    }
    if arguments.get("torch_compile"):
        # Batches differ in length: one graph for all rather than one for each.
        os.environ.setdefault("ACCELERATE_DYNAMO_USE_DYNAMIC", "true")
    if own["schedule"] == ONE_CYCLE:
        arguments["lr_scheduler_type"] = "constant"
    arguments |= precision_arguments(precision)
    try:
        return EmotionTrainingArguments(
            **arguments,
            **own,
            padding_safe=padding_safe,
            output_dir=str(output_dir),
            seed=seed,
            full_determinism=deterministic,
            load_best_model_at_end=True,
            metric_for_best_model=metric,
            greater_is_better=not lower_is_better(metric),
            remove_unused_columns=False,
            restore_callback_states_from_checkpoint=True,
            label_names=["labels"],
        )
    except (ValueError, ImportError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"training: {error}") from None


def refitting(arguments: EmotionTrainingArguments, steps: int) -> EmotionTrainingArguments:
    """The arguments of a training of so many steps without validation, whose last weights are the
    result.
    """
    changed = copy.copy(arguments)
    changed.output_dir = str(Path(arguments.output_dir) / "refit")
    changed.max_steps = steps
    changed.load_best_model_at_end = False
    changed.eval_strategy = IntervalStrategy.NO
    changed.save_strategy = SaveStrategy.EPOCH
    return changed

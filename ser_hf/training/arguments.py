"""Makes `TrainingArguments` from the `training` section of a recipe and from the machine."""

import atexit
import copy
import dataclasses
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, enable_full_determinism

from ..evaluation.metrics import lower_is_better
from ..loading.batches import SAMPLES_A_CLIP, longest_first
from ..models import TRANSFERRED
from ..utils.environment import usable_cores
from ..utils.errors import UserError
from ..utils.processes import end_process_group
from .optimizer import parameter_groups
from .schedules import DROPS, OF_TORCH, count_in_steps
from .settings import EmotionTrainerSettings

_MOST_WORKERS = 8


@dataclasses.dataclass(frozen=True)
class Precision:
    """The precision fields of `TrainingArguments`; `tf32` is None on devices without TF32."""

    bf16: bool
    fp16: bool
    tf32: bool | None


def set_precision(name: str) -> Precision:
    """Set the number format of computations; weights stay in float32.

    Args:
        name: ``fp32``, ``tf32``, ``bf16``, ``fp16``, or ``auto``, the device's fastest native one.

    Raises:
        UserError: for a format that the device does not have.
    """
    cuda = torch.cuda.is_available()
    ampere = cuda and torch.cuda.get_device_capability() >= (8, 0)
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        if bf16:
            name = "bf16"
        else:
            name = "fp16" if cuda else "fp32"
    possible = {"fp32": True, "tf32": ampere, "bf16": bf16 or not cuda, "fp16": cuda}
    if not possible[name]:
        device = torch.cuda.get_device_name() if cuda else "a machine without a CUDA GPU"
        raise UserError(f"training.precision: {name} is not supported by {device}; use auto")

    # Override the setting of a launcher, and that of an earlier run in this process.
    os.environ["ACCELERATE_MIXED_PRECISION"] = name if name in ("bf16", "fp16") else "no"
    # Computations that autocast leaves in float32, such as the front ends, must be exact, so TF32
    # is used only on request. The Trainer sets this for matrix products. For convolutions and
    # recurrent layers it is set here, because the default of cuDNN is TF32.
    if ampere:
        for layers in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            layers.fp32_precision = "tf32" if name == "tf32" else "ieee"
    return Precision(
        bf16=name == "bf16",
        fp16=name == "fp16",
        tf32=name == "tf32" if ampere else None,
    )


def data_workers() -> int:
    """The number of worker processes that prepare batches.

    It is 0 on a CPU, where workers would compete with the training.
    """
    if not torch.cuda.is_available():
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, usable_cores() // processes - 1))


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch on every device.

    `deterministic` makes torch refuse nondeterministic operations.
    """
    if deterministic:
        enable_full_determinism(seed)
    else:
        torch.use_deterministic_algorithms(False)
        transformers.set_seed(seed)


def sampling_for(architecture: str) -> str:
    """The default `train_sampling_strategy` of a network.

    Batches of clips with similar lengths need little padding. But tempo is a cue of emotion, so
    such a batch has clips of few emotions, which harms batch normalization. Encoders normalize each
    clip separately.
    """
    return "group_by_length" if architecture == "encoder" else "random"


# Vectors with hundreds of standardized values (embeddings, functionals) need more regularization
# than vectors with a few cepstral coefficients.
_EMBEDDINGS: dict[str, list[Any]] = {"C": [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0]}

# The networks that scikit-learn can fit, with the default of `training.grid` for each.
GRIDS: dict[str, dict[str, list[Any]]] = {
    "mfcc_linear": {"C": [0.001, 0.01, 0.1, 1.0, 10.0]},
    "mfcc_svm": {"C": [0.0001, 0.001, 0.01, 0.1, 1.0]},
    "mfcc_rbf_svm": {"C": [1.0, 10.0, 100.0], "gamma_scale": [0.1, 0.3, 1.0, 3.0]},
    "mfcc_forest": {"n_estimators": [300], "min_samples_leaf": [1, 2, 4, 8]},
    "functionals_linear": _EMBEDDINGS,
    "functionals_svm": _EMBEDDINGS,
    "encoder": _EMBEDDINGS,
}
for _transferred in TRANSFERRED:
    GRIDS[_transferred] = _EMBEDDINGS


def solvers_for(architecture: str) -> tuple[str, ...]:
    """Possible values of `training.solver` for a network, the default first."""
    if architecture in ("mfcc_linear", "functionals_linear"):
        return ("sklearn", "trainer")
    if architecture in TRANSFERRED or architecture == "encoder":
        return ("trainer", "sklearn")
    return ("sklearn",) if architecture in GRIDS else ("trainer",)


@dataclasses.dataclass
class EmotionTrainingArguments(EmotionTrainerSettings, TrainingArguments):
    """`TrainingArguments` with the settings of `EmotionTrainer`.

    Example: `ser_hf.EmotionTrainingArguments("runs/first", head_learning_rate=1e-3)`

    Args:
        head_learning_rate, layer_decay: see `ser_hf.training.optimizer.parameter_groups`.
        schedule: name of the learning rate schedule.
        kept_checkpoints: number of checkpoints to keep besides the best one; None for all. (With
            `save_total_limit`, old checkpoints would be deleted before a new one is complete.)
        selecting_evaluations: number of evaluations over which the metric is averaged to select
            the best checkpoint.
        keeps_last: whether the last checkpoint is kept in place of the best one.
        average, average_decay: see `ser_hf.training.averaging.WeightAverage`.
        padding_safe: False for models whose predictions change with padding; all clips in an
            evaluation batch then have the same length.
    """

    schedule: str = "linear"
    kept_checkpoints: int | None = None
    selecting_evaluations: int = 1
    keeps_last: bool = False
    average: str | None = None
    average_decay: float = 0.999
    padding_safe: bool = True

    def __post_init__(self):
        super().__post_init__()  # starts the process group, if there are several processes
        atexit.unregister(end_process_group)  # registered by an earlier run; it must run once
        atexit.register(end_process_group)
        if not self.padding_safe and self.world_size > 1:
            # Processes exchange batches of equal size, so each batch has one clip.
            self.per_device_eval_batch_size = 1

    def evaluation_batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """The indices of the clips of each evaluation batch; `lengths` (samples) are sorted.

        Batches of long clips have fewer clips, so that memory does not depend on the lengths. All
        clips of a batch have one length if padding would change predictions. The batch of the
        longest clips is the first (see `ser_hf.loading.batches.longest_first`).
        """
        size = self.per_device_eval_batch_size
        return longest_first(lengths, size, self.padding_safe, most=size * SAMPLES_A_CLIP)

    def parameter_groups(
        self, model: torch.nn.Module, decayed: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Trainable parameters in groups; see `ser_hf.training.optimizer.parameter_groups`."""
        return parameter_groups(
            model,
            self.learning_rate,
            self.weight_decay,
            head_learning_rate=self.head_learning_rate,
            layer_decay=self.layer_decay,
            decayed=decayed,
        )

    @property
    def n_gpu(self) -> int:
        """The number of GPUs that this process uses, at most one.

        With several GPUs in a process, the Trainer would wrap the model in `nn.DataParallel`. The
        loss would then be too large, because it is divided by the clips of the whole step already.
        """
        return min(1, super().n_gpu)

    def steps_per_epoch(self, clips: int) -> int:
        """The number of optimizer steps in which `clips` training clips are seen once."""
        return math.ceil(clips / self.step_batch_size)

    @property
    def step_batch_size(self) -> int:
        """The number of clips in an optimizer step, over all processes and accumulated batches."""
        return self.train_batch_size * self.gradient_accumulation_steps * max(1, self.world_size)


def training_arguments(
    arguments: Mapping[str, Any],
    output_dir: Path,
    seed: int,
    metric: str = "uar",
    padding_safe: bool = True,
    progress: bool = True,
    precision: str = "auto",
    deterministic: bool = False,
    **further: Any,
) -> EmotionTrainingArguments:
    """Make the training arguments of one run.

    Args:
        arguments: {name of an argument of `EmotionTrainingArguments`: value}, from
            `TrainingSettings.arguments`.
        metric: validation metric that selects the checkpoint.
        padding_safe: False for models whose logits depend on padding; they are evaluated in batches
            of equal length.
        precision: see `set_precision`.
        further: other fields of `EmotionTrainingArguments`.

    Raises:
        UserError: for arguments that contradict each other or that Transformers refuses.
    """
    arguments = dict(arguments)
    for name, default in _machine_defaults(progress).items():
        if arguments.get(name) is None:
            arguments[name] = default
    _check_strategies(arguments)
    _check_backends(arguments)
    schedule = arguments["lr_scheduler_type"]
    if schedule in OF_TORCH:
        arguments["lr_scheduler_type"] = "constant"  # transformers has no such schedule
    kept_checkpoints = arguments.pop("save_total_limit", None)
    if arguments.get("torch_compile"):
        # Batches differ in length: compile one graph for all lengths, not one for each length.
        os.environ.setdefault("ACCELERATE_DYNAMO_USE_DYNAMIC", "true")
    arguments |= dataclasses.asdict(set_precision(precision))
    try:
        return EmotionTrainingArguments(
            **arguments,
            **further,
            schedule=schedule,
            kept_checkpoints=kept_checkpoints,
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


def _machine_defaults(progress: bool) -> dict[str, bool | int]:
    """The default of each argument that depends on the machine or the terminal."""
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    return {
        "use_cpu": not (cuda or mps),
        "dataloader_pin_memory": cuda,
        "dataloader_num_workers": data_workers(),
        "disable_tqdm": not progress,
    }


def _check_strategies(arguments: Mapping[str, Any]) -> None:
    """Check that each evaluation saves a checkpoint; otherwise the best weights may be lost."""
    strategy = arguments["eval_strategy"]
    if strategy == "no":
        raise UserError(
            "training.eval_strategy: validation selects the checkpoint; use epoch or steps"
        )
    keys = ["strategy"]
    if strategy == "steps":
        keys.append("steps")
    for key in keys:
        if arguments.get(f"eval_{key}") != arguments.get(f"save_{key}"):
            raise UserError(
                f"training.save_{key}: differs from eval_{key}; set both to the same value"
            )


def _check_backends(arguments: Mapping[str, Any]) -> None:
    """Check settings of the compiler and of worker processes, which transformers does not check."""
    backend = arguments.get("torch_compile_backend")
    if backend is not None:
        backends = torch.compiler.list_backends(exclude_tags=())
        if backend not in backends:
            raise UserError(
                f"training.torch_compile_backend: unknown {backend!r}; "
                f"choose one of {', '.join(backends)}"
            )
    context = arguments.get("dataloader_multiprocessing_context")
    if context and not arguments["dataloader_num_workers"]:
        raise UserError(
            "training.dataloader_multiprocessing_context: has no effect; "
            "set dataloader_num_workers too"
        )


def refitting(
    arguments: EmotionTrainingArguments, steps: int, steps_per_epoch: int
) -> EmotionTrainingArguments:
    """The arguments of a training without validation, which keeps the last weights.

    Args:
        steps: number of steps of the training.
        steps_per_epoch: steps of an epoch of the first training. Epochs of the refit are longer;
            its learning rate falls at the same steps.
    """
    changed = copy.copy(arguments)
    if arguments.schedule in DROPS:
        drops = count_in_steps(arguments.schedule, arguments.lr_scheduler_kwargs, steps_per_epoch)
        changed.lr_scheduler_kwargs = drops.model_dump()
    changed.output_dir = str(Path(arguments.output_dir) / "refit")
    changed.max_steps = steps
    changed.load_best_model_at_end = False
    changed.eval_strategy = IntervalStrategy.NO
    changed.save_strategy = SaveStrategy.EPOCH
    return changed

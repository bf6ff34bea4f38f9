"""Estimates the memory of a training, from steps with one and with two of the longest clips."""

import copy
import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ..utils.environment import (
    MemoryLimit,
    free_memory,
    resident_memory,
    return_freed_memory,
)
from .arguments import EmotionTrainingArguments
from .freezing import frozen_modules

# Bytes of a number in float32.
_FLOAT = 4
# The share of the free memory that a training may take. The rest is for gaps between tensors, and
# for what else a run loads.
_SHARE = 0.8
# The same of a GPU, where a step is really computed.
_SHARE_OF_GPU = 0.92

# The operations of a CPU use further memory inside, and the allocator leaves gaps: a batch takes
# this many times the bytes of its tensors (1.3 to 1.9 times in a BYOL-S, benchmarks/memory.py).
_WORKSPACE = 1.5
# What a run loads after the training: the libraries of figures, and the figures of its report.
_REPORT = 150 * 10**6
# Bytes of a number of the vectors that scikit-learn fits: the vectors, a standardized copy, and
# copies of a fold in single and double precision.
_FITTED_NUMBER = 40

# A function from a number of clips to a batch of the longest ones.
MakeBatch = Callable[[int], dict[str, Any]]

# A function from the outputs and the labels of a batch to a number with a gradient.
MeasuredLoss = Callable[[Any, torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training takes in a process, or on the GPU of the process.

    Mapped files (the code of libraries, the store) and the worker processes of the data loader are
    not included.

    Args:
        base: libraries and the weights; on a GPU the weights only.
        moments: the two moments of AdamW; for scikit-learn, the vectors and their copies.
        first, next: the tensors of a step with one clip, and what each further clip adds; the
            gradients are included.
        evaluation: the tensors of an evaluation batch.
        workspace: the memory of a batch, relative to the bytes of its tensors.
        growth: how much the process grows by gaps between freed blocks, see
            `ser_hf.utils.environment.MemoryLimit`.
        report: what the report adds to `base`, after the training.
    """

    base: int
    moments: int
    first: int
    next: int
    evaluation: int
    workspace: float = 1.0
    growth: float = 1.0
    report: int = 0

    def total(self, clips: int) -> int:
        """The bytes of a training with so many clips in a batch."""
        step = self.first + (clips - 1) * self.next
        batch = self.workspace * max(step, self.evaluation)
        training = self.growth * (self.base + self.moments + batch)
        return max(round(training), self.base + self.report)


def estimate_memory(
    model: nn.Module,
    loss: MeasuredLoss,
    arguments: EmotionTrainingArguments,
    train_batch: MakeBatch,
    evaluation_batch: MakeBatch,
    evaluated_clips: int,
) -> MemoryEstimate:
    """Estimate memory from training steps and evaluations with one and with two clips, on the CPU.

    The model keeps its weights; its gradients are deleted.

    Args:
        evaluated_clips: number of clips in the evaluation batch of the longest clips.
    """
    steps = [_step_bytes(model, loss, arguments, train_batch(clips)) for clips in (1, 2)]
    evaluations = [_evaluation_bytes(model, evaluation_batch(clips)) for clips in (1, 2)]
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    evaluated = evaluations[0] + (evaluated_clips - 1) * (evaluations[1] - evaluations[0])
    estimate = MemoryEstimate(
        base=_FLOAT * sum(parameter.numel() for parameter in parameters),
        moments=2 * _FLOAT * trained,
        first=steps[0],
        next=max(0, steps[1] - steps[0]),
        evaluation=evaluated,
    )
    return _in_process(estimate) if arguments.device.type == "cpu" else estimate


def _in_process(estimate: MemoryEstimate) -> MemoryEstimate:
    """The estimate with the libraries, the allocator and the report of a process."""
    return_freed_memory()
    return dataclasses.replace(
        estimate,
        base=resident_memory(),
        workspace=_WORKSPACE,
        growth=MemoryLimit.GROWTH,
        report=_REPORT,
    )


def estimate_fit_memory(
    model: nn.Module, evaluation_batch: MakeBatch, evaluated_clips: int, windows: int
) -> MemoryEstimate:
    """Estimate the memory of a fit by scikit-learn, from embeddings of one and of two clips.

    Args:
        evaluated_clips: number of clips in the batch of the longest clips.
        windows: number of training clips, or of their windows.
    """
    sizes = []

    def record(classifier: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        sizes.append(args[0].shape[1])

    handle = model.classifier.register_forward_pre_hook(record)
    try:
        evaluations = [_evaluation_bytes(model, evaluation_batch(clips)) for clips in (1, 2)]
    finally:
        handle.remove()
    evaluated = evaluations[0] + (evaluated_clips - 1) * (evaluations[1] - evaluations[0])
    estimate = MemoryEstimate(
        base=0,
        moments=_FITTED_NUMBER * windows * sizes[0],
        first=0,
        next=0,
        evaluation=evaluated,
    )
    return _in_process(estimate)


def _step_bytes(
    model: nn.Module, loss: MeasuredLoss, arguments: EmotionTrainingArguments, batch: dict[str, Any]
) -> int:
    """The bytes of the tensors of a training step without its optimizer."""
    model.train()
    for module in frozen_modules(model):
        module.eval()
    if arguments.activation_checkpointing:
        model.activation_checkpointing_enable()
    with PeakMemory() as memory:
        labels = batch.pop("labels")
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16 or arguments.fp16):
            outputs = model(**batch)
        loss(outputs, labels).backward()
    model.zero_grad(set_to_none=True)
    return memory.peak


@torch.no_grad()
def _evaluation_bytes(model: nn.Module, batch: dict[str, Any]) -> int:
    """The bytes of the tensors of an evaluation batch."""
    model.eval()
    batch.pop("labels")
    with PeakMemory() as memory:
        model(**batch)
    return memory.peak


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, and their largest sum at one time.

    Tensors that exist before are not counted. Operations may use further memory inside.
    """

    def __init__(self):
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self._counted: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = {id(tensor.untyped_storage()) for tensor in _tensors((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for tensor in _tensors(output):
            storage = tensor.untyped_storage()
            if id(storage) not in inputs and storage not in self._counted:
                self._count(storage)
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._counted.add(storage)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.bytes -= size


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, torch.Tensor)]


def largest_batch(step_size: int, fits: Callable[[int], bool]) -> int | None:
    """The largest batch that divides the clips of a step and fits; None if not even one clip does.

    Args:
        step_size: the number of clips of a step on this device.
        fits: whether a batch of so many clips fits; it may also run out of memory.
    """
    for clips in range(step_size, 0, -1):
        if step_size % clips:
            continue
        try:
            if fits(clips):
                return clips
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        clear_device_cache(garbage_collection=True)
    return None


def fits_in_main_memory(estimate: MemoryEstimate, processes: int) -> Callable[[int], bool]:
    """Whether a batch fits into the free main memory, which so many processes share."""
    free = _SHARE * free_memory() / processes

    def fits(clips: int) -> bool:
        return estimate.total(clips) - estimate.base <= free

    return fits


def fits_on_device(
    model: nn.Module,
    loss: MeasuredLoss,
    arguments: EmotionTrainingArguments,
    train_batch: MakeBatch,
) -> Callable[[int], bool]:
    """Whether a batch fits on the GPU: a step is computed beside the moments of the optimizer."""
    device = arguments.device
    copied = copy.deepcopy(model).to(device)
    trained = sum(parameter.numel() for parameter in copied.parameters() if parameter.requires_grad)
    # Several processes exchange gradients through buffers as large as the gradients.
    buffers = 3 if arguments.world_size > 1 else 2

    def fits(clips: int) -> bool:
        copied.train()
        for module in frozen_modules(copied):
            module.eval()
        if arguments.activation_checkpointing:
            copied.activation_checkpointing_enable()
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.empty(buffers * trained, device=device)
        batch = {name: values.to(device) for name, values in train_batch(clips).items()}
        labels = batch.pop("labels")
        try:
            dtype = torch.float16 if arguments.fp16 else torch.bfloat16
            with torch.autocast("cuda", dtype, enabled=arguments.bf16 or arguments.fp16):
                outputs = copied(**batch)
            loss(outputs, labels).backward()
        finally:
            copied.zero_grad(set_to_none=True)
        del held
        total = torch.cuda.get_device_properties(device).total_memory
        return torch.cuda.max_memory_reserved(device) <= _SHARE_OF_GPU * total

    return fits

"""Averages of weights (EMA, SWA), and statistics of batch normalization across processes."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn
from transformers.trainer_callback import TrainerCallback

from ..models.layers import MaskedBatchNorm1d, MaskedBatchNorm2d
from ..utils.errors import UserError


def synchronize_batch_norm(model: nn.Module, device: torch.device | None = None) -> int:
    """Makes every batch normalization use the clips of all processes; returns how many there are.

    Our own layers get `synchronised`; stock ones become `nn.SyncBatchNorm`. Call it in every process before the model
    is wrapped. With a single process nothing changes.

    Args:
        device: where the model will train (default: where its weights are).

    Raises:
        UserError: if stock layers are to train on a device without `nn.SyncBatchNorm`.
    """
    if _processes() == 1:
        return 0
    masked, stock = [], []
    for name, module in model.named_modules():
        if isinstance(module, MaskedBatchNorm1d | MaskedBatchNorm2d):
            masked.append(module)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            stock.append((name, module))
    device = next(model.parameters()).device if device is None else torch.device(device)
    if stock and device.type in ("cpu", "mps"):
        raise UserError(
            f"training.sync_batch_norm: {type(model).__name__} has torch's own batch normalization ({stock[0][0]}), "
            f"which torch synchronizes on GPUs only, not on {device.type!r}; set it to false"
        )
    for module in masked:
        module.synchronised = True
    for name, module in stock:
        model.set_submodule(name, nn.SyncBatchNorm.convert_sync_batchnorm(module))
    return len(masked) + len(stock)


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Copies the buffers of process 0, which are the saved ones, to every process.

    Without it each process would evaluate its own running statistics until the next training step.
    """
    if _processes() == 1:
        return
    for buffer in model.buffers():
        sent = buffer.contiguous()
        dist.broadcast(sent, src=0)
        if sent is not buffer:
            buffer.copy_(sent)


def is_frozen(norm: nn.Module) -> bool:
    """Whether a layer has parameters and all of them are frozen: its statistics stay constant too."""
    trainable = [parameter.requires_grad for parameter in norm.parameters()]
    return bool(trainable) and not any(trainable)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


TRAINED_WEIGHTS = "learning.safetensors"


class WeightAverage(TrainerCallback):
    """Averages the trainable weights and saved buffers of a model.

    - ``ema``: exponential, after every optimizer step, with the decay ``min(decay, (1 + t) / (10 + t))`` in step t
      (as in `tf.train.ExponentialMovingAverage`), so that the random start is soon forgotten.
    - ``swa``: equal weights for the ends of all epochs from the fraction `start` of the steps on (Izmailov et al.
      2018, arXiv:1803.05407). Statistics of batch normalization are computed again from `batches`.

    Half precision is averaged in float32. Tensors of the model are only written in place, so that optimizers, wrappers
    and compiled graphs stay valid. Sharded weights are not supported.

    Args:
        batches: returns the batches of training clips, without labels, the same in every process; for ``swa``.
    """

    KINDS = ("ema", "swa")

    def __init__(
        self,
        kind: str,
        decay: float = 0.999,
        start: float = 0.75,
        batches: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
    ):
        if kind not in self.KINDS:
            raise ValueError(f"average {kind!r} is none of {', '.join(self.KINDS)}")
        self.kind, self.decay, self.start, self.batches = kind, decay, start, batches
        self.averaged = 0
        self._release()

    def attach(self, model: nn.Module) -> None:
        """Starts with the current weights of `model` (unwrapped, on its device, already frozen)."""
        if self.kind == "swa" and self.batches is None and any(_batch_norms(model)):
            raise ValueError("averaged weights need new statistics for batch normalization: give batches")
        saved = model.state_dict().keys()
        weights = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
        self._model, self._trained, self._buffers = model, weights | buffers, list(buffers)
        self._average = {name: _as_float32(tensor.detach()).clone() for name, tensor in self._trained.items()}
        self._groups = _grouped(self._trained, self._average)
        self._kept_weights, self._statistics_ready, self.averaged = None, False, 0

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        # A step that the gradient scaler of fp16 skipped made no weights to average.
        if self.kind == "ema" and not getattr(optimizer, "step_was_skipped", False):
            self.update()

    def on_step_end(self, args, state, control, **kwargs):
        # At the last step of an epoch: a run resumed from a checkpoint of that step gets no on_epoch_end.
        ended = float(state.epoch).is_integer() or state.global_step >= state.max_steps
        if self.kind == "swa" and ended and state.global_step >= self.start * state.max_steps:
            if self.averaged == 0:
                # Earlier evaluations are of weights that were not averaged.
                state.best_metric = state.best_global_step = state.best_model_checkpoint = None
            self.update()

    def on_train_end(self, args, state, control, **kwargs):
        """Leaves the average in the model, unless the Trainer has loaded the best checkpoint."""
        if self.averaged and not (args.load_best_model_at_end and state.best_model_checkpoint is not None):
            self._put_average()
        self._release()

    @torch.no_grad()
    def update(self) -> None:
        """Adds the weights of the model to the average."""
        if self.averaged == 0:
            _copy(self._average, self._trained)
        else:
            if self.kind == "ema":
                rule = get_ema_multi_avg_fn(min(self.decay, (1 + self.averaged) / (10 + self.averaged)))
            else:
                rule = get_swa_multi_avg_fn()
            for average, trained in self._groups:
                if average[0].is_floating_point():
                    rule(average, [_as_float32(tensor) for tensor in trained], self.averaged)
                else:
                    torch._foreach_copy_(average, trained)
        self.averaged += 1
        self._statistics_ready = False

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Puts the average into the model, and the trained weights back afterwards.

        Does nothing if the average is in the model already, before the first average, and after training. Every
        process must call it if batch normalization is synchronized.
        """
        if self._model is None or self.averaged == 0 or self._kept_weights is not None:
            yield
            return
        if model is not self._model:
            raise ValueError("the weights of another model are averaged")
        self._kept_weights = {name: tensor.detach().clone() for name, tensor in self._trained.items()}
        try:
            self._put_average()
            yield
        finally:
            _copy(self._trained, self._kept_weights)
            self._kept_weights = None

    def _put_average(self) -> None:
        _copy(self._trained, self._average)
        if self.kind == "swa" and not self._statistics_ready:
            recompute_batch_norm(self._model, self.batches)
            _copy(self._average, {name: self._trained[name] for name in self._buffers})
        self._statistics_ready = True

    def _release(self) -> None:
        self._model, self._kept_weights = None, None
        self._trained, self._average, self._buffers, self._groups = {}, {}, [], []

    def save(self, folder: Path | str) -> None:
        """Writes the trained weights into a checkpoint whose model was saved while `applied`. For one process.

        The average itself is in the model's file; only what that rounds to half precision is stored here too.
        """
        tensors = {}
        if self.averaged:
            tensors = {f"learning.{name}": tensor for name, tensor in (self._kept_weights or self._trained).items()}
            tensors |= {f"average.{name}": self._average[name] for name in self._rounded()}
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        save_file(tensors, Path(folder) / TRAINED_WEIGHTS, {"kind": self.kind, "averaged": str(self.averaged)})

    def load(self, folder: Path | str) -> None:
        """Resumes from a checkpoint whose model file, the average, is loaded already.

        Raises:
            UserError: if the checkpoint has no average, another kind of it, or other weights.
        """
        path = Path(folder) / TRAINED_WEIGHTS
        if not path.is_file():
            raise UserError(
                f"{path} is missing: this training began without training.average; resume without it, or start again "
                "with --overwrite"
            )
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata()
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except SafetensorError as error:
            raise UserError(
                f"{path} cannot be read ({error}); delete {folder} to --resume from the checkpoint before"
            ) from error
        if about["kind"] != self.kind:
            raise UserError(
                f"{path}: this training began with training.average.kind {about['kind']}, not {self.kind}; resume "
                "with that, or start again with --overwrite"
            )
        self.averaged, self._statistics_ready = int(about["averaged"]), True
        if not self.averaged:
            return
        expected = {f"learning.{name}" for name in self._trained}
        if stored.keys() != expected | {f"average.{name}" for name in self._rounded()}:
            raise UserError(
                f"{path}: this training had other trainable weights; resume with the same recipe, or start "
                "again with --overwrite"
            )
        _copy(self._average, self._trained)
        _copy(self._average, {name: stored[f"average.{name}"] for name in self._rounded()})
        _copy(self._trained, {name: stored[f"learning.{name}"] for name in self._trained})

    def _rounded(self) -> list[str]:
        return [name for name, tensor in self._trained.items() if tensor.dtype != self._average[name].dtype]


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Callable[[], Iterable[Mapping[str, Any]]] | None) -> None:
    """Recomputes statistics of batch normalization: the means over all batches of their mean and unbiased variance.

    As `torch.optim.swa_utils.update_bn`, for models with keyword inputs. Only the normalization is in training mode,
    and random generators are seeded and restored, so that the result depends on weights and batches alone.
    """
    norms = list(_batch_norms(model))
    if not norms:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    model.eval()
    try:
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None
        device, batch = next(model.parameters()).device, None
        with _generators_apart(device):
            for batch in batches():
                model(**{key: value.to(device) for key, value in batch.items()})
        if batch is None:
            raise ValueError("there are no batches to take the statistics of batch normalization from")
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _generators_apart(device: torch.device) -> Iterator[None]:
    """Seeds the generators of Python, numpy and torch inside, and restores them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            random.seed(0)
            np.random.seed(0)
            torch.default_generator.manual_seed(0)  # `torch.manual_seed` would seed other devices too
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _batch_norms(model: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """Trainable ones with running statistics."""
    for module in model.modules():
        known = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        if known and not is_frozen(module):
            yield module


def _grouped(
    trained: Mapping[str, torch.Tensor], average: Mapping[str, torch.Tensor]
) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Pairs of averages and tensors, grouped by device and type for batched kernels."""
    groups: dict[tuple, tuple[list, list]] = {}
    for name, tensor in trained.items():
        pair = groups.setdefault((tensor.device, tensor.dtype), ([], []))
        pair[0].append(average[name])
        pair[1].append(tensor)
    return list(groups.values())


@torch.no_grad()
def _copy(into: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in values.items():
        into[name].copy_(tensor)


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor

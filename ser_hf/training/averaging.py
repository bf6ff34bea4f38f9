"""Averages of the weights while they learn: the average is judged and saved, the weights beside it learn on."""

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


def synchronise_batch_norm(model: nn.Module, device: torch.device | None = None) -> int:
    """Has every batch normalisation in `model` count the clips of all processes; returns how many there are.

    Without it each process normalises by its own share of the batch, and the last step's running statistics are those
    of process 0. Ours are told (`synchronised`, on any device); stock ones in encoders become `nn.SyncBatchNorm`,
    which keeps their weights. With a single process nothing changes and 0 is returned. Call it on every process,
    before the model is wrapped for several; from then on all must run equally many training forwards.

    Args:
        device: where it will train; by default where its weights are now.

    Raises:
        UserError: if there are stock layers and the device is one for which `nn.SyncBatchNorm` does not exist.
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
            f"training.sync_batch_norm: {type(model).__name__} has torch's own batch normalisation ({stock[0][0]}), "
            f"which torch synchronises on GPUs only, not on {device.type!r}; set it to false"
        )
    for module in masked:
        module.synchronised = True
    for name, module in stock:
        model.set_submodule(name, nn.SyncBatchNorm.convert_sync_batchnorm(module))
    return len(masked) + len(stock)


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Gives every process the buffers of process 0, which are those that are saved.

    Running statistics differ between processes unless synchronised, and `DistributedDataParallel` evens them out at
    the next training forward only: until then each process would evaluate a model of its own. Call it on every
    process; with a single one nothing happens.
    """
    if _processes() == 1:
        return
    for buffer in model.buffers():
        sent = buffer.contiguous()
        dist.broadcast(sent, src=0)
        if sent is not buffer:
            buffer.copy_(sent)


def is_frozen(norm: nn.Module) -> bool:
    """Whether it has weights, and none of them learns: its statistics are to stay as they are too."""
    learning = [parameter.requires_grad for parameter in norm.parameters()]
    return bool(learning) and not any(learning)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


LEARNING = "learning.safetensors"


class WeightAverage(TrainerCallback):
    """An average of a model's weights over a training.

    - ``ema``: exponential, after every step of the optimiser. The first step's weights are taken as they are; the t-th
      after it keeps ``min(decay, (1 + t) / (10 + t))`` of the average (as `tf.train.ExponentialMovingAverage` does,
      given `num_updates`), so that the random start is soon forgotten. `decay` is reached after some
      ``9 / (1 - decay)`` steps; until then the averaged weights are on average a tenth of the steps so far old.
    - ``swa``: equal weights for the ends of all epochs from the share `start` of the training's steps on (stochastic
      weight averaging, Izmailov et al. 2018, arXiv:1803.05407). Batch normalisation gets statistics of the averaged
      weights, from a walk over `batches` before they are used.

    What learns and the saved buffers are averaged, whole numbers among them copied; what is frozen by the time of
    `attach` is left alone. Half precision is averaged in float32: a step of ``1 - decay`` would round to nothing.

    The model's tensors stay the same objects and are only ever written in place, so that optimisers, wrappers for
    several processes and compiled graphs may hold them. Weights that are sharded over processes are not supported.

    Args:
        kind: ``ema`` or ``swa``.
        decay: of ``ema``, from 0 to 1.
        start: of ``swa``, from 0 to 1. The last step always counts, so that there is an average in the end.
        batches: makes a new iterable of the training clips' batches, without labels, the same in every process; for
            ``swa`` where there is batch normalisation.
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
        """Starts anew, with the weights of `model`: unwrapped, on its device, frozen where it shall be."""
        if self.kind == "swa" and self.batches is None and any(_batch_norms(model)):
            raise ValueError("averaged weights need new statistics for batch normalisation: give batches")
        saved = model.state_dict().keys()
        weights = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
        self._model, self._learning, self._buffers = model, weights | buffers, list(buffers)
        self._average = {name: _wide(tensor.detach()).clone() for name, tensor in self._learning.items()}
        self._groups = _alike(self._learning, self._average)
        self._held, self._settled, self.averaged = None, False, 0

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        # A step that the gradient scaler of fp16 skipped made no weights to average.
        if self.kind == "ema" and not getattr(optimizer, "step_was_skipped", False):
            self.update()

    def on_step_end(self, args, state, control, **kwargs):
        # With the last step of an epoch, not with its end: checkpoints by steps are written in between, and a run
        # resumed from one would never hear of that end.
        ended = float(state.epoch).is_integer() or state.global_step >= state.max_steps
        if self.kind == "swa" and ended and state.global_step >= self.start * state.max_steps:
            if self.averaged == 0:
                # What was judged so far is not averaged: it was asked for no more than for a beginning.
                state.best_metric = state.best_global_step = state.best_model_checkpoint = None
            self.update()

    def on_train_end(self, args, state, control, **kwargs):
        """Leaves the average in the model for good; where the Trainer has loaded the best checkpoint, that stays."""
        if self.averaged and not (args.load_best_model_at_end and state.best_model_checkpoint is not None):
            self._put_average()
        self._release()

    @torch.no_grad()
    def update(self) -> None:
        """Takes the model's weights into the average."""
        if self.averaged == 0:
            _copy(self._average, self._learning)
        else:
            if self.kind == "ema":
                rule = get_ema_multi_avg_fn(min(self.decay, (1 + self.averaged) / (10 + self.averaged)))
            else:
                rule = get_swa_multi_avg_fn()
            for average, learning in self._groups:
                if average[0].is_floating_point():
                    rule(average, [_wide(tensor) for tensor in learning], self.averaged)
                else:
                    torch._foreach_copy_(average, learning)
        self.averaged += 1
        self._settled = False

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model holds the average inside, and the weights that learn again after, whatever happens.

        Does nothing where that is so already, before there is an average, and after the training. Every process has to
        come here if batch normalisation is synchronised.
        """
        if self._model is None or self.averaged == 0 or self._held is not None:
            yield
            return
        if model is not self._model:
            raise ValueError("the weights of another model are averaged")
        self._held = {name: tensor.detach().clone() for name, tensor in self._learning.items()}
        try:
            self._put_average()
            yield
        finally:
            _copy(self._learning, self._held)
            self._held = None

    def _put_average(self) -> None:
        _copy(self._learning, self._average)
        if self.kind == "swa" and not self._settled:
            recompute_batch_norm(self._model, self.batches)
            _copy(self._average, {name: self._learning[name] for name in self._buffers})
        self._settled = True

    def _release(self) -> None:
        self._model, self._held = None, None
        self._learning, self._average, self._buffers, self._groups = {}, {}, [], []

    def save(self, folder: Path | str) -> None:
        """Writes ``learning.safetensors`` into a checkpoint whose model was saved while `applied`.

        It has the weights that learn and how many the average is of, and of the average itself only what the model's
        file rounds to half precision. Only one process should call it.
        """
        tensors = {}
        if self.averaged:
            tensors = {f"learning.{name}": tensor for name, tensor in (self._held or self._learning).items()}
            tensors |= {f"average.{name}": self._average[name] for name in self._rounded()}
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        save_file(tensors, Path(folder) / LEARNING, {"kind": self.kind, "averaged": str(self.averaged)})

    def load(self, folder: Path | str) -> None:
        """Goes on from a checkpoint whose model file has been loaded into the attached model: what that now holds
        becomes the average, and what `save` wrote is what learns.

        Raises:
            UserError: if the checkpoint is of a training without an average, with another kind, or of other weights.
        """
        path = Path(folder) / LEARNING
        if not path.is_file():
            raise UserError(
                f"{path} is missing: this training began without training.average; resume without it, or start anew "
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
                "with that, or start anew with --overwrite"
            )
        self.averaged, self._settled = int(about["averaged"]), True
        if not self.averaged:
            return
        learning = {f"learning.{name}" for name in self._learning}
        if stored.keys() != learning | {f"average.{name}" for name in self._rounded()}:
            raise UserError(
                f"{path}: other weights learnt in this training than would now; resume with the same recipe, or start "
                "anew with --overwrite"
            )
        _copy(self._average, self._learning)
        _copy(self._average, {name: stored[f"average.{name}"] for name in self._rounded()})
        _copy(self._learning, {name: stored[f"learning.{name}"] for name in self._learning})

    def _rounded(self) -> list[str]:
        return [name for name, tensor in self._learning.items() if tensor.dtype != self._average[name].dtype]


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Callable[[], Iterable[Mapping[str, Any]]] | None) -> None:
    """Gives batch normalisation the statistics of the weights as they are: the means, over all batches alike, of each
    batch's mean and (unbiased) variance, as `torch.optim.swa_utils.update_bn` has them, for models called by name.

    Only the normalisation is in training mode, so that nothing augments or drops out. Whatever draws the batches sees
    generators with a fixed seed: the result depends on weights and batches alone, in every process, and the generators
    go on after as if nothing had been.
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
            raise ValueError("there are no batches to take the statistics of batch normalisation from")
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _generators_apart(device: torch.device) -> Iterator[None]:
    """Python's, numpy's and torch's generators start from a fixed seed inside, and go on as they were after."""
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
    """Those whose statistics are of the training clips: a frozen one keeps what it came with."""
    for module in model.modules():
        known = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        if known and not is_frozen(module):
            yield module


def _alike(
    learning: Mapping[str, torch.Tensor], average: Mapping[str, torch.Tensor]
) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Averages and what they are of, one pair of lists for each device and type: one kernel's worth of work each."""
    groups: dict[tuple, tuple[list, list]] = {}
    for name, tensor in learning.items():
        pair = groups.setdefault((tensor.device, tensor.dtype), ([], []))
        pair[0].append(average[name])
        pair[1].append(tensor)
    return list(groups.values())


@torch.no_grad()
def _copy(into: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in values.items():
        into[name].copy_(tensor)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor

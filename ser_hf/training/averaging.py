"""Averages of weights (EMA, SWA), and statistics of batch normalization."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn
from transformers.trainer_callback import TrainerCallback

TRAINED_WEIGHTS = "learning.safetensors"


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers of process 0, which are the saved ones, to every process.

    Without it each process would evaluate its own running statistics until the next training step.
    """
    for buffer in model.buffers():
        buffer.copy_(broadcast(buffer.contiguous()))


def is_frozen(norm: nn.Module) -> bool:
    """Whether a layer has parameters and all of them are frozen: its statistics stay constant too."""
    trainable = [parameter.requires_grad for parameter in norm.parameters()]
    return bool(trainable) and not any(trainable)


class WeightAverage(TrainerCallback):
    """Averages the trainable weights and saved buffers of a model.

    - ``ema``: exponential, after every optimizer step, with the decay ``min(decay, (1 + t) / (10 + t))`` in step t
      (as in `tf.train.ExponentialMovingAverage`), so that the random start is soon forgotten.
    - ``swa``: equal weights for the ends of all epochs from the fraction `start` of the steps on (Izmailov et al.
      2018, arXiv:1803.05407). Statistics of batch normalization are computed again from `batches`.

    Tensors of the model are only written in place, so that optimizers, wrappers and compiled graphs stay valid.
    Sharded weights are not supported.

    Args:
        model: unwrapped, on its device, already frozen.
        batches: returns the batches of training clips, without labels, the same in every process; for ``swa``.
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str,
        decay: float = 0.999,
        start: float = 0.75,
        batches: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
    ):
        self.kind, self.decay, self.start, self.batches = kind, decay, start, batches
        self.averaged = 0
        saved = model.state_dict().keys()
        weights = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
        self._model, self._trained, self._buffers = model, weights | buffers, list(buffers)
        self._average = {name: tensor.detach().clone() for name, tensor in self._trained.items()}
        self._kept_weights, self._statistics_ready, self._ended = None, False, False

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
        """Leave the average in the model, unless the Trainer has loaded the best checkpoint."""
        if self.averaged and not (args.load_best_model_at_end and state.best_model_checkpoint is not None):
            self._put_average()
        self._ended = True

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of the model to the average."""
        real = [name for name, tensor in self._trained.items() if tensor.is_floating_point() and self.averaged]
        if real:
            ema = get_ema_multi_avg_fn(min(self.decay, (1 + self.averaged) / (10 + self.averaged)))
            rule = ema if self.kind == "ema" else get_swa_multi_avg_fn()
            rule([self._average[name] for name in real], [self._trained[name] for name in real], self.averaged)
        _copy(self._average, {name: self._trained[name] for name in self._trained.keys() - set(real)})
        self.averaged += 1
        self._statistics_ready = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model, and the trained weights back afterwards.

        Does nothing if the average is in the model already, before the first average, and after training.
        """
        if self._ended or self.averaged == 0 or self._kept_weights is not None:
            yield
            return
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

    def save(self, folder: Path) -> None:
        """Write the trained weights into a checkpoint whose model file, saved while `applied`, has the average."""
        tensors = (self._kept_weights or self._trained) if self.averaged else {}
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        save_file(tensors, folder / TRAINED_WEIGHTS, {"averaged": str(self.averaged)})

    def load(self, folder: Path) -> None:
        """Resume from a checkpoint whose model file, the average, is loaded already."""
        with safe_open(folder / TRAINED_WEIGHTS, "pt") as file:
            self.averaged, self._statistics_ready = int(file.metadata()["averaged"]), True
            if self.averaged:
                _copy(self._average, self._trained)
                _copy(self._trained, {name: file.get_tensor(name) for name in self._trained})


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
    """Recompute statistics of batch normalization: the means over all batches of their mean and unbiased variance.

    As `torch.optim.swa_utils.update_bn`, for models with keyword inputs and with only the normalization in training
    mode, so that nothing is random.
    """
    norms = {
        module: module.momentum
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats and not is_frozen(module)
    }
    if not norms:
        return
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None
    for batch in batches():
        model(**batch)
    for norm, momentum in norms.items():
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


@torch.no_grad()
def _copy(into: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in values.items():
        into[name].copy_(tensor)

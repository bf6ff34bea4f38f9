"""Exponential moving average of the weights (after Polyak and Juditsky 1992)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.utils import broadcast
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers.trainer_callback import TrainerCallback

TRAINED_WEIGHTS = "learning.safetensors"


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers of process 0 to every process.

    All processes then evaluate with the statistics that are saved.
    """
    for buffer in model.buffers():
        buffer.copy_(broadcast(buffer.contiguous()))


class WeightAverage(TrainerCallback):
    """Exponential moving average of the trainable weights and saved buffers of a model.

    The average is updated after every optimizer step. The decay of step t is
    ``min(decay, (1 + t) / (10 + t))``, as in `tf.train.ExponentialMovingAverage`, so that the
    random initial weights soon have no influence. Tensors are changed in place, so optimizers,
    wrappers and compiled graphs stay valid.

    Args:
        model: the model without wrappers, on its device, with its frozen parts already frozen.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999):
        self.decay = decay
        self.averaged = 0
        saved = model.state_dict().keys()
        weights = {
            name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad
        }
        buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
        self._trained = weights | buffers
        self._average = {name: tensor.detach().clone() for name, tensor in self._trained.items()}
        self._kept_weights = None
        self._ended = False

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        # The gradient scaler of fp16 may skip a step, which then has no new weights.
        if not getattr(optimizer, "step_was_skipped", False):
            self.update()

    def on_train_end(self, args, state, control, **kwargs):
        if not args.load_best_model_at_end:
            _copy(self._trained, self._average)
        # Now the model has averaged weights: the average above, or those of the best checkpoint.
        self._ended = True

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of the model to the average."""
        averaged: list[str] = []
        if self.averaged:  # the first average is a copy
            averaged = [
                name for name, tensor in self._trained.items() if tensor.is_floating_point()
            ]
        if averaged:
            decay = min(self.decay, (1 + self.averaged) / (10 + self.averaged))
            update = get_ema_multi_avg_fn(decay)
            update(
                [self._average[name] for name in averaged],
                [self._trained[name] for name in averaged],
                self.averaged,
            )
        copied = self._trained.keys() - set(averaged)
        _copy(self._average, {name: self._trained[name] for name in copied})
        self.averaged += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Copy the average into the model, and restore the trained weights at the end.

        This does nothing before the first update, after the training, and if the average is in the
        model already.
        """
        if self._ended or self.averaged == 0 or self._kept_weights is not None:
            yield
            return
        self._kept_weights = {
            name: tensor.detach().clone() for name, tensor in self._trained.items()
        }
        try:
            _copy(self._trained, self._average)
            yield
        finally:
            _copy(self._trained, self._kept_weights)
            self._kept_weights = None

    def save(self, folder: Path) -> None:
        """Write the trained weights into a checkpoint, whose model file has the average."""
        tensors: Mapping[str, torch.Tensor] = {}
        if self.averaged:
            tensors = self._kept_weights or self._trained
        tensors = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        save_file(tensors, folder / TRAINED_WEIGHTS, {"averaged": str(self.averaged)})

    def load(self, folder: Path) -> None:
        """Resume from a checkpoint; its model file, which has the average, is loaded already."""
        with safe_open(folder / TRAINED_WEIGHTS, "pt") as file:
            self.averaged = int(file.metadata()["averaged"])
            if self.averaged:
                _copy(self._average, self._trained)
                _copy(self._trained, {name: file.get_tensor(name) for name in self._trained})


@torch.no_grad()
def _copy(targets: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Copy each tensor of `values` into the tensor of the same name in `targets`, in place."""
    for name, tensor in values.items():
        targets[name].copy_(tensor)

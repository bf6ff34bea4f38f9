"""What is known of a file of published weights: its tensors, and what each becomes in one of our networks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Published:
    """A file of weights.

    Attributes:
        file: its name where it is published.
        source: where to get it.
        licence: of the weights.
        tensors: name in the file -> (shape in the file, name in our model or None for what our model has no use for).
        wrapper: the key under which the file holds its tensors, beside others that do not matter; None: it holds
            nothing else.
        convert: from the file's tensors, checked for names and shapes, to those that are copied, still under the
            file's names: axes reordered, two made one, or constants held against what the front end computes.

            It may raise ValueError with a message that begins with the name of the tensor that is not what it should
            be. Where None, tensors are copied as they are.
    """

    file: str
    source: str
    licence: str
    tensors: dict[str, tuple[tuple[int, ...], str | None]]
    wrapper: str | None = None
    convert: Callable[[Tensors, PreTrainedConfig], Tensors] | None = None


def batch_norm(name: str, ours: str, size: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """The five tensors of a batch normalisation as `Published.tensors` lists them."""
    parts = ("weight", "bias", "running_mean", "running_var")
    tensors = {f"{name}.{part}": ((size,), f"{ours}.{part}") for part in parts}
    return tensors | {f"{name}.num_batches_tracked": ((), f"{ours}.num_batches_tracked")}

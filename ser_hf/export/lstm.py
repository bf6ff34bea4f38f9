"""ONNX's own LSTM operator in place of `BiLSTM`, which the exporter cannot follow."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from ..models.layers import BiLSTM
from ..utils.errors import UserError


def replace_lstms(model: PreTrainedModel) -> None:
    """Replace each `BiLSTM` of a model by ONNX's operator.

    Raises:
        UserError: if the model has another recurrent layer.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, BiLSTM):
            model.set_submodule(name, _OnnxLSTM(module.lstm))
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            raise UserError(
                f"{type(model).__name__} cannot be exported to ONNX: {name} is a "
                f"{type(module).__name__}; the only recurrent layer that can be exported is BiLSTM"
            )


class _OnnxLSTM(nn.Module):
    """`BiLSTM` as ONNX's LSTM operator, for export only: in torch it returns zeros.

    The operator expects frames first, its gates in the order input, output, forget, cell (torch:
    input, forget, cell, output), and both directions in one tensor. Beyond `sequence_lens` it
    returns zeros, and its backward direction starts at each clip's last frame, as with packed
    sequences.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden = lstm.hidden_size
        self.layers = lstm.num_layers
        tensors_of_kind = {
            "input": ["weight_ih"],
            "hidden": ["weight_hh"],
            "bias": ["bias_ih", "bias_hh"],
        }
        for layer in range(lstm.num_layers):
            for kind, names in tensors_of_kind.items():
                forward = _tensor(lstm, names, f"_l{layer}")
                backward = _tensor(lstm, names, f"_l{layer}_reverse")
                self.register_buffer(f"{kind}_{layer}", torch.stack([forward, backward]))

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, 2 * hidden), padding zero."""
        batch, frames, _ = sequence.shape
        lengths = mask.sum(dim=1).to(torch.int32)
        sequence = sequence.transpose(0, 1)
        for layer in range(self.layers):
            weights = [getattr(self, f"{kind}_{layer}") for kind in ("input", "hidden", "bias")]
            output = torch.onnx.ops.symbolic(
                "LSTM",
                (sequence, *weights, lengths),
                {"hidden_size": self.hidden, "direction": "bidirectional"},
                dtype=sequence.dtype,
                shape=(frames, 2, batch, self.hidden),
            )
            sequence = output.transpose(1, 2).flatten(2)
        return sequence.transpose(0, 1)


def _tensor(lstm: nn.LSTM, names: Sequence[str], suffix: str) -> torch.Tensor:
    """Tensors of one direction, one below the other, with their gates as ONNX orders them."""
    return torch.cat([_in_order_of_onnx(getattr(lstm, name + suffix)) for name in names])


def _in_order_of_onnx(rows: torch.Tensor) -> torch.Tensor:
    into, forget, cell, out = rows.chunk(4)
    return torch.cat([into, out, forget, cell])

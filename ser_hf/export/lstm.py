"""Replaces `BiLSTM`, which the exporter cannot follow, by the LSTM operator of ONNX."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from ..models.layers import BiLSTM
from ..utils.errors import UserError


def replace_lstms(model: PreTrainedModel) -> None:
    """Replace each `BiLSTM` of a model by the LSTM operator of ONNX.

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
    """`BiLSTM` as the LSTM operator of ONNX, for export only: in torch this module returns zeros.

    The operator expects the axis of frames first, the gates in the order input, output, forget,
    cell (torch: input, forget, cell, output), and the weights of both directions in one tensor. It
    returns zeros beyond `sequence_lens`. Its backward direction starts at the last frame of each
    clip, as with packed sequences.
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
        """Apply all layers: (batch, frames, inputs) -> (batch, frames, 2 * hidden).

        The output is zero in the padding.
        """
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
    """Join the tensors of one direction along their rows, with the gates in the order of ONNX."""
    return torch.cat([_reorder_gates(getattr(lstm, name + suffix)) for name in names])


def _reorder_gates(rows: torch.Tensor) -> torch.Tensor:
    into, forget, cell, out = rows.chunk(4)
    return torch.cat([into, out, forget, cell])

"""Networks as ONNX files: waveform in, logits out, for any batch and any length.

One exporter for all of them, torch's own (`torch.onnx.export` by way of `torch.export`). The older one, which traces
(``dynamo=False``, deprecated), knows no discrete Fourier transform, cuts frames out of clips of one fixed length only,
and turns every computation with a length into a constant. The new one does all of that but two things, seen to here:

- It cannot follow packed sequences, and would unroll an `nn.LSTM` over one fixed number of frames. ONNX's own LSTM
  operator takes the true lengths, so a `BiLSTM` is put in those words.
- Its optimiser drops the addition of anything below 1e-8 (onnxscript matches constants up to that), which the floor
  under the logarithm of a power is: a silent frame would become minus infinity. So only constants are folded, no
  patterns rewritten; runtimes optimise for themselves.
"""

import contextlib
import copy
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from .errors import UserError
from .models.masked_layers import BiLSTM

# The oldest operator set that the exporter writes without converting.
OPSET = 18


def export_onnx(model: PreTrainedModel, path: Path | str) -> Path:
    """Writes `model` to `path`, in evaluation mode and float32; the model itself stays as it is.

    The file has inputs ``input_values``, float32 (batch, samples), and ``attention_mask``, int64 (batch, samples), 1
    where the clip is; its output is ``logits``, float32 (batch, labels). Its metadata has ``id2label``, as JSON, and
    ``sampling_rate`` in Hz where the configuration tells it. The file is there whole or not at all; protobuf lets it
    grow to 2 GB.

    Raises:
        UserError: if onnx or onnxscript is missing, the network is recurrent in a way that cannot be exported, or the
            file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'export to ONNX needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')
    # Only now: it may be absent, and takes a second.
    from onnxscript import optimizer

    network = _Logits(_exportable(model))
    clips = torch.zeros(2, getattr(model.config, "sampling_rate", 16000))
    axes = {0: "batch", 1: "samples"}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            kwargs={"input_values": clips, "attention_mask": torch.ones_like(clips, dtype=torch.long)},
            output_names=["logits"],
            dynamic_shapes={"input_values": axes, "attention_mask": axes},
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    program.model.metadata_props.update(_metadata(model))
    return _write(program, Path(path))


def _exportable(model: PreTrainedModel) -> nn.Module:
    """A copy on the CPU in float32, with ONNX's operator where the network packs sequences."""
    model = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, BiLSTM):
            model.set_submodule(name, _OnnxLSTM(module.lstm))
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            raise UserError(
                f"{type(model).__name__} cannot be exported to ONNX: {name} is a bare {type(module).__name__}, whose "
                f"number of frames would be fixed; of recurrent layers only BiLSTM can be exported"
            )
    return model


class _Logits(nn.Module):
    """The network as the file knows it: two inputs, one output."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_values=input_values, attention_mask=attention_mask).logits


class _OnnxLSTM(nn.Module):
    """`BiLSTM` in terms of ONNX's LSTM operator, for export only: elsewhere it answers zeros.

    The operator wants frames first, its gates in the order input, output, forget, cell (torch: input, forget, cell,
    output), and both directions in one tensor. Beyond `sequence_lens` it answers zero, and its backward direction
    starts at each clip's own last frame, just as packed sequences do.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden, self.layers = lstm.hidden_size, lstm.num_layers
        for layer in range(lstm.num_layers):
            for kind, parts in (
                ("input", ("weight_ih",)),
                ("hidden", ("weight_hh",)),
                ("bias", ("bias_ih", "bias_hh")),
            ):
                directions = (f"_l{layer}", f"_l{layer}_reverse")
                rows = [torch.cat([_gates(getattr(lstm, part + way)) for part in parts]) for way in directions]
                self.register_buffer(f"{kind}_{layer}", torch.stack(rows))

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


def _gates(rows: torch.Tensor) -> torch.Tensor:
    into, forget, cell, out = rows.chunk(4)
    return torch.cat([into, out, forget, cell])


def _metadata(model: PreTrainedModel) -> dict[str, str]:
    labels = {str(number): label for number, label in sorted(model.config.id2label.items())}
    told = {"id2label": json.dumps(labels, ensure_ascii=False)}
    rate = getattr(model.config, "sampling_rate", None)
    return told if rate is None else told | {"sampling_rate": str(rate)}


def _write(program: torch.onnx.ONNXProgram, path: Path) -> Path:
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        program.save(partial, external_data=False)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither warnings nor log lines of the exporter, which speak of its own future and of absent packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

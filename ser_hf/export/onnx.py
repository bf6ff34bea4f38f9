"""Networks as ONNX files: waveform in, logits and probabilities out, for any batch and any length.

One exporter for all of them, torch's own (`torch.onnx.export` by way of `torch.export`). The older one, which traces
(``dynamo=False``, deprecated), knows no discrete Fourier transform, cuts frames out of clips of one fixed length only,
and turns every computation with a length into a constant. The new one does all of that but two things, seen to here:

- It cannot follow packed sequences, and would unroll an `nn.LSTM` over one fixed number of frames. ONNX's own LSTM
  operator takes the true lengths, so a `BiLSTM` is put in those words.
- Its optimiser drops the addition of anything below 1e-8 (onnxscript matches constants up to that), which the floor
  under the logarithm of a power is: a silent frame would become minus infinity. So only constants are folded, no
  patterns rewritten; runtimes optimise for themselves.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor

from ..errors import UserError
from ..models.layers import BiLSTM
from .graph import facts_of, graph_of
from .tracing import DYNAMIC, example_of, quiet, told_of

# The oldest operator set that the exporter writes without converting.
OPSET = 18
LARGEST = 2**31  # bytes of a protobuf
# Of which modules a node stands for a part; what is else said of nodes are lines of code, with their files' paths.
SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `model` to `path`, in evaluation mode and float32; the model itself stays as it is.

    The file has inputs ``input_values``, float32 (batch, samples), and ``attention_mask``, int64 (batch, samples), 1
    where the clip is; its outputs are ``logits`` and ``probabilities``, float32 (batch, labels). Its metadata has
    ``id2label``, as JSON, ``sampling_rate`` in Hz, ``opset``, and what else `ser_hf.export.graph.facts_of` tells, as
    JSON each. The file is there whole or not at all; protobuf lets it grow to 2 GB.

    Args:
        extractor: the one that the model is published with: what it does to waveforms, it does in the file then. None
            has the file give waveforms to the network as they are.
        facts: more to be told in the metadata.

    Raises:
        UserError: if onnx or onnxscript is missing, the network or its extractor cannot be exported, or the file
            cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'export to ONNX needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * 4
    if size >= LARGEST:
        raise UserError(f"{type(model).__name__} takes {size / 1e9:.1f} GB, and an ONNX file holds 2; export to torch")
    # Only now: it may be absent, and takes a second.
    from onnxscript import optimizer

    graph = graph_of(model, extractor)
    told = facts_of(graph) | {"opset": OPSET} | dict(facts or {})
    _put_in_words_of_onnx(graph.model)
    with quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph,
                kwargs=example_of(told["sampling_rate"]),
                output_names=["logits", "probabilities"],
                dynamic_shapes=DYNAMIC,
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(f"{type(model).__name__} cannot be exported to ONNX: {told_of(error)}") from error
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    for node in program.model.graph.all_nodes():
        kept = {SCOPES: node.metadata_props[SCOPES]} if SCOPES in node.metadata_props else {}
        node.metadata_props.clear()
        node.metadata_props.update(kept)
    program.model.metadata_props.update(_metadata(told))
    return _write(program, Path(path))


def _put_in_words_of_onnx(model: PreTrainedModel) -> None:
    """ONNX's operator where the network packs sequences, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BiLSTM):
            model.set_submodule(name, _OnnxLSTM(module.lstm))
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            raise UserError(
                f"{type(model).__name__} cannot be exported to ONNX: {name} is a bare {type(module).__name__}, whose "
                f"number of frames would be fixed; of recurrent layers only BiLSTM can be exported"
            )


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


def _metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    """Text of each fact: JSON, but for words, which stand as they are."""
    kept = {key: value for key, value in facts.items() if value is not None}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in kept.items()
    }


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

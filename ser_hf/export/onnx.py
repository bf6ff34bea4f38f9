"""Export to ONNX: waveform in, logits and probabilities out, for any batch and length; and int8 weights.

`torch.onnx.export` (``dynamo=True``) exports every network here except for two things:

- It cannot follow packed sequences, and would unroll an `nn.LSTM` over a fixed number of frames. ONNX's own LSTM
  operator takes true lengths, so it replaces `BiLSTM`.
- Its optimizer removes the addition of constants below 1e-8 (onnxscript compares constants with that tolerance), such
  as the floor below the logarithm of a power: a silent frame would become minus infinity. So constants are folded and
  no patterns are rewritten; runtimes optimize the graph themselves.
"""

import contextlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..models.layers import BiLSTM
from ..training.encoders import ENCODERS, encoder_config, longest_clip, mask_valid
from ..training.factory import TEMPERATURE_KEY
from ..utils.environment import environment
from ..utils.errors import UserError
from .graph import WaveformClassifier, gives_mask

OPSET = 18  # the oldest one that the exporter writes without conversion
LARGEST = 2**31  # bytes of a protobuf
# The modules that a node belongs to. The exporter's other metadata of nodes contains lines of code and local paths.
_SCOPES = "pkg.torch.onnx.name_scopes"
# Modules of `WaveformClassifier` that compute features and stay float32 in an int8 file.
_FEATURES = ("prepare", "extract", "model.front_end")


def export_onnx(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `model` in float32 and evaluation mode; the model itself does not change.

    The inputs of the file are ``input_values``, float32 (batch, samples), and ``attention_mask``, int64 (batch,
    samples), 1 for samples of the clip; its outputs are ``logits`` and ``probabilities``, float32 (batch, labels). Its
    metadata is that of `metadata_of`. An incomplete file is never left at `path`.

    Args:
        extractor: the feature extractor that the model is published with, which becomes a part of the graph. None
            passes waveforms on to the network as they are.
        facts: additional metadata.

    Raises:
        UserError: if onnx or onnxscript is missing, the network or its extractor cannot be exported, or the file
            cannot be written.
    """
    require("onnx", "onnxscript")
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * 4
    if size >= LARGEST:
        raise UserError(f"{type(model).__name__} takes {size / 1e9:.1f} GB, and an ONNX file holds at most 2 GB")
    # Imported late: it is optional, and takes a second.
    from onnxscript import optimizer

    graph = WaveformClassifier(model, extractor)
    metadata = metadata_of(graph) | dict(facts or {})
    _replace_lstms(graph.model)
    clips = torch.zeros(2, graph.sampling_rate)
    axes = {0: "batch", 1: "samples"}
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph,
                kwargs={"input_values": clips, "attention_mask": torch.ones_like(clips, dtype=torch.long)},
                output_names=["logits", "probabilities"],
                dynamic_shapes={"input_values": axes, "attention_mask": axes},
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(f"{type(model).__name__} cannot be exported to ONNX: {_cause_of(error)}") from error
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    for node in program.model.graph.all_nodes():
        scopes = node.metadata_props.get(_SCOPES)
        node.metadata_props.clear()
        if scopes is not None:
            node.metadata_props[_SCOPES] = scopes
    for key, value in metadata.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            program.model.metadata_props[key] = text
    return _write(program, Path(path))


def require(*packages: str) -> None:
    """Raises a `UserError` that names the packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'export to ONNX needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')


def metadata_of(graph: WaveformClassifier) -> dict[str, Any]:
    """What a file says about itself: labels, sampling rate, how to batch clips, and what its graph contains."""
    config, extractor, steps = graph.model.config, graph.extractor, graph.preparation
    in_graph = []
    if steps.trim_silence is not None:
        in_graph.append(f"silence trimmed off at {steps.trim_silence:g} dB")
    if steps.level is not None:
        in_graph.append(f"{steps.level} set to {steps.target_level:g} {'dBFS' if steps.level == 'peak' else 'LUFS'}")
    if steps.fixed_duration is not None:
        in_graph.append(f"cut or padded to {steps.fixed_duration:g} s")
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        in_graph += ["zero mean and unit variance of each clip"] if extractor.do_normalize else []
    elif extractor is not None:
        in_graph.append(f"the features of {type(extractor).__name__}")
    encoder = encoder_config(config).model_type in ENCODERS
    longest = longest_clip(config, extractor) if encoder and extractor is not None else None
    return {
        "id2label": {str(number): config.id2label[number] for number in sorted(config.id2label)},
        "sampling_rate": graph.sampling_rate,
        "multi_label": graph.multi_label,
        "model_type": config.model_type,
        "in_graph": in_graph,
        "preparation": [],  # what a user has to do to a waveform first
        "padding_safe": gives_mask(extractor) and (not encoder or mask_valid(config)),
        "longest_seconds": None if longest is None else longest / graph.sampling_rate,
        "calibration_temperature": getattr(config, TEMPERATURE_KEY, None),
        "ser_hf": environment()["versions"]["ser_hf"],
        "opset": OPSET,
    }


def _replace_lstms(model: PreTrainedModel) -> None:
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
    """`BiLSTM` as ONNX's LSTM operator, for export only: in torch it returns zeros.

    The operator expects frames first, its gates in the order input, output, forget, cell (torch: input, forget, cell,
    output), and both directions in one tensor. Beyond `sequence_lens` it returns zeros, and its backward direction
    starts at each clip's last frame, as with packed sequences.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden, self.layers = lstm.hidden_size, lstm.num_layers
        parts = {"input": ("weight_ih",), "hidden": ("weight_hh",), "bias": ("bias_ih", "bias_hh")}
        for layer in range(lstm.num_layers):
            for kind, names in parts.items():
                directions = (f"_l{layer}", f"_l{layer}_reverse")
                rows = [torch.cat([_gates(getattr(lstm, name + way)) for name in names]) for way in directions]
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
    """Hides the exporter's warnings and log lines, which are about its own future and optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _cause_of(error: BaseException) -> str:
    """The first line of the innermost cause; the exporter's own message runs over pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def quantize(source: Path, path: Path) -> None:
    """Writes a copy of an exported file with int8 weights (`onnxruntime.quantization.quantize_dynamic`).

    Weights become integers; activations are quantized at each call, by the range of the batch, so that a clip's logits
    would depend on the other clips: `padding_safe` is false in the metadata, and clips are processed one at a time.

    Linear and recurrent layers are quantized, and convolutions in networks without a pretrained encoder. Feature
    extraction stays float32: quiet bands of a filter bank lie 60 dB and more below the loud ones, and 8 bits hold 48.

    Raises:
        UserError: if onnx or onnxruntime is missing.
    """
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    metadata = {item.key: item.value for item in model.metadata_props}
    excluded = [node.name for node in model.graph.node if _computes_features(node)]
    # Integer kernels of convolutions need unsigned weights with one range a layer; others lose less with a range for
    # each channel. A Gemm becomes a MatMul.
    settings = {"op_types_to_quantize": ["MatMul", "LSTM"], "weight_type": QuantType.QInt8, "per_channel": True}
    if metadata["model_type"].startswith("ser_") and metadata["model_type"] != "ser_encoder":
        settings = {"op_types_to_quantize": ["MatMul", "LSTM", "Conv"], "weight_type": QuantType.QUInt8}
    # It contains the shapes of weights, which change where a Gemm becomes a MatMul; they are inferred again.
    del model.graph.value_info[:]
    level, handlers = logging.root.level, list(logging.root.handlers)
    logging.root.setLevel(logging.ERROR)  # it recommends preprocessing that the exporter has done already
    try:
        quantize_dynamic(model, path, nodes_to_exclude=excluded, **settings)
    finally:
        logging.root.setLevel(level)
        logging.root.handlers[:] = handlers  # it logs by the root logger, which adds a handler
    quantized = onnx.load(path)
    del quantized.metadata_props[:]
    metadata |= {"padding_safe": "false", "quantized": "int8 weights, dynamic"}
    onnx.helper.set_model_props(quantized, metadata)
    onnx.save(quantized, path)


def _computes_features(node: Any) -> bool:
    scopes = next((item.value for item in node.metadata_props if item.key == _SCOPES), "")
    return any(f"'{name}'" in scopes or f"'{name}." in scopes for name in _FEATURES)

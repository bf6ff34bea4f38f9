"""The weights of an ONNX file as 8 bit integers: a smaller file, whose answers are a little other.

Dynamic quantisation (`onnxruntime.quantization.quantize_dynamic`): weights are integers for good, activations become
so at every call, by their own range. Only what the network has learnt is quantised. What comes before it, filter banks
above all, is left alone: there the quiet bands that tell one emotion from another lie 60 dB and more below the loud
ones, and eight bits hold 48. So is the stem of a pretrained encoder, few weights that hear the waveform itself.

One range is taken of all activations of a batch: a clip's answer depends on its neighbours, by some thousandths of a
probability. So clips are asked one at a time, and `padding_safe` is false in the file.
"""

import importlib.util
import logging
import os
import tempfile
from pathlib import Path

from ..errors import UserError
from .onnx import SCOPES

# Linear and recurrent layers; of a Gemm a MatMul is made.
_LINEAR = ["MatMul", "LSTM"]
# Modules that compute features, by the first part of their name in `ser_hf.export.graph.WaveformClassifier`.
_FIXED = ("prepare", "extract", "model.front_end")


def quantize(source: Path | str, path: Path | str) -> Path:
    """Writes the file at `source` to `path` with int8 weights, of which it tells in its metadata (``quantized``).

    They are those of linear and recurrent layers, and of networks without a pretrained encoder those of convolutions.

    Raises:
        UserError: if onnx or onnxruntime is missing, or the file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'--int8: needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, path = Path(source), Path(path)
    model = onnx.load(source)
    kept = [node.name for node in model.graph.node if _computes_features(node)]
    metadata = list(model.metadata_props)
    kind = next(item.value for item in metadata if item.key == "model_type")
    own = kind.startswith("ser_") and kind != "ser_encoder"
    # Integer kernels of convolutions take unsigned weights, of one range a layer; others lose less by one a channel.
    settings = {"op_types_to_quantize": _LINEAR, "weight_type": QuantType.QInt8, "per_channel": True}
    if own:
        settings = {"op_types_to_quantize": [*_LINEAR, "Conv"], "weight_type": QuantType.QUInt8}
    # Among them are shapes of weights, which are turned round where a Gemm becomes a MatMul; all are inferred again.
    del model.graph.value_info[:]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="ser_hf-") as folder:
        partial = Path(folder) / path.name
        level, handlers = logging.root.level, list(logging.root.handlers)
        logging.root.setLevel(logging.ERROR)  # it recommends a step of preparation that the exporter has done
        try:
            quantize_dynamic(model, partial, nodes_to_exclude=kept, **settings)
        finally:
            logging.root.setLevel(level)
            logging.root.handlers[:] = handlers  # it has spoken by way of the root, which gives that one
        quantized = onnx.load(partial)
        del quantized.metadata_props[:]
        quantized.metadata_props.extend(item for item in metadata if item.key != "padding_safe")
        quantized.metadata_props.add(key="padding_safe", value="false")
        quantized.metadata_props.add(key="quantized", value="int8 weights, dynamic")
        try:
            onnx.save(quantized, partial)
            os.replace(partial, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _computes_features(node) -> bool:
    """Whether a node stands for a part of the graph that has learnt nothing."""
    scopes = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    return any(f"'{name}'" in scopes or f"'{name}." in scopes for name in _FIXED)

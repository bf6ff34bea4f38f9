"""int8 weights for exported files."""

import contextlib
import dataclasses
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Modules of `WaveformClassifier` that compute features and stay float32.
_FEATURES = ("prepare", "extract", "model.front_end")


def quantize(source: Path, path: Path) -> None:
    """Write a copy of an exported file with int8 weights.

    Weights become integers. Activations are quantized at each call by the range of the whole batch,
    so the logits of a clip would depend on the other clips. Therefore `padding_safe` is false in
    the metadata, and clips are processed one at a time.

    Linear and recurrent layers are quantized, and also convolutions in networks without a
    pretrained encoder. Feature extraction stays float32: quiet bands of a filter bank are 60 dB and
    more below the loud bands, but 8 bits have a range of 48 dB.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    metadata = {item.key: item.value for item in model.metadata_props}
    excluded = feature_nodes(model) + _convolutions_with_computed_weights(model)
    settings = _settings(metadata["model_type"])
    # This list contains the shapes of weights. They change where a Gemm becomes a MatMul, so they
    # are deleted here and inferred again.
    del model.graph.value_info[:]
    # The quantizer recommends preprocessing that the exporter has done already.
    with quiet_exporter():
        quantize_dynamic(
            model,
            path,
            nodes_to_exclude=excluded,
            op_types_to_quantize=settings.operators,
            weight_type=QuantType.QInt8 if settings.signed else QuantType.QUInt8,
            per_channel=settings.per_channel,
        )

    quantized = onnx.load(path)
    metadata |= {"padding_safe": "false", "quantized": "int8 weights, dynamic"}
    onnx.helper.set_model_props(quantized, metadata)
    onnx.save(quantized, path)


def feature_nodes(model: Any) -> list[str]:
    """Return the names of the nodes of an `onnx.ModelProto` that compute features."""
    nodes = []
    for node in model.graph.node:
        scope = " ".join(item.value for item in node.metadata_props)
        if any(re.search(rf"'{name}['.]", scope) for name in _FEATURES):
            nodes.append(node.name)
    return nodes


def _convolutions_with_computed_weights(model: Any) -> list[str]:
    """Return the convolutions with computed weights, which the quantizer refuses."""
    weights = {weight.name for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in weights
    ]


@dataclasses.dataclass(frozen=True)
class _Settings:
    """The settings of the quantizer.

    Args:
        operators: the types of nodes whose weights become integers.
        signed: whether the integers are signed.
        per_channel: whether each channel of a weight has its own range, not the whole layer one.
    """

    operators: list[str]
    signed: bool
    per_channel: bool


def _settings(model_type: str) -> _Settings:
    """Return the settings for a kind of model, which is `model_type` of its configuration.

    The integer kernels of convolutions need unsigned weights with one range per layer. Other layers
    are more accurate with a separate range for each channel.
    """
    # The quantizer turns each Gemm into a MatMul, so MatMul covers linear layers.
    if model_type.startswith("ser_") and model_type != "ser_encoder":
        return _Settings(operators=["MatMul", "LSTM", "Conv"], signed=False, per_channel=False)
    return _Settings(operators=["MatMul", "LSTM"], signed=True, per_channel=True)


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hide warnings and log lines of the exporter and the quantizer.

    These messages announce changes of the libraries, or recommend optional packages.
    """
    level = logging.root.manager.disable
    handlers = list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
        # the quantizer uses the root logger, and logging adds a handler to it
        logging.root.handlers[:] = handlers

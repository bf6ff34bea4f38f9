"""Which weights become integers, and what int8 files say of themselves."""

import logging
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ser_hf.export.quantize import quantize, quiet_exporter

INPUTS = 8
SCOPES = "pkg.torch.onnx.name_scopes"


def node(operator, inputs, output, scopes):
    """A node that belongs to a module of the network."""
    made_by_exporter = helper.make_node(operator, inputs, [output], name=output)
    made_by_exporter.metadata_props.add(key=SCOPES, value=scopes)
    return made_by_exporter


@pytest.fixture
def written(tmp_path):
    """A function that writes a file: a matrix of the front end, then one of the classifier."""

    def write(model_type):
        generator = np.random.default_rng(0)
        weights = []
        for name in ("filters", "classifier"):
            values = generator.standard_normal((INPUTS, INPUTS)).astype(np.float32)
            weights.append(numpy_helper.from_array(values, name))
        graph = helper.make_graph(
            [
                node("MatMul", ["clip", "filters"], "features", "['', 'model.front_end.features']"),
                node("MatMul", ["features", "classifier"], "logits", "['', 'model.classifier']"),
            ],
            "network",
            [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ["batch", INPUTS])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", INPUTS])],
            weights,
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        metadata = {"model_type": model_type, "padding_safe": "true", "ser_hf": "1"}
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / "a.onnx")
        quantize(tmp_path / "a.onnx", tmp_path / "small.onnx")
        return onnx.load(tmp_path / "small.onnx")

    return write


@pytest.mark.parametrize(
    ("model_type", "kind", "ranges"),
    [
        ("ser_crnn", TensorProto.UINT8, 1),
        ("ser_encoder", TensorProto.INT8, INPUTS),
        ("wav2vec2", TensorProto.INT8, INPUTS),
    ],
)
def test_the_classifier_becomes_integers_and_the_front_end_does_not(
    written, model_type, kind, ranges
):
    weights = {weight.name: weight for weight in written(model_type).graph.initializer}
    assert weights["filters"].data_type == TensorProto.FLOAT
    assert weights["classifier_quantized"].data_type == kind
    assert numpy_helper.to_array(weights["classifier_scale"]).size == ranges


def test_the_metadata_say_that_clips_are_processed_one_at_a_time(written):
    metadata = {item.key: item.value for item in written("ser_crnn").metadata_props}
    assert metadata["padding_safe"] == "false"
    assert metadata["quantized"].startswith("int8 weights")
    assert metadata["model_type"] == "ser_crnn"
    assert metadata["ser_hf"] == "1"


def test_the_exporter_is_quiet_and_logging_is_as_before():
    level = logging.root.manager.disable
    handlers = list(logging.root.handlers)
    with warnings.catch_warnings(record=True) as shown, quiet_exporter():
        warnings.warn("about the future", FutureWarning, stacklevel=1)
        logging.root.addHandler(logging.NullHandler())
        assert not logging.root.isEnabledFor(logging.WARNING)
        assert logging.root.isEnabledFor(logging.ERROR)
    assert shown == []
    assert logging.root.manager.disable == level
    assert logging.root.handlers == handlers

"""Exported files of strangers: metadata of any content is read, or refused in one line."""

import json

import numpy as np
import pytest
import torch

from ser_hf.inference.load import load_classifier
from ser_hf.utils.errors import UserError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

METADATA = {
    "id2label": json.dumps({"0": "angry", "1": "sad"}),
    "sampling_rate": "16000",
    "window_seconds": "null",
    "revision": json.dumps("sha256:0123"),
}


def write(path, metadata=METADATA, inputs=("input_values", "attention_mask"), classes=2):
    """A file whose logits are the mean of the waveform, times 1, 2, ..."""
    waveform, mask = inputs
    helper = onnx.helper
    weights = helper.make_tensor(
        "weights", onnx.TensorProto.FLOAT, [1, classes], np.arange(1, classes + 1, dtype=np.float32)
    )
    nodes = [
        helper.make_node("ReduceMean", [waveform, "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        nodes,
        "mean",
        [
            helper.make_tensor_value_info(waveform, onnx.TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info(mask, onnx.TensorProto.INT64, ["batch", "samples"]),
        ],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", classes])],
        [weights, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return str(path)


def test_a_file_is_loaded(tmp_path):
    classifier = load_classifier(write(tmp_path / "a.onnx"))
    assert classifier.revision == "sha256:0123"
    assert classifier.evaluation_window is None
    waveforms = torch.full((2, 99), 0.5)
    logits = classifier.model(waveforms, torch.ones_like(waveforms)).logits
    torch.testing.assert_close(logits, torch.tensor([[0.5, 1.0]] * 2))


# The key that the message names, and its value in the metadata.
WRONG_METADATA = [
    ("id2label", "null"),
    ("id2label", "{}"),
    ("id2label", "[]"),
    ("id2label", "angry"),
    ("id2label", '{"0": null}'),
    ("id2label", '{"0": ["angry"]}'),
    ("id2label", "[" * 1000 + "]" * 1000),
    ("id2label", "[" * 100_000),
    ("id2label", json.dumps({str(number): "x" for number in range(99_999)})),
    ("window_seconds", "NaN"),
    ("window_seconds", "Infinity"),
    ("window_seconds", "-1"),
    ("window_seconds", "ten"),
    ("window_seconds", '"10"'),
    ("window_seconds", "[10]"),
    ("sampling_rate", "null"),
    ("sampling_rate", "1e400"),
    ("sampling_rate", "16000.5"),
    ("sampling_rate", "1" * 5000),
    ("multi_label", "[]"),
    ("padding_safe", "{}"),
    ("target_ranges", '{"arousal": [1, NaN]}'),
    ("problem_type", "ranking"),
    ("revision", "[]"),
]


@pytest.mark.parametrize(("key", "text"), WRONG_METADATA, ids=range(len(WRONG_METADATA)))
def test_a_wrong_value_is_named(tmp_path, key, text):
    path = write(tmp_path / "a.onnx", METADATA | {key: text})
    with pytest.raises(UserError, match=rf"a\.onnx: .*{key}|a\.onnx: its labels have the numbers"):
        load_classifier(path)


def test_a_file_with_other_inputs_is_refused(tmp_path):
    path = write(tmp_path / "a.onnx", inputs=("waveform", "mask"))
    with pytest.raises(UserError, match=r"a\.onnx: not written by ser-hf export"):
        load_classifier(path)


def test_a_file_with_another_number_of_classes_is_refused(tmp_path):
    classifier = load_classifier(write(tmp_path / "a.onnx", classes=3))
    waveforms = torch.zeros(1, 99)
    with pytest.raises(UserError, match=r"a\.onnx: its logits have the shape \(1, 3\)"):
        classifier.model(waveforms, torch.ones_like(waveforms))

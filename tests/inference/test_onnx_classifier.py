"""Classifiers in ONNX files: a small graph with the metadata of an export."""

import importlib.util
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.close import assert_near

from ser_hf import UserError
from ser_hf.evaluation.tasks import DIMENSIONS
from ser_hf.inference.onnx_classifier import load_onnx

RATE = 16000
WEIGHTS = np.array([[1.0, -2.0]], dtype=np.float32)
METADATA = {
    "id2label": json.dumps({"0": "calm", "1": "sad"}),
    "sampling_rate": str(RATE),
    "padding_safe": "true",
    "revision": "sha256:0123",
    "window_seconds": "0.5",
}


@pytest.fixture
def written(tmp_path):
    """A function from metadata to a file, whose logits of a clip are its maximum plus the mean of
    the whole batch, times `WEIGHTS`.

    The mean stands for the range of activations that the clips of a batch share in quantized files.
    """

    def write(**metadata):
        samples_axis = numpy_helper.from_array(np.array([1], dtype=np.int64), "samples_axis")
        weights = numpy_helper.from_array(WEIGHTS, "weights")
        nodes = [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["input_values", "mask"], ["clips"]),
            helper.make_node("ReduceMean", ["clips"], ["mean"], keepdims=1),
            helper.make_node("ReduceMax", ["clips", "samples_axis"], ["largest"], keepdims=1),
            helper.make_node("Add", ["mean", "largest"], ["sum"]),
            helper.make_node("MatMul", ["sum", "weights"], ["logits"]),
        ]
        waveforms = ["batch", "samples"]
        graph = helper.make_graph(
            nodes,
            "network",
            [
                helper.make_tensor_value_info("input_values", TensorProto.FLOAT, waveforms),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT64, waveforms),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
            [samples_axis, weights],
        )
        nodes_opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[nodes_opset], ir_version=10)
        helper.set_model_props(model, metadata)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return write


def logits_of(classifier, *clips):
    lengths = torch.tensor([len(clip) for clip in clips])
    tensors = [torch.tensor(clip) for clip in clips]
    batch = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    mask = torch.arange(batch.shape[1]) < lengths[:, None]
    return classifier.model(input_values=batch, attention_mask=mask).logits


def test_the_metadata_are_the_properties_of_the_classifier(written, tmp_path):
    path = written(**METADATA)
    classifier = load_onnx(path)
    assert classifier.source == str(path)
    assert classifier.location == str(tmp_path)
    assert classifier.labels == ["calm", "sad"]
    assert classifier.extractor.sampling_rate == RATE
    assert classifier.revision == "sha256:0123"
    assert classifier.window() == RATE / 2
    assert classifier.padding_safe
    assert not classifier.encoder
    assert classifier.problem_type is None


@pytest.mark.parametrize("padding_safe", ["false", None])
def test_padding_is_safe_only_if_the_file_says_so(written, padding_safe):
    metadata = {key: value for key, value in METADATA.items() if key != "padding_safe"}
    if padding_safe is not None:
        metadata["padding_safe"] = padding_safe
    assert not load_onnx(written(**metadata)).padding_safe


def test_a_file_of_several_labels_or_of_dimensions_has_its_problem_type(written):
    several = load_onnx(written(**METADATA, multi_label="true"))
    assert several.problem_type == "multi_label_classification"
    ranges = json.dumps({"calm": [1, 5], "sad": [0, 1]})
    dimensions = load_onnx(written(**METADATA, problem_type="regression", target_ranges=ranges))
    assert dimensions.task is DIMENSIONS
    assert dimensions.ranges == {"calm": [1, 5], "sad": [0, 1]}


def test_the_clips_of_a_quantized_file_are_processed_one_at_a_time(written):
    clips = [[0.5, 0.25, 1.0], [0.25, 0.75]]
    plain = load_onnx(written(**METADATA))
    alone = torch.cat([logits_of(plain, clip) for clip in clips])
    assert not torch.allclose(logits_of(plain, *clips), alone)
    quantized = load_onnx(written(**METADATA, quantized="int8 weights, dynamic"))
    assert_near(logits_of(quantized, *clips), alone)
    assert logits_of(quantized, *clips).dtype == torch.float32


def test_a_file_that_the_export_did_not_write_is_refused(written):
    path = written(id2label=METADATA["id2label"])
    with pytest.raises(UserError, match=r"model\.onnx: not written by ser-hf export"):
        load_onnx(path)


def test_labels_without_a_number_each_are_refused(written):
    path = written(**METADATA | {"id2label": json.dumps({"0": "calm", "2": "sad"})})
    with pytest.raises(UserError, match=rf"^{path}: .*id2label"):
        load_onnx(path)


def test_a_file_that_onnxruntime_cannot_read_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    with pytest.raises(UserError, match=rf"^{path}: "):
        load_onnx(path)
    path.write_bytes(b"no protobuf")
    with pytest.raises(UserError, match=rf"^{path}: ") as error:
        load_onnx(path)
    assert "\n" not in str(error.value)


def test_a_missing_onnxruntime_is_named_with_its_extra(written, monkeypatch):
    path = written(**METADATA)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ser_hf\[onnx\]"):
        load_onnx(path)

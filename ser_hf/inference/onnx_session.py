"""Inference on an ONNX file of `ser-hf export`: the file as a classifier like any other, run by ONNX Runtime."""

import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from ..models.preparation import Preparation
from ..training.loading import first_line
from ..utils.errors import UserError
from .classifier import Classifier


class OnnxConfig(PreTrainedConfig):
    """Labels of the file and whether it is a multi-label classifier."""

    model_type = "onnx"


class OnnxSession(nn.Module):
    """An exported file that is called like a model of transformers. `facts` is the metadata of the file, decoded from
    JSON (`ser_hf.export.onnx.metadata_of`)."""

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError(f'{path}: an ONNX file needs onnxruntime: pip install "ser_hf[onnx]"')
        import onnxruntime

        if not Path(path).is_file():
            raise UserError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        # ONNX Runtime does not read this variable; 0 is its own default.
        threads = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes are not public
            raise UserError(f"{path}: not an ONNX file that onnxruntime can run: {first_line(error)}") from None
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.facts = {key: _decoded(text) for key, text in metadata.items()}
        if not {"id2label", "sampling_rate"} <= set(self.facts):
            raise UserError(f"{path}: written by another exporter than ser-hf export; export the model with that")
        self.device = torch.device("cpu")
        names = {int(number): name for number, name in self.facts["id2label"].items()}
        problem = "multi_label_classification" if self.facts.get("multi_label") else None
        self.config = OnnxConfig(id2label=names, problem_type=problem)

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Logits, float32 (batch, labels), of waveforms, float32 (batch, samples), under their mask."""
        if "quantized" in self.facts and len(input_values) > 1:
            # int8 activations share one range per batch: a clip's logits would depend on the other clips.
            clips = zip(input_values, attention_mask, strict=True)
            logits = [self._run(clip[None, : mask.sum()], mask[None, : mask.sum()]) for clip, mask in clips]
            return SimpleNamespace(logits=torch.cat(logits))
        return SimpleNamespace(logits=self._run(input_values, attention_mask))

    def _run(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        inputs = {"input_values": input_values.numpy(), "attention_mask": attention_mask.long().numpy()}
        inputs = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
        return torch.from_numpy(self.session.run(["logits"], inputs)[0])


class OnnxClassifier(Classifier):
    """A classifier in an exported file, which contains its preparation and feature extractor as well."""

    @property
    def padding_safe(self) -> bool:
        return bool(self.model.facts.get("padding_safe"))

    @property
    def encoder(self) -> bool:
        return False


def load_onnx(path: str | os.PathLike) -> OnnxClassifier:
    """The classifier in a file that `ser_hf.export` wrote. Raises a `UserError` if it is no such file."""
    session = OnnxSession(path)
    rate, facts = session.facts["sampling_rate"], session.facts
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=False, return_attention_mask=True)
    source = facts.get("revision"), facts.get("window_seconds"), str(Path(path).parent)
    return OnnxClassifier(os.fspath(path), session.eval(), extractor, Preparation(), *source)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a plain string
        return text

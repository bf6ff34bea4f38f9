"""Classifiers in ONNX files that `ser_hf.export` wrote."""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from ..loading.files import first_line
from ..models.configuration import (
    CLIP_SECONDS_KEY,
    LABEL_THRESHOLD_KEY,
    RANGES_KEY,
    UNKNOWN_KEY,
)
from ..models.preparation import Preparation
from ..models.target_heads import DIMENSIONS_KEY, dimension_names
from ..utils.errors import UserError
from .classifier import Classifier
from .model_settings import OnnxSettings, check_settings

_MOST_CHARACTERS = 2**20  # of one value in the metadata
_INPUTS = {"input_values", "attention_mask"}


class OnnxConfig(PreTrainedConfig):
    """The labels of the file, and whether the model is a multi-label classifier."""

    model_type = "onnx"


class OnnxModel(nn.Module):
    """An exported file, called like a model of transformers.

    `settings` has the metadata of the file.

    Raises:
        UserError: if onnxruntime is missing, or `ser_hf.export` did not write the file.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self.session = _session(path)
        self.path = str(path)
        inputs = {value.name for value in self.session.get_inputs()}
        outputs = {value.name for value in self.session.get_outputs()}
        if inputs != _INPUTS or "logits" not in outputs:
            raise UserError(
                f"{path}: not written by ser-hf export, which has the inputs "
                f"{' and '.join(sorted(_INPUTS))} and the output logits"
            )
        self.settings = _settings(self.session.get_modelmeta().custom_metadata_map, path)
        self.device = torch.device("cpu")
        problem_type = self.settings.problem_type
        if self.settings.multi_label:
            problem_type = "multi_label_classification"
        self.config = OnnxConfig(
            id2label=self.settings.id2label,
            problem_type=problem_type,
            **{
                RANGES_KEY: self.settings.target_ranges,
                UNKNOWN_KEY: self.settings.unknown_threshold,
                LABEL_THRESHOLD_KEY: self.settings.label_threshold,
                DIMENSIONS_KEY: self.settings.dimension_names,
                CLIP_SECONDS_KEY: self.settings.clip_seconds,
            },
        )

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Compute logits, float32 (batch, labels).

        Args:
            input_values: waveforms, float32 (batch, samples).
            attention_mask: (batch, samples), 1 for samples of the clip and 0 for padding.
        """
        if self.settings.quantized is None or len(input_values) == 1:
            return self._run(input_values, attention_mask)

        # A quantized file computes one range of activations per batch, so the logits of a clip
        # would depend on the other clips. Its clips are processed one at a time.
        outputs = []
        for values, mask in zip(input_values, attention_mask, strict=True):
            length = mask.sum()
            outputs.append(self._run(values[None, :length], mask[None, :length]))
        ratings = None
        if self.dimensions:
            ratings = torch.cat([output.ratings for output in outputs])
        return SimpleNamespace(
            logits=torch.cat([output.logits for output in outputs]), ratings=ratings
        )

    @property
    def dimensions(self) -> list[str]:
        """The dimensions that the file predicts beside its labels."""
        return dimension_names(self.config)

    def _run(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        inputs = {
            "input_values": np.ascontiguousarray(input_values.numpy()),
            "attention_mask": np.ascontiguousarray(attention_mask.long().numpy()),
        }
        try:
            names = ["logits", "values"] if self.dimensions else ["logits"]
            logits, *values = self.session.run(names, inputs)
        except Exception as error:  # its exception classes are not public
            raise UserError(f"{self.path}: cannot be run: {first_line(error)}") from None
        expected = (len(input_values), len(self.settings.id2label))
        if np.shape(logits) != expected or logits.dtype != np.float32:
            raise UserError(
                f"{self.path}: its logits have the shape {np.shape(logits)}, expected {expected} "
                "as in its id2label; export it again"
            )
        ratings = None
        if values:
            ratings = from_scale(torch.from_numpy(values[0]), self.config)
        return SimpleNamespace(logits=torch.from_numpy(logits), ratings=ratings)


def from_scale(values: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Convert ratings (clips, dimensions) from their scale to values from 0 to 1."""
    ranges = getattr(config, RANGES_KEY, None) or {}
    bounds = torch.tensor([ranges.get(name, (0.0, 1.0)) for name in dimension_names(config)])
    return (values - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0])


class OnnxClassifier(Classifier):
    """A classifier in an exported file, which also contains preparation and feature extractor."""

    @property
    def padding_safe(self) -> bool:
        return bool(self.model.settings.padding_safe)

    @property
    def encoder(self) -> bool:
        return False

    def window(self, seconds: float | None = None, prepared: bool = True) -> int | None:
        """The number of samples of the longest window, at most what the file does not cut off."""
        limits = [super().window(seconds, prepared), self.model.settings.longest_samples]
        return min((samples for samples in limits if samples), default=None)


def load_onnx(path: str | os.PathLike) -> OnnxClassifier:
    """Load the classifier in an exported file.

    Raises:
        UserError: if `ser_hf.export` did not write the file.
    """
    model = OnnxModel(path)
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=model.settings.sampling_rate,
        do_normalize=False,
        return_attention_mask=True,
    )
    return OnnxClassifier(
        source=os.fspath(path),
        model=model.eval(),
        extractor=extractor,
        preparation=Preparation(),
        revision=model.settings.revision,
        evaluation_window=model.settings.window_seconds,
        location=str(Path(path).parent),
    )


def _session(path: str | os.PathLike) -> Any:
    """Create the `onnxruntime.InferenceSession` of a file."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(f'{path}: an ONNX file needs onnxruntime: pip install "ser_hf[onnx]"')
    import onnxruntime

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    # ONNX Runtime does not read this variable by itself. 0 lets it choose the number of threads.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes are not public
        raise UserError(
            f"{path}: not an ONNX file that onnxruntime can run: {first_line(error)}"
        ) from None


def _settings(texts: Mapping[str, str], path: str | os.PathLike) -> OnnxSettings:
    """Read the metadata of a file, which may come from anywhere.

    Raises:
        UserError: naming the key of a wrong value.
    """
    if "id2label" not in texts or "sampling_rate" not in texts:
        raise UserError(
            f"{path}: not written by ser-hf export; export the model with ser-hf export"
        )
    values = {}
    for key in OnnxSettings.model_fields:
        if key in texts:
            values[key] = _decoded(texts[key], f"{path}: {key}")
    return check_settings(values, str(path), OnnxSettings)


def _decoded(text: str, where: str) -> Any:
    """The value of a key, which is JSON or a plain text."""
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"{where}: more than {_MOST_CHARACTERS:,} characters; export it again")
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{where}: nested too deep; export it again") from None
    except ValueError:
        return text

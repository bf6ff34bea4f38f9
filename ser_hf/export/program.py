"""Export to a program of torch (`.pt2`), by `torch.export`.

A program is TorchScript's successor: torch runs it without ser_hf and without transformers, in
Python, or compiled by AOTInductor in C++. It computes everything from the waveform to
probabilities, for any batch and length, and has the metadata of an ONNX file as `metadata.json`.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..inference.classifier import Classifier
from ..inference.onnx_classifier import from_scale
from ..loading.files import first_line
from ..models.layers import BiLSTM
from ..models.preparation import Preparation
from ..utils.errors import UserError
from .graph import WaveformClassifier
from .metadata import metadata_of
from .quantize import quiet_exporter

METADATA = "metadata.json"


def export_program(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` in float32 and evaluation mode as a program; the model does not change.

    The program's arguments are ``input_values``, float32 (batch, samples), and ``attention_mask``,
    int64 (batch, samples), 1 for samples of the clip. It returns logits and probabilities (for
    dimensions values), float32 (batch, labels), and for a model of both also values.

    Raises:
        UserError: if the model cannot be exported.
    """
    if any(isinstance(module, BiLSTM) for module in model.modules()):
        raise UserError(
            f"{type(model).__name__}: torch.export fixes the number of frames of an LSTM; "
            "export it to ONNX (--output FILE.onnx)"
        )
    graph = WaveformClassifier(model, extractor)
    # The mask is enough where padding changes nothing; a length that depends on values is not
    # supported by every consumer of a program.
    graph.prepare.crops = False
    metadata = metadata_of(graph)
    if metadata.padding_safe:
        # Padding changes no prediction, and a program needs lengths that all take the same branches
        # in the code of the network. At 16 kHz this is half a second.
        graph.spare_blocks = 25
    content = dataclasses.asdict(metadata) | dict(origin or {})
    clips = torch.zeros(2, graph.sampling_rate)
    axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    inputs = {
        "input_values": clips,
        "attention_mask": torch.ones_like(clips, dtype=torch.long),
    }
    with quiet_exporter(), torch.no_grad():
        try:
            program = torch.export.export(
                graph, (), inputs, dynamic_shapes={"input_values": axes, "attention_mask": axes}
            )
        except Exception as error:  # torch raises errors of many classes here
            raise UserError(
                f"the network cannot be exported by torch.export: {first_line(error)}"
            ) from error
        text = json.dumps(content, ensure_ascii=False)
        torch.export.save(program, path, extra_files={METADATA: text})
    return Path(path)


class ProgramModel(nn.Module):
    """A program that was just written, called like a model of transformers."""

    def __init__(self, path: Path, model: PreTrainedModel):
        super().__init__()
        with quiet_exporter():
            self.program = torch.export.load(path).module()
        self.config = model.config
        self.device = torch.device("cpu")

    def train(self, mode: bool = True) -> "ProgramModel":
        """Does nothing: a program is in evaluation mode, and refuses to be changed."""
        return self

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Compute logits, float32 (batch, labels), and ratings, from waveforms and their mask."""
        logits, _, *values = self.program(input_values=input_values, attention_mask=attention_mask)
        ratings = from_scale(values[0], self.config) if values else None
        return SimpleNamespace(logits=logits, ratings=ratings)


class ProgramClassifier(Classifier):
    """A classifier in a program, which also contains preparation and feature extractor."""

    @property
    def encoder(self) -> bool:
        """False: the features of an encoder are computed inside."""
        return False


def program_classifier(path: Path, classifier: Classifier) -> ProgramClassifier:
    """The classifier in a program of `classifier`, to compare the two.

    Only files that this process wrote are loaded: a program may contain code.
    """
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=classifier.extractor.sampling_rate,
        do_normalize=False,
        return_attention_mask=True,
    )
    return ProgramClassifier(
        source=str(path),
        model=ProgramModel(path, classifier.model),
        extractor=extractor,
        preparation=Preparation(),
        revision=classifier.revision,
        evaluation_window=classifier.evaluation_window,
    )

"""The network as a file knows it: what its extractor does, the network, and probabilities of its logits."""

import copy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from .. import __version__
from ..errors import UserError
from ..models.modeling_pooled_encoder import shortest_waveform
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..training.encoders import ENCODERS, encoder_config, longest_clip, mask_valid, shortest_clip
from ..training.frozen_parts import hears_waveforms
from ..training.temperature import KEY
from .extractors import extractor_module
from .preparation import PreparedInput, told


class WaveformClassifier(nn.Module):
    """Waveforms as they are decoded, (batch, samples), to logits and probabilities, (batch, labels) each.

    Args:
        model: in evaluation mode; taken as it is.
        extractor: the one that it is published with; None gives it waveforms as they are.

    Raises:
        UserError: for an extractor that cannot be put into a graph.
    """

    def __init__(self, model: PreTrainedModel, extractor: SequenceFeatureExtractor | None = None):
        super().__init__()
        preparation = Preparation()
        if isinstance(extractor, PreparedFeatureExtractor):
            preparation, extractor = extractor.preparation, extractor.stock()
        kind = encoder_config(model.config).model_type
        if extractor is None and kind in ENCODERS and not hears_waveforms(model.config):
            raise UserError(f"{kind} hears what its feature extractor makes of a waveform; name the extractor too")
        trims = preparation.trim_silence is not None and preparation.fixed_duration is None
        if trims and kind in ENCODERS and not _masked(model, extractor):
            raise UserError(
                f"{kind} knows no mask, and hears how long a clip is once silence is trimmed off (trim_silence "
                f"{preparation.trim_silence:g}), which one graph cannot cut to; train it with audio.fixed_duration, "
                "or without trim_silence"
            )
        self.extractor, self.preparation = extractor, preparation
        self.multi_label = model.config.problem_type == "multi_label_classification"
        rate = sampling_rate_of(model, extractor)
        self.prepare = PreparedInput(preparation, rate)
        self.extract = extractor_module(extractor)
        self.model = model
        # Our head lengthens what its encoder hears; of other encoders it is done to the waveform.
        own = model.config.model_type == "ser_encoder" and shortest_waveform(model.config.encoder) is not None
        self.shortest = shortest_clip(model.config) if kind in ENCODERS and not own else 0

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Args:
        input_values: float32 (batch, samples); what stands after a clip's end does not matter.
        attention_mask: int64 (batch, samples), 1 where the clip is.
        """
        lengths = attention_mask.sum(dim=1)
        waveform = torch.where(attention_mask > 0, input_values, 0.0)
        waveform, lengths = self.prepare(waveform, lengths)
        if self.shortest:
            lacking = torch.sym_max(0, self.shortest - waveform.shape[1])
            waveform, lengths = nn.functional.pad(waveform, (0, lacking)), lengths.clamp(min=self.shortest)
        logits = self.model(**self.extract(waveform, lengths)).logits.float()
        return logits, logits.sigmoid() if self.multi_label else logits.softmax(dim=1)


def graph_of(model: PreTrainedModel, extractor: SequenceFeatureExtractor | None = None) -> WaveformClassifier:
    """Of a copy of the model on the CPU in float32, in evaluation mode; the model itself stays as it is."""
    model = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    return WaveformClassifier(model, extractor).eval()


def sampling_rate_of(model: PreTrainedModel, extractor: SequenceFeatureExtractor | None) -> int:
    """Hz of the waveforms; 16000 where neither of the two tells."""
    return getattr(extractor, "sampling_rate", None) or getattr(model.config, "sampling_rate", None) or 16000


def facts_of(graph: WaveformClassifier) -> dict[str, Any]:
    """What a file says of itself: the names of its numbers, how to ask it, and what it does before the network."""
    config, extractor = graph.model.config, graph.extractor
    kind = encoder_config(config).model_type
    steps = told(graph.preparation)
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        steps += ["zero mean and unit variance of each clip"] if extractor.do_normalize else []
    elif extractor is not None:
        steps.append(f"the features of {type(extractor).__name__}")
    rate = sampling_rate_of(graph.model, extractor)
    longest = longest_clip(config, extractor) if kind in ENCODERS and extractor is not None else None
    return {
        "id2label": {str(number): config.id2label[number] for number in sorted(config.id2label)},
        "sampling_rate": rate,
        "multi_label": graph.multi_label,
        "model_type": config.model_type,
        "in_graph": steps,
        # What is to be done to waveforms before they are given to the file.
        "preparation": [],
        "padding_safe": padding_safe(graph.model, extractor),
        "longest_seconds": None if longest is None else longest / rate,
        "calibration_temperature": getattr(config, KEY, None),
        "ser_hf": __version__,
    }


def padding_safe(model: PreTrainedModel, extractor: SequenceFeatureExtractor | None) -> bool:
    """Whether a padded clip gets the answer that it gets alone; networks of ours do by their mask."""
    if encoder_config(model.config).model_type not in ENCODERS:
        return _masked(model, extractor)
    return _masked(model, extractor) and mask_valid(model.config)


def _masked(model: PreTrainedModel, extractor: SequenceFeatureExtractor | None) -> bool:
    """Whether the network, or what computes its features, is told where clips end."""
    return not isinstance(extractor, Wav2Vec2FeatureExtractor) or extractor.return_attention_mask

"""Loads dimensional models of the Hub with two heads that transformers does not have.

The models are read as data; none of their code runs. The two heads are:

- Dense head: mean pooling, a dense layer with tanh, and the output layer. Its tensors are
  `classifier.dense` and `classifier.out_proj` (Wagner et al. 2023, arXiv:2203.07378;
  audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim).
- Attentive head: attentive statistics pooling, dense layers with layer norm and ReLU, and the
  output layer (the baseline of the Odyssey 2024 challenge;
  3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes). Its tensors are `pool_model` and `ser_model`,
  and those of the encoder are `ssl_model`. In its configuration, `ssl_type` names the encoder,
  and `mean` and `std` standardize the waveforms.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
)

from ..evaluation.tasks import DIMENSIONS
from ..models.layers import Pooling
from ..utils.errors import UserError
from ..utils.files import read_json
from .data_only import data_only
from .encoders import ENCODERS, takes_waveforms
from .files import find_file, find_weights

# Tensor names of weight normalization in transformers before version 4.49, and their new names.
_RENAMED = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
_MASK = "encoder.masked_spec_embed"  # used in training only
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

Tensors = Mapping[str, torch.Tensor]


class DenseHead(nn.Module):
    """The dense head: mean pooling over frames, a dense layer with tanh, and the output layer."""

    def __init__(self, size: int, tensors: Tensors):
        super().__init__()
        self.pooling = Pooling("mean", size)
        self.dense = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, len(tensors["classifier.out_proj.weight"]))

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values (batch, dimensions) of frames (batch, frames, size) and their mask."""
        return self.out_proj(torch.tanh(self.dense(self.pooling(frames, mask))))


class AttentiveHead(nn.Module):
    """The attentive head: weighted mean and deviation over frames, dense layers, output layer."""

    def __init__(self, size: int, tensors: Tensors):
        super().__init__()
        self.pool_model = nn.Module()
        self.pool_model.sap_linear = nn.Linear(size, size)
        self.pool_model.attention = nn.Parameter(torch.zeros(size, 1))

        layers: list[nn.Module] = []
        size_in = 2 * size
        while (name := f"ser_model.fc.{len(layers)}.0.weight") in tensors:
            size_out = len(tensors[name])
            layers.append(
                nn.Sequential(nn.Linear(size_in, size_out), nn.LayerNorm(size_out), nn.ReLU())
            )
            size_in = size_out
        out = nn.Sequential(nn.Linear(size_in, len(tensors["ser_model.out.0.weight"])))
        self.ser_model = nn.ModuleDict({"fc": nn.ModuleList(layers), "out": out})

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values (batch, dimensions) of frames (batch, frames, size) and their mask."""
        scores = torch.tanh(self.pool_model.sap_linear(frames)) @ self.pool_model.attention
        weights = scores.masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * frames.square()).sum(dim=1) - mean.square()
        vector = torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)
        for layer in self.ser_model["fc"]:
            vector = layer(vector)
        return self.ser_model["out"](vector)


class DimensionalModel(PreTrainedModel):
    """An encoder with one of the two heads; it is called like a classifier of transformers."""

    def __init__(
        self, config: PreTrainedConfig, head: nn.Module, mean: float = 0.0, deviation: float = 1.0
    ):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config, trust_remote_code=False)
        self.head = head
        self.mean = mean
        self.deviation = deviation

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SimpleNamespace:
        """Predict values (batch, dimensions), in `logits`, from waveforms (batch, samples)."""
        mask = attention_mask
        if mask is None:
            mask = torch.ones_like(input_values, dtype=torch.long)
        waveform = (input_values - self.mean) / self.deviation * mask
        frames = self.encoder(waveform, attention_mask=mask).last_hidden_state
        frame_mask = self.encoder._get_feature_vector_attention_mask(frames.shape[1], mask)
        return SimpleNamespace(logits=self.head(frames, frame_mask.bool()))


@dataclasses.dataclass(frozen=True)
class _Form:
    """A form in which such models are published.

    Args:
        required: names of tensors that identify the form.
        head: creates the head from the encoder's hidden size and the published tensors.
        prefixes: {prefix of the head's published tensors: prefix in `DimensionalModel`}.
        output: name of the weight of the last layer.
    """

    required: frozenset[str]
    head: Callable[[int, Tensors], nn.Module]
    prefixes: Mapping[str, str]
    output: str


_DENSE = _Form(
    required=frozenset({"classifier.dense.weight", "classifier.out_proj.weight"}),
    head=DenseHead,
    prefixes={"classifier.": "head."},
    output="classifier.out_proj.weight",
)
_ATTENTIVE = _Form(
    required=frozenset({"pool_model.attention", "ser_model.out.0.weight"}),
    head=AttentiveHead,
    prefixes={"pool_model.": "head.pool_model.", "ser_model.": "head.ser_model."},
    output="ser_model.out.0.weight",
)


def load_dimensional_model(
    model_path: str, source: str, revision: str | None
) -> tuple[PreTrainedModel, SequenceFeatureExtractor] | None:
    """Load a model (folder or Hub id) with one of the two heads, and its feature extractor.

    The result is None for any other model.

    Raises:
        UserError: naming `source`, if the weights are not safetensors, or if tensors or labels do
            not fit.
    """
    settings = _regression_settings(model_path, revision)
    if settings is None:
        return None
    files = find_weights(model_path, source, revision).tensor_files
    form = _form_of(files)
    if form is None:
        return None

    attentive = form is _ATTENTIVE
    encoder_source = _named_encoder(settings, source) if attentive else model_path
    encoder_revision = None if attentive else revision
    with data_only(
        encoder_source, where=source, revision=encoder_revision, weights=False
    ) as temporary:
        config = AutoConfig.from_pretrained(temporary.folder, trust_remote_code=False)
        if config.model_type not in ENCODERS or not takes_waveforms(config):
            return None
        if attentive:
            extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
        else:
            extractor = AutoFeatureExtractor.from_pretrained(
                temporary.folder, trust_remote_code=False
            )
    labels = settings.get("id2label") or {}
    config.id2label = {int(i): str(name) for i, name in labels.items()}
    config.problem_type = DIMENSIONS.problem_type

    mean = 0.0
    deviation = 1.0
    if attentive:
        mean = float(settings.get("mean", 0))
        deviation = float(settings.get("std", 1)) + 1e-6
    tensors = {name: tensor for path in files for name, tensor in load_file(path).items()}
    with torch.device("meta"):  # allocates no memory: a configuration may state any sizes
        head = form.head(config.hidden_size, tensors)
        model = DimensionalModel(config, head, mean, deviation)
    _load(model, tensors, form, source)
    return model, extractor


def _regression_settings(model_path: str, revision: str | None) -> dict[str, Any] | None:
    """The configuration of a model that may have one of the two heads; None for others."""
    path = find_file(model_path, "config.json", revision, required=False)
    settings = read_json(path, most=2**22) if path else None
    if not isinstance(settings, dict):
        return None
    if settings.get("ssl_type") or settings.get("problem_type") == "regression":
        return settings
    return None


def _form_of(files: Iterable[str]) -> _Form | None:
    """Identify the form of publication from the names of the tensors in the files."""
    names: set[str] = set()
    for path in files:
        with safe_open(path, "pt") as file:
            names.update(file.keys())
    for form in (_ATTENTIVE, _DENSE):
        if form.required <= names:
            return form
    return None


def _named_encoder(settings: dict[str, Any], source: str) -> str:
    """The Hub id of the encoder that a configuration names."""
    encoder = str(settings.get("ssl_type"))
    if not _HUB_ID.fullmatch(encoder):
        raise UserError(
            f"{source}: config.json: ssl_type: expected the Hub id of an encoder, "
            f"got {encoder:.100}"
        )
    return encoder


def _load(model: DimensionalModel, tensors: Tensors, form: _Form, source: str) -> None:
    """Load the published tensors into the model; every tensor must fit."""
    config = model.config
    outputs = len(tensors[form.output])
    if outputs != len(config.id2label):
        raise UserError(
            f"{source}: {outputs} outputs, but {len(config.id2label)} labels "
            "(id2label in config.json)"
        )
    encoder_prefix = "ssl_model." if form is _ATTENTIVE else f"{ENCODERS[config.model_type].name}."
    prefixes = {**form.prefixes, encoder_prefix: "encoder."}
    state = {_MASK: torch.zeros(config.hidden_size)}
    for name, tensor in tensors.items():
        state[_our_name(name, prefixes)] = tensor.float()

    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    different = sorted({*missing, *unexpected} - {_MASK})
    if different:
        raise UserError(
            f"{source}: {len(different)} tensors do not fit {config.model_type} and its head, "
            f"such as {different[0]}"
        )


def _our_name(name: str, prefixes: Mapping[str, str]) -> str:
    """The name that a published tensor has in `DimensionalModel`."""
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
            break
    stem, _, last = name.rpartition(".")
    return f"{stem}.{_RENAMED.get(last, last)}"

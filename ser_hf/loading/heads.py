"""Dimensional models of the Hub with a head of their own, in the forms in which people publish
them, read as data.

- Mean pooling, a dense layer with tanh, the output: `classifier.dense` and `classifier.out_proj`
  beside an encoder (Wagner et al. 2023, arXiv:2203.07378;
  audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim).
- Attentive statistics, dense layers with layer norm and ReLU, and the output: `pool_model` and
  `ser_model` beside `ssl_model`, on waveforms standardized by `mean` and `std` of the configuration
  (the baseline of the Odyssey 2024 challenge; 3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes).
  `ssl_type` names the encoder.
"""

import re
from collections.abc import Mapping
from types import SimpleNamespace

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
from .files import find_file, weight_files

# transformers' names of weight normalization before version 4.49.
_RENAMED = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
_MASK = "encoder.masked_spec_embed"  # of training only


class DenseHead(nn.Module):
    """Mean over frames, dense layer, tanh, output."""

    def __init__(self, size: int, tensors: Mapping[str, torch.Tensor]):
        super().__init__()
        self.pooling, self.dense = Pooling("mean", size), nn.Linear(size, size)
        self.out_proj = nn.Linear(size, len(tensors["classifier.out_proj.weight"]))

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.out_proj(torch.tanh(self.dense(self.pooling(frames, mask))))


class AttentiveHead(nn.Module):
    """Mean and deviation with one weight per frame, dense layers, output."""

    def __init__(self, size: int, tensors: Mapping[str, torch.Tensor]):
        super().__init__()
        self.pool_model = nn.Module()
        self.pool_model.sap_linear = nn.Linear(size, size)
        self.pool_model.attention = nn.Parameter(torch.zeros(size, 1))
        sizes = [2 * size]
        layers = []
        while (name := f"ser_model.fc.{len(layers)}.0.weight") in tensors:
            sizes.append(len(tensors[name]))
            layers.append(nn.Sequential(nn.Linear(*sizes[-2:]), nn.LayerNorm(sizes[-1]), nn.ReLU()))
        out = nn.Sequential(nn.Linear(sizes[-1], len(tensors["ser_model.out.0.weight"])))
        self.ser_model = nn.ModuleDict({"fc": nn.ModuleList(layers), "out": out})

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = torch.tanh(self.pool_model.sap_linear(frames)) @ self.pool_model.attention
        weights = scores.masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * frames.square()).sum(dim=1) - mean.square()
        vector = torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)
        for layer in self.ser_model["fc"]:
            vector = layer(vector)
        return self.ser_model["out"](vector)


class OwnHeadModel(PreTrainedModel):
    """An encoder and a head of these forms, called like a classifier of transformers."""

    def __init__(
        self, config: PreTrainedConfig, head: nn.Module, mean: float = 0.0, deviation: float = 1.0
    ):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config)
        self.head = head
        self.mean = mean
        self.deviation = deviation

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SimpleNamespace:
        """Values (batch, dimensions) as `logits`, of waveforms (batch, samples)."""
        mask = (
            torch.ones_like(input_values, dtype=torch.long)
            if attention_mask is None
            else attention_mask
        )
        waveform = (input_values - self.mean) / self.deviation * mask
        frames = self.encoder(waveform, attention_mask=mask).last_hidden_state
        real = self.encoder._get_feature_vector_attention_mask(frames.shape[1], mask).bool()
        return SimpleNamespace(logits=self.head(frames, real))


def load_own_head(
    place: str, source: str, revision: str | None
) -> tuple[PreTrainedModel, SequenceFeatureExtractor] | None:
    """The model (folder or Hub id) in one of these forms, and its extractor; None for others.

    Raises a `UserError` naming `source` for weights that are no safetensors, or tensors or labels
    that do not fit.
    """
    path = find_file(place, "config.json", revision, required=False)
    values = read_json(path, most=2**22) if path else None
    if not isinstance(values, dict) or not (
        values.get("ssl_type") or values.get("problem_type") == "regression"
    ):
        return None
    weights = weight_files(place, source, revision)
    files = [file for name, file in weights.items() if name.endswith(".safetensors")]
    keys = {key for file in files for key in safe_open(file, "pt").keys()}  # noqa: SIM118 (no dictionary)
    attentive = {"pool_model.attention", "ser_model.out.0.weight"} <= keys
    if not attentive and not {"classifier.dense.weight", "classifier.out_proj.weight"} <= keys:
        return None
    encoder = place
    names = {"classifier.": "head."}
    scale = (0.0, 1.0)
    if attentive:
        encoder = str(values.get("ssl_type"))
        names = {name: f"head.{name}" for name in ("pool_model.", "ser_model.")}
        scale = float(values.get("mean", 0)), float(values.get("std", 1)) + 1e-6
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", encoder):
            raise UserError(
                f"{source}: config.json: ssl_type: expected the Hub id of an encoder, got {encoder:.100}"
            )
    where = {"where": source, "revision": None if attentive else revision, "weights": False}
    with data_only(encoder, **where) as (folder, *_):
        config = AutoConfig.from_pretrained(folder)
        if config.model_type not in ENCODERS or not takes_waveforms(config):
            return None
        extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
        extractor = extractor if attentive else AutoFeatureExtractor.from_pretrained(folder)
    names["ssl_model." if attentive else f"{ENCODERS[config.model_type].name}."] = "encoder."
    config.id2label = {int(i): str(name) for i, name in (values.get("id2label") or {}).items()}
    config.problem_type = DIMENSIONS.problem_type
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    with torch.device("meta"):  # no memory for sizes that the file does not have
        head = (AttentiveHead if attentive else DenseHead)(config.hidden_size, tensors)
        model = OwnHeadModel(config, head, *scale)
    found = {_MASK: torch.zeros(config.hidden_size)}
    for name, tensor in tensors.items():
        own = next(
            (new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)),
            name,
        )
        stem, _, last = own.rpartition(".")
        found[f"{stem}.{_RENAMED.get(last, last)}"] = tensor.float()
    outputs = len(tensors["ser_model.out.0.weight" if attentive else "classifier.out_proj.weight"])
    if outputs != len(config.id2label):
        raise UserError(
            f"{source}: {outputs} outputs, but {len(config.id2label)} labels (id2label in config.json)"
        )
    missing, unexpected = model.load_state_dict(found, strict=False, assign=True)
    if odd := sorted({*missing, *unexpected} - {_MASK}):
        raise UserError(
            f"{source}: {len(odd)} tensors do not fit {config.model_type} and its head, such as {odd[0]}"
        )
    return model, extractor

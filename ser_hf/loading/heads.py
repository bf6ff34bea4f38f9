"""Loads classifiers of the Hub with heads that transformers does not have, as data.

None of the models' code runs. `FORMS` is the table of the forms in which such models are
published; `loading.head_networks` has their networks. The form follows from the names of the
tensors, and every tensor of the files must have a place in the network.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
)

from ..evaluation.tasks import DIMENSIONS
from ..utils.errors import UserError
from ..utils.files import read_json
from .data_only import data_only
from .encoders import ENCODERS, takes_waveforms
from .files import find_file, find_weights
from .head_networks import (
    POOLING_MODES,
    DenseHead,
    LayerNormHead,
    PublishedClassifier,
    Tensors,
)

# Tensor names of weight normalization in transformers before version 4.49, and their new names.
_RENAMED = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
_MASK = "encoder.masked_spec_embed"  # used in training only
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_MOST_BYTES = 2**22  # the largest size of a configuration file
# The tensors of attentive statistics with one weight for each frame.
_FRAME_ATTENTION = {
    "pool_model.sap_linear.weight",
    "pool_model.sap_linear.bias",
    "pool_model.attention",
}
_DIMENSIONS = {"arousal", "activation", "valence", "dominance"}
# The output layer of speech recognizers, with one output for each character.
_CTC_HEAD = "lm_head.weight"


# {name of a tensor: its shape}
Shapes = Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class PooledHead:
    """A published head as the head of `PooledEncoderForAudioClassification`.

    Args:
        options: options of `PooledEncoderConfig`.
        prefixes: {prefix of the head's published tensors: prefix in the model of ser_hf}.
    """

    options: dict[str, Any]
    prefixes: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Form:
    """A form in which classifiers are published.

    Args:
        required: names of tensors that identify the form.
        head: creates the head from the size of the encoder's frames, the published tensors and
            the configuration; it raises a `ValueError` for settings that it does not have.
        prefixes: {prefix of the head's published tensors: prefix in `PublishedClassifier`}. The
            first prefix that fits counts.
        pooled_head: describes the head as one of ser_hf, from which training starts, given the
            shapes of the published tensors and the configuration; None for a head that ser_hf
            does not have.
        output: name of the weight of the last layer.
        encoder_prefix: prefix of the encoder's published tensors; None for the usual one of its
            kind.
        names_encoder: the key `ssl_type` of the configuration names the encoder, and `mean` and
            `std` standardize the waveforms. Otherwise the configuration is that of the encoder.
    """

    required: frozenset[str]
    head: Callable[[int, Tensors, Mapping[str, Any]], nn.Module]
    prefixes: Mapping[str, str]
    pooled_head: Callable[[Shapes, Mapping[str, Any]], PooledHead | None]
    output: str
    encoder_prefix: str | None = None
    names_encoder: bool = False

    def prefix_of_encoder(self, model_type: str) -> str:
        """The prefix of the published tensors of an encoder of this type."""
        return self.encoder_prefix or f"{ENCODERS[model_type].name}."


def _dense_head(size: int, tensors: Tensors, settings: Mapping[str, Any]) -> DenseHead:
    pooling_mode = settings.get("pooling_mode") or "mean"
    if pooling_mode not in POOLING_MODES:
        raise ValueError(
            f"pooling_mode: expected {', '.join(POOLING_MODES)}, got {pooling_mode!r:.100}"
        )
    last = "out_proj" if "classifier.out_proj.weight" in tensors else "output"
    hidden = len(tensors["classifier.dense.weight"])
    outputs = len(tensors[f"classifier.{last}.weight"])
    return DenseHead(size, hidden, outputs, pooling_mode)


def _pooled_dense_head(shapes: Shapes, settings: Mapping[str, Any]) -> PooledHead | None:
    pooling = settings.get("pooling_mode") or "mean"
    if pooling not in ("mean", "max"):  # ser_hf has no sum over frames
        return None
    options = {
        "pooling": pooling,
        "head_layers": [shapes["classifier.dense.weight"][0]],
        "head_norm": False,
        "head_activation": "tanh",
    }
    prefixes = {
        "classifier.dense.": "head.1.",
        "classifier.out_proj.": "classifier.",
        "classifier.output.": "classifier.",
    }
    return PooledHead(options, prefixes)


def _layer_norm_head(size: int, tensors: Tensors, settings: Mapping[str, Any]) -> LayerNormHead:
    hidden_sizes: list[int] = []
    while (name := f"ser_model.fc.{len(hidden_sizes)}.0.weight") in tensors:
        hidden_sizes.append(len(tensors[name]))
    outputs = len(tensors["ser_model.out.0.weight"])
    return LayerNormHead(size, hidden_sizes, outputs, "pool_model.attention" in tensors)


def _pooled_layer_norm_head(shapes: Shapes, settings: Mapping[str, Any]) -> PooledHead | None:
    names_of_pooling = {name for name in shapes if name.startswith("pool_model.")}
    if names_of_pooling not in (set(), _FRAME_ATTENTION):
        return None
    prefixes = {
        "pool_model.sap_linear.": "pooling.score.0.",
        "pool_model.attention": "pooling.score.2.weight",
        "ser_model.out.0.": "classifier.",
    }
    hidden_sizes: list[int] = []
    while (name := f"ser_model.fc.{len(hidden_sizes)}.0.weight") in shapes:
        layer = len(hidden_sizes)
        # In the head of ser_hf, dropout comes first, and after each norm and activation.
        prefixes[f"ser_model.fc.{layer}.0."] = f"head.{4 * layer + 1}."
        prefixes[f"ser_model.fc.{layer}.1."] = f"head.{4 * layer + 2}."
        hidden_sizes.append(shapes[name][0])
    options = {
        "pooling": "attentive_frame_stats" if names_of_pooling else "mean",
        "head_layers": hidden_sizes,
        "head_norm": True,
        "head_activation": "relu",
    }
    return PooledHead(options, prefixes)


# Stock heads (projector and classifier, with or without weights of the layers, as in
# superb/wav2vec2-base-superb-er) are those of transformers and not in this table.
FORMS = {
    # m3hrdadfi's models, harshit345/xlsr-wav2vec-speech-emotion-recognition; of dimensions:
    # audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim
    "dense layer and out_proj": Form(
        required=frozenset({"classifier.dense.weight", "classifier.out_proj.weight"}),
        head=_dense_head,
        prefixes={"classifier.out_proj.": "head.output.", "classifier.": "head."},
        pooled_head=_pooled_dense_head,
        output="classifier.out_proj.weight",
    ),
    # ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition
    "dense layer and output": Form(
        required=frozenset({"classifier.dense.weight", "classifier.output.weight"}),
        head=_dense_head,
        prefixes={"classifier.": "head."},
        pooled_head=_pooled_dense_head,
        output="classifier.output.weight",
    ),
    # 3loi/SER-Odyssey-Baseline-WavLM-Categorical and -Multi-Attributes
    "baseline of the MSP-Podcast challenges": Form(
        required=frozenset({"ser_model.out.0.weight"}),
        head=_layer_norm_head,
        prefixes={
            "pool_model.": "head.pooling.",
            "ser_model.fc.": "head.hidden.",
            "ser_model.out.": "head.output.",
        },
        pooled_head=_pooled_layer_norm_head,
        output="ser_model.out.0.weight",
        encoder_prefix="ssl_model.",
        names_encoder=True,
    ),
}


def load_published_classifier(
    model_path: str, source: str, revision: str | None, label_names: Sequence[str] | None = None
) -> tuple[PreTrainedModel, SequenceFeatureExtractor] | None:
    """Load a model (folder or Hub id) with a head of the table, and its feature extractor.

    The result is None for any other model.

    Args:
        label_names: the names of the outputs, in place of those of the configuration.

    Raises:
        UserError: naming `source`, if the weights are not safetensors or those of a speech
            recognizer, or if tensors or labels do not fit.
    """
    files = read_published_files(model_path, source, revision)
    if files is None:
        return None
    _refuse_recognizer(files.shapes, source)
    form = files.form
    if form is None:
        return None

    settings = files.settings
    encoder = _read_encoder(model_path, source, revision, settings, form)
    if encoder is None:
        return None
    config, extractor = encoder
    tensors = files.tensors()
    describe_outputs(config, settings, len(tensors[form.output]), label_names, source)
    mean = 0.0
    deviation = 1.0
    if form.names_encoder:
        mean = float(settings.get("mean", 0))
        deviation = float(settings.get("std", 1)) + 1e-6
    try:
        with torch.device("meta"):  # allocates no memory: a configuration may state any sizes
            head = form.head(config.hidden_size, tensors, settings)
            model = PublishedClassifier(config, head, mean, deviation)
    except ValueError as error:
        raise UserError(f"{source}: config.json: {error}") from None
    _load(model, tensors, form, source)
    return model, extractor


@dataclasses.dataclass(frozen=True)
class PublishedFiles:
    """The configuration of a model of others, and the files and shapes of its tensors."""

    settings: dict[str, Any]
    paths: list[str]
    shapes: Shapes

    @property
    def form(self) -> Form | None:
        """The form of publication, which the names of the tensors identify."""
        for form in FORMS.values():
            if form.required.issubset(self.shapes):
                return form
        return None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the files, by their published names."""
        return {name: value for path in self.paths for name, value in load_file(path).items()}


def read_published_files(
    model_path: str, source: str, revision: str | None
) -> PublishedFiles | None:
    """Read the configuration and the shapes of a model that may have a head of the table.

    The result is None for other models.

    Raises:
        UserError: naming `source`, if the weights are not safetensors.
    """
    settings = _settings(model_path, revision)
    if settings is None:
        return None
    paths = find_weights(model_path, source, revision).tensor_files
    return PublishedFiles(settings, paths, _tensor_shapes(paths))


def _settings(model_path: str, revision: str | None) -> dict[str, Any] | None:
    """The configuration of a model that may have a head of the table; None for others."""
    path = find_file(model_path, "config.json", revision, required=False)
    settings = read_json(path, most=_MOST_BYTES) if path else None
    if not isinstance(settings, dict):
        return None
    if settings.get("ssl_type") or settings.get("model_type") in ENCODERS:
        return settings
    # Other kinds may have the tensors too: the refusal then names the kind.
    return settings if settings.get("problem_type") == "regression" else None


def _tensor_shapes(files: Iterable[str]) -> dict[str, list[int]]:
    """The shape of each tensor in the files, by its name."""
    shapes = {}
    for path in files:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (the file is no mapping)
                shapes[name] = file.get_slice(name).get_shape()
    return shapes


def _refuse_recognizer(shapes: Mapping[str, Sequence[int]], source: str) -> None:
    """Refuse a speech recognizer, which has outputs for each frame and no classifier of clips."""
    has_classifier = any(name.startswith("classifier.") for name in shapes)
    if _CTC_HEAD in shapes and not has_classifier:
        raise UserError(
            f"{source}: the head of a speech recognizer (CTC): {_CTC_HEAD} has "
            f"{shapes[_CTC_HEAD][0]} outputs for each frame, and no classifier of clips follows; "
            "fine-tune it first (ser-hf train, model.checkpoint)"
        )


def _read_encoder(
    model_path: str,
    source: str,
    revision: str | None,
    settings: dict[str, Any],
    form: Form,
) -> tuple[PreTrainedConfig, SequenceFeatureExtractor] | None:
    """The configuration of the encoder, and the extractor; None for an unknown encoder."""
    encoder_source = named_encoder(settings, source) if form.names_encoder else model_path
    encoder_revision = None if form.names_encoder else revision
    with data_only(
        encoder_source, where=source, revision=encoder_revision, weights=False
    ) as temporary:
        config = AutoConfig.from_pretrained(temporary.folder, trust_remote_code=False)
        if config.model_type not in ENCODERS or not takes_waveforms(config):
            return None
        if form.names_encoder:
            extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
        else:
            extractor = AutoFeatureExtractor.from_pretrained(
                temporary.folder, trust_remote_code=False
            )
    return config, extractor


def named_encoder(settings: dict[str, Any], source: str) -> str:
    """The Hub id of the encoder that a configuration names."""
    encoder = str(settings.get("ssl_type"))
    if not _HUB_ID.fullmatch(encoder):
        raise UserError(
            f"{source}: config.json: ssl_type: expected the Hub id of an encoder, "
            f"got {encoder:.100}"
        )
    return encoder


def describe_outputs(
    config: PreTrainedConfig,
    settings: dict[str, Any],
    outputs: int,
    label_names: Sequence[str] | None,
    source: str,
) -> None:
    """Write the labels and the problem into the configuration of the encoder, in place.

    `settings` are those of the published classifier, which has so many `outputs`.
    Outputs are dimensions if the configuration says so, or if all of them have names of dimensions.
    """
    names = dict(enumerate(label_names or ()))
    if not names:
        stated = settings.get("id2label") or {}
        names = {int(i): str(name) for i, name in stated.items()}
    if not names:
        names = {i: f"LABEL_{i}" for i in range(outputs)}
    if outputs != len(names):
        raise UserError(
            f"{source}: {outputs} outputs, but {len(names)} labels (id2label in config.json, or "
            "--label-names)"
        )
    config.id2label = names
    config.label2id = {name: i for i, name in names.items()}

    config.problem_type = settings.get("problem_type")
    if all(name.strip().lower() in _DIMENSIONS for name in names.values()):
        config.problem_type = DIMENSIONS.problem_type


def _load(model: PublishedClassifier, tensors: Tensors, form: Form, source: str) -> None:
    """Load the published tensors into the model; every tensor must fit."""
    config = model.config
    prefixes = {**form.prefixes, form.prefix_of_encoder(config.model_type): "encoder."}
    state = {_MASK: torch.zeros(config.hidden_size)}
    for name, tensor in tensors.items():
        state[renamed(name, prefixes)] = tensor.float()

    try:
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:  # tensors of another shape
        problem = str(error).splitlines()[-1].strip()
        raise UserError(f"{source}: config.json does not describe its tensors: {problem}") from None
    different = sorted({*missing, *unexpected} - {_MASK})
    if different:
        raise UserError(
            f"{source}: {len(different)} tensors do not fit {config.model_type} and its head, "
            f"such as {different[0]}"
        )


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """The name of a published tensor in another model: the first prefix that fits is replaced."""
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
            break
    stem, dot, last = name.rpartition(".")
    return stem + dot + _RENAMED.get(last, last)

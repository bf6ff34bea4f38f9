"""Converts the published checkpoints of emotion2vec to a model folder with safetensors.

The projects emotion2vec and FunASR publish a pickle, `emotion2vec_base.pt` or `model.pt`, with a
`config.yaml` and, for models with a classifier, a `tokens.txt` of its labels beside it. The sizes
of the network follow from the shapes of the tensors. Every tensor of the file is either converted
or one of those that only the pretraining uses, which the summary lists.
"""

import dataclasses
import json
import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..models import Emotion2vecConfig, Emotion2vecForAudioClassification, Emotion2vecModel
from ..utils.errors import UserError
from ..utils.yaml import read_yaml
from .checkpoint import waveform_extractor
from .files import first_line
from .published import sha256_of

logger = logging.getLogger(__name__)

# The file of a converted folder that accounts for the tensors.
CONVERSION = "conversion.json"

# The labels of the published classifiers (the plus models), in the order of their outputs.
LABELS = (
    "angry",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "other",
    "sad",
    "surprised",
    "unknown",
)

_AUDIO = r"modality_encoders\.AUDIO\."
_PARAMETER = r"\.(weight|bias)"
# (published name, our name); blocks of the transformer follow below.
_NAMES = (
    (
        rf"{_AUDIO}local_encoder\.conv_layers\.(\d+)\.0\.weight",
        r"emotion2vec.feature_extractor.conv_layers.\1.conv.weight",
    ),
    (
        rf"{_AUDIO}local_encoder\.conv_layers\.(\d+)\.2\.1{_PARAMETER}",
        r"emotion2vec.feature_extractor.conv_layers.\1.layer_norm.\2",
    ),
    (
        rf"{_AUDIO}project_features\.1{_PARAMETER}",
        r"emotion2vec.feature_projection.layer_norm.\1",
    ),
    (
        rf"{_AUDIO}project_features\.2{_PARAMETER}",
        r"emotion2vec.feature_projection.projection.\1",
    ),
    (rf"{_AUDIO}extra_tokens", "emotion2vec.extra_tokens"),
    (rf"{_AUDIO}alibi_scale", "emotion2vec.encoder.alibi_scale"),
    (rf"{_AUDIO}context_encoder\.norm{_PARAMETER}", r"emotion2vec.encoder.input_layer_norm.\1"),
    (rf"norm{_PARAMETER}", r"emotion2vec.encoder.layer_norm.\1"),
    (rf"proj{_PARAMETER}", r"classifier.\1"),
)
_POSITIONS = re.compile(rf"{_AUDIO}relative_positional_encoder\.(\d+)\.0{_PARAMETER}")
# The lower blocks of the transformer belong to the audio encoder, the upper ones to the model.
_LOWER_BLOCK = re.compile(rf"{_AUDIO}context_encoder\.blocks\.(\d+)\.(.+)")
_UPPER_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_BLOCK_PARTS = {
    "norm1": "layer_norm",
    "norm2": "final_layer_norm",
    "attn.proj": "attention.out_proj",
    "mlp.fc1": "feed_forward.intermediate_dense",
    "mlp.fc2": "feed_forward.output_dense",
}
# What only the pretraining uses: the decoder, the teacher, and the loss of whole utterances.
_PRETRAINING = re.compile(rf"({_AUDIO}decoder\.|shared_decoder\.|_ema(\.|$)|recon_proj\.|center$)")

_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Settings of the published configuration that no tensor shows, and their names here.
_SETTINGS = {
    "normalize": "standardize",
    "norm_eps": "layer_norm_eps",
    "encoder_dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
}

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Args:
        folder: the model folder.
        source: the published file, and `sha256` its checksum.
        parameters: numbers in the converted tensors.
        labels: the labels of the classifier; empty for an encoder alone.
        converted: the published tensors that the model holds.
        unused: the published tensors that only the pretraining uses.
        unused_labels: outputs of the published classifier that were never trained.
    """

    folder: str
    source: str
    sha256: str
    parameters: int
    labels: tuple[str, ...]
    converted: tuple[str, ...]
    unused: tuple[str, ...]
    unused_labels: tuple[str, ...]


def convert_emotion2vec(
    file: str | Path, folder: str | Path, tokens: str | Path | None = None
) -> Conversion:
    """Convert a published checkpoint of emotion2vec to a model folder.

    The folder has safetensors, the configuration, the feature extractor and the code of the
    network, so that transformers loads it without ser_hf, and `conversion.json`, which accounts
    for every tensor of the file.

    Args:
        file: the published pickle; it is read with `weights_only`, so no code of it runs.
        folder: the new folder.
        tokens: the file of labels; by default tokens.txt beside `file`.

    Raises:
        UserError: naming the file, if it is missing, is no such checkpoint, or holds tensors that
            this function does not know; and if the folder has files.
    """
    file = Path(file)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; name a new folder")
    content = _read(file)
    published, unused = _sorted_tensors(content, file)
    tensors = _our_tensors(published, file)
    settings = _published_settings(content, file)
    labels, unused_labels = _keep_trained_labels(tensors, file, tokens)
    config = _configuration(tensors, settings, labels, file)

    model_class = Emotion2vecForAudioClassification
    if not labels:
        model_class = Emotion2vecModel
        tensors = {name.removeprefix("emotion2vec."): tensor for name, tensor in tensors.items()}
    with torch.device("meta"):
        model = model_class(config)
    _check_shapes(model, tensors, file)
    model.load_state_dict(tensors, assign=True)
    model.save_pretrained(folder)
    waveform_extractor(config.sampling_rate, normalize=False).save_pretrained(folder)

    conversion = Conversion(
        folder=str(folder),
        source=file.name,
        sha256=sha256_of(file),
        parameters=model.num_parameters(),
        labels=tuple(labels),
        converted=tuple(published),
        unused=tuple(unused),
        unused_labels=tuple(unused_labels),
    )
    text = json.dumps(dataclasses.asdict(conversion), indent=1, ensure_ascii=False)
    (folder / CONVERSION).write_text(f"{text}\n", encoding="utf-8")
    return conversion


def _read(file: Path) -> dict[str, Any]:
    """Read the pickle: tensors by name, perhaps below a key, with settings of the training."""
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; it is emotion2vec_base.pt or model.pt of "
            "huggingface.co/emotion2vec"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{file}: holds objects other than tensors, numbers and texts, which may run code; "
            "it is not read"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(
            f"{file}: cannot be read ({first_line(error)}); download it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no tensors by name; expected a checkpoint of emotion2vec")
    return content


def _sorted_tensors(content: Mapping[str, Any], file: Path) -> tuple[Tensors, list[str]]:
    """Separate the tensors of the network from those that only the pretraining uses.

    Returns the tensors of the network, and the names of the others.
    """
    state: Mapping[str, Any] = content
    for key in _WRAPPERS:
        if isinstance(state.get(key), dict):
            state = state[key]

    network: Tensors = {}
    unused = []
    unknown = []
    for name, tensor in _flat(state):
        if _PRETRAINING.match(name):
            unused.append(name)
        elif not isinstance(tensor, torch.Tensor):
            continue  # settings and counters beside the tensors
        elif _our_name(name, 0) is None and not name.startswith(("modality_encoders", "blocks.")):
            unknown.append(name)
        else:
            network[name] = tensor
    if not any(name.startswith("modality_encoders.AUDIO.") for name in network):
        raise UserError(f"{file}: not a checkpoint of emotion2vec (it has no modality_encoders)")
    if unknown:
        raise _unknown_tensors(unknown, file)
    return network, unused


def _flat(state: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The values of nested dictionaries, by names with dots; fairseq nests the teacher."""
    values = []
    for key, value in state.items():
        if isinstance(value, Mapping):
            values += _flat(value, f"{prefix}{key}.")
        else:
            values.append((f"{prefix}{key}", value))
    return values


def _our_tensors(published: Tensors, file: Path) -> Tensors:
    """Rename the published tensors, and divide the joint projections of the attention."""
    lower_blocks = 0
    for name in published:
        match = _LOWER_BLOCK.fullmatch(name)
        if match:
            lower_blocks = max(lower_blocks, int(match[1]) + 1)

    tensors: Tensors = {}
    unknown = []
    for name, tensor in published.items():
        ours = _our_name(name, lower_blocks)
        if ours is None:
            unknown.append(name)
        elif ".qkv." in ours:
            parts = tensor.float().chunk(3)
            for projection, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                tensors[ours.replace("qkv", projection)] = part.clone()
        else:
            tensors[ours] = tensor.float().clone()
    if unknown:
        raise _unknown_tensors(unknown, file)
    scale = "emotion2vec.encoder.alibi_scale"
    if scale in tensors:
        # (layers or 1, 1, heads or 1, 1, 1), in old files without the first dimension
        scales = tensors[scale]
        layers = scales.shape[0] if scales.dim() == 5 else 1
        tensors[scale] = scales.reshape(layers, -1)
    return tensors


def _unknown_tensors(names: Sequence[str], file: Path) -> UserError:
    return UserError(
        f"{file}: {len(names)} tensors are not known in emotion2vec, the first {names[0]}; "
        "use a file as it was published"
    )


def _our_name(name: str, lower_blocks: int) -> str | None:
    """Our name of a published tensor of the network; None for an unknown name."""
    for pattern, ours in _NAMES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours)
    match = _POSITIONS.fullmatch(name)
    if match:  # the first published entry transposes, and has no tensors
        return f"emotion2vec.positions.layers.{int(match[1]) - 1}.{match[2]}"

    match = _LOWER_BLOCK.fullmatch(name)
    if match:
        return _block_name(int(match[1]), match[2])
    match = _UPPER_BLOCK.fullmatch(name)
    if match:
        return _block_name(lower_blocks + int(match[1]), match[2])
    return None


def _block_name(index: int, name: str) -> str | None:
    part, _, parameter = name.rpartition(".")
    layer = f"emotion2vec.encoder.layers.{index}"
    if part == "attn.qkv":
        return f"{layer}.attention.qkv.{parameter}"
    if part in _BLOCK_PARTS:
        return f"{layer}.{_BLOCK_PARTS[part]}.{parameter}"
    return None


def _published_settings(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The published settings of network and input, from the checkpoint or from config.yaml."""
    settings: dict[str, Any] = {}
    fairseq = content.get("cfg")
    if isinstance(fairseq, dict):
        for section in ("task", "model"):
            if isinstance(fairseq.get(section), dict):
                settings |= fairseq[section]
    path = file.with_name("config.yaml")
    if path.is_file():
        model_settings = read_yaml(path).get("model_conf")
        if isinstance(model_settings, dict):
            settings |= model_settings
    else:
        logger.info("%s is not there; dropout is that of the base model", path)
    ours = {}
    for key, name in _SETTINGS.items():
        if isinstance(settings.get(key), bool | int | float):
            ours[name] = settings[key]
    return ours


def _keep_trained_labels(
    tensors: Tensors, file: Path, tokens: str | Path | None
) -> tuple[list[str], list[str]]:
    """The labels of the classifier, whose rows without a label are removed from `tensors`.

    Returns the labels, and the published names of outputs that were never trained.
    """
    weight = tensors.get("classifier.weight")
    if weight is None:
        return [], []
    names = _published_labels(len(weight), file, tokens)
    rows = [i for i, name in enumerate(names) if not name.startswith("unuse")]
    labels = [_label(names[i]) for i in rows]
    repeated = sorted(label for label in set(labels) if labels.count(label) > 1)
    if repeated:
        raise UserError(f"{file.with_name('tokens.txt')}: the label {repeated[0]} is there twice")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][rows].clone()
    return labels, [name for i, name in enumerate(names) if i not in rows]


def _published_labels(outputs: int, file: Path, tokens: str | Path | None) -> list[str]:
    path = file.with_name("tokens.txt") if tokens is None else Path(tokens)
    if not path.is_file():
        if tokens is None and outputs == len(LABELS):
            return list(LABELS)
        raise UserError(
            f"{path}: no such file; it has the {outputs} labels of the classifier, one a line, "
            "and is published beside the checkpoint"
        )
    names = path.read_text(encoding="utf-8").split()
    if len(names) != outputs:
        raise UserError(f"{path}: {len(names)} labels, but the classifier has {outputs} outputs")
    return names


def _label(name: str) -> str:
    """The English name of a published label, such as happy of 开心/happy."""
    return "unknown" if name == "<unk>" else name.rpartition("/")[2].lower()


def _configuration(
    tensors: Tensors, settings: Mapping[str, Any], labels: Sequence[str], file: Path
) -> Emotion2vecConfig:
    """The configuration that the shapes of the tensors show, with the published `settings`."""
    stem = "emotion2vec.feature_extractor.conv_layers"
    try:
        convolutions = [tensors[f"{stem}.{i}.conv.weight"] for i in range(_count(tensors, stem))]
        positions = tensors["emotion2vec.positions.layers.0.weight"]
        hidden = tensors["emotion2vec.feature_projection.projection.weight"].shape[0]
        scale = tensors["emotion2vec.encoder.alibi_scale"]
        units = tensors["emotion2vec.encoder.layers.0.feed_forward.intermediate_dense.weight"]
        extra_tokens = tensors["emotion2vec.extra_tokens"].shape[1]
    except KeyError as error:
        raise UserError(f"{file}: not a whole checkpoint of emotion2vec: no {error}") from None
    kernels = [convolution.shape[2] for convolution in convolutions]
    layers = _count(tensors, "emotion2vec.encoder.layers")
    per_head = scale.shape[1] > 1
    if labels:
        settings = dict(settings) | {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }
    try:
        return Emotion2vecConfig(
            conv_dim=[convolution.shape[0] for convolution in convolutions],
            conv_kernel=kernels,
            # Shapes do not show strides; data2vec 2.0 has 5 in the first convolution.
            conv_stride=[5 if i == 0 else 2 for i in range(len(kernels))],
            hidden_size=hidden,
            num_hidden_layers=layers,
            # The heads of all published sizes have 64 numbers.
            num_attention_heads=scale.shape[1] if per_head else max(1, hidden // 64),
            intermediate_size=units.shape[0],
            num_conv_pos_layers=_count(tensors, "emotion2vec.positions.layers"),
            conv_pos_kernel_size=positions.shape[2],
            num_conv_pos_groups=hidden // positions.shape[1],
            num_extra_tokens=extra_tokens,
            alibi_scale_per_head=per_head,
            alibi_scale_per_layer=scale.shape[0] > 1,
            do_stable_layer_norm="emotion2vec.encoder.layer_norm.weight" in tensors,
            **settings,
        )
    except ValueError as error:
        raise UserError(f"{file}: not a checkpoint of emotion2vec: {error}") from None


def _count(tensors: Tensors, modules: str) -> int:
    """The number of modules in a list of modules."""
    indices = set()
    for name in tensors:
        if name.startswith(f"{modules}."):
            indices.add(name.removeprefix(f"{modules}.").partition(".")[0])
    return len(indices)


def _check_shapes(model: torch.nn.Module, tensors: Tensors, file: Path) -> None:
    """Raise a `UserError` unless the tensors are exactly those of the model."""
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    present = {name: tensor.shape for name, tensor in tensors.items()}
    different = sorted(
        name for name in expected | present if expected.get(name) != present.get(name)
    )
    if different:
        raise UserError(
            f"{file}: {len(different)} tensors are missing or do not fit, the first "
            f"{different[0]}; download it again"
        )

"""Loads the tensors of checkpoints, and checks that none is missing or unexpected.

Only a new head has random tensors, and the log says so:

- A stock classifier takes the encoder from any checkpoint of the same model type; all tensors of
  the encoder must match. A head for another task or other labels is dropped, and the classifier
  gets a new head.
- Our head on a stock encoder is loaded in the same way: the stock classifier loads the encoder.
- For a model of ser_hf every tensor must match, except the last layer if the labels differ, and a
  new layer sum.

Labels are compared by name (see `output_names`). The last layer keeps the rows of the labels that
the checkpoint has too, whatever their order. The rows of other labels are random. Checkpoints whose
heads transformers does not have are first converted (see `published_start`).
`masked_spec_embed` is used in training only. It may be dropped or new, as the recipe masks or not.
"""

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..models import PooledEncoderConfig, PooledEncoderForAudioClassification
from ..models.target_heads import AUXILIARY_HEAD, RATING_HEAD, dimension_names
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from .encoders import ENCODERS, encoder_config
from .files import first_line
from .output_names import output_names
from .parent import LabelMatch, match_labels
from .published_start import training_copy

logger = logging.getLogger(__name__)

# Heads of other targets than the classes.
_FURTHER_HEADS = (RATING_HEAD, AUXILIARY_HEAD)
_DAMAGED = (OSError, RuntimeError, SafetensorError, EOFError)
_MASK = "masked_spec_embed"
# In x-vector models, the second to last linear layer has the name that encoders use for the stem.
_VERIFICATION = ("feature_extractor.weight", "feature_extractor.bias")


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A classifier that has the tensors of a checkpoint.

    `new` are the names of the classifier's tensors that are not in the checkpoint, and `dropped`
    the names of the checkpoint's tensors that are not in the classifier.
    """

    model: PreTrainedModel
    new: set[str]
    dropped: set[str]


def load_model(
    checkpoint: str,
    config: PreTrainedConfig,
    revision: str | None = None,
    label_names: Sequence[str] | None = None,
    **settings: Any,
) -> PreTrainedModel:
    """Load the classifier of `config` in float32 from a checkpoint (Hub id or folder).

    A new head is random: set the random seed before. `settings` may contain only
    `attn_implementation`.

    Args:
        label_names: names of the checkpoint's outputs, in place of those of its configuration.

    Raises:
        UserError: naming `model.checkpoint`, and the first tensor that does not fit; naming
            `model.label_names`, if the checkpoint has no trained classifier with these outputs.
        ValueError, ImportError: if the `attn_implementation` is not available.
    """
    with training_copy(checkpoint, config, revision) as folder:
        saved_config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        other_kind = saved_config.model_type != config.model_type
        if isinstance(config, PooledEncoderConfig) and other_kind:
            return _load_on_stock_encoder(checkpoint, config, folder, **settings)
        loaded = _read(checkpoint, config, folder, **settings)
        names = output_names(saved_config.id2label, _labels_of(config), label_names)
        labels = _fit_labels(loaded.model, names, folder)
        if label_names is not None and labels is None:
            _require_classifier(checkpoint, loaded)
        loaded = _with_new_rating_head(loaded, saved_config)

    last_layer = set()
    if labels is not None and labels.kept:
        # Its rows are described by their labels.
        last_layer = _tensors_of(_last_layer(loaded.model))
    if config.model_type.startswith("ser_"):
        taken = set(loaded.model.state_dict()) - loaded.new - last_layer
        logger.info("loaded %d tensors: %s", len(taken), ", ".join(_top_modules(taken)))
    _log(checkpoint, loaded.new - last_layer, loaded.dropped - last_layer, labels)
    return loaded.model


@torch.no_grad()
def _with_new_rating_head(loaded: LoadedModel, saved_config: PreTrainedConfig) -> LoadedModel:
    """Initialize the head of the dimensions anew if the checkpoint's has other dimensions."""
    model = loaded.model
    head = getattr(model, RATING_HEAD, None)
    if head is None or dimension_names(saved_config) == dimension_names(model.config):
        return loaded
    for parameter in head.parameters():
        parameter._is_hf_initialized = False  # otherwise transformers would keep the old values
    model._init_weights(head)
    return dataclasses.replace(loaded, new=loaded.new | _tensors_of(RATING_HEAD))


def _require_classifier(checkpoint: str, loaded: LoadedModel) -> None:
    """Raise a `UserError` if the last layer is new, so that names of its rows have no effect."""
    name = _last_layer(loaded.model)
    if name is None or not loaded.new.isdisjoint(_tensors_of(name)):
        raise UserError(
            f"model.label_names: {checkpoint} has no trained classifier with these outputs; "
            "leave it out"
        )


@torch.no_grad()
def _fit_labels(model: PreTrainedModel, names: Sequence[str], folder: str) -> LabelMatch | None:
    """Give each label of the model its row of the checkpoint's last layer; new labels are random.

    Returns the comparison of the labels; None if the labels are equal, or if the checkpoint has no
    last layer of this width. A head that scikit-learn fits does not change.

    Args:
        names: the names of the checkpoint's outputs.
    """
    name = _last_layer(model)
    labels = _labels_of(model.config)
    if name is None or labels == names:
        return None

    last = model.get_submodule(name)
    saved = _saved_tensors(folder, _tensors_of(name))
    width = last.weight.shape[1]
    weight = saved.get(f"{name}.weight")
    if weight is None or weight.shape != (len(names), width):
        return None

    for parameter in last.parameters():
        parameter._is_hf_initialized = False  # otherwise transformers would keep the old values
    model._init_weights(last)
    match = match_labels(names, labels)
    for key, parameter in last.named_parameters():
        saved_rows = saved.get(f"{name}.{key}")
        if saved_rows is None:
            continue
        for label in match.kept:
            parameter[labels.index(label)] = saved_rows[names.index(label)]
    return match


def _labels_of(config: PreTrainedConfig) -> list[str]:
    """The labels in the order of the outputs."""
    return [config.id2label[i] for i in range(config.num_labels)]


def _last_layer(model: PreTrainedModel) -> str | None:
    """The name of the linear layer whose outputs are the logits; None for other classifiers."""
    linear = [
        name for name, module in model.classifier.named_modules() if isinstance(module, nn.Linear)
    ]
    return f"classifier.{linear[-1]}".rstrip(".") if linear else None


def _tensors_of(layer: str) -> set[str]:
    """The names of the tensors of a linear layer."""
    return {f"{layer}.weight", f"{layer}.bias"}


def _saved_tensors(folder: str, wanted: set[str]) -> dict[str, torch.Tensor]:
    """The tensors of these names in the safetensors files of a folder, in float32."""
    tensors = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in wanted.intersection(file.keys()):
                tensors[name] = file.get_tensor(name).float()
    return tensors


def _load_on_stock_encoder(
    checkpoint: str, config: PooledEncoderConfig, folder: str, **settings: Any
) -> PreTrainedModel:
    """Load the encoder of a stock classifier from a checkpoint's `folder`, and add our head."""
    stock = _read(checkpoint, config.encoder, folder, **settings)
    name = ENCODERS[config.encoder.model_type].name
    encoder = getattr(stock.model, name)
    stock_head = {key for key in stock.model.state_dict() if not key.startswith(f"{name}.")}

    config = copy.deepcopy(config)
    config.encoder = encoder.config
    model = PooledEncoderForAudioClassification._from_config(config, encoder=encoder, **settings)
    head = {key for key in model.state_dict() if not key.startswith("encoder.")}
    new = head | (stock.new - stock_head)
    dropped = stock.dropped | (stock_head - stock.new)
    _log(checkpoint, new, dropped)
    return model


def _read(checkpoint: str, config: PreTrainedConfig, folder: str, **settings: Any) -> LoadedModel:
    """Load a classifier from a folder with transformers, and check its tensors."""
    config = copy.deepcopy(config)
    positions = None
    if encoder_config(config).model_type == "whisper":
        # First load all positions, then cut off those after the end of the model's window.
        positions = encoder_config(config).max_source_positions
        saved = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        encoder_config(config).max_source_positions = encoder_config(saved).max_source_positions
    try:
        with quiet_libraries(), _nan_in_new_memory():
            model, info = AutoModelForAudioClassification.from_pretrained(
                folder,
                output_loading_info=True,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                trust_remote_code=False,
                **settings,
            )
    except torch.OutOfMemoryError:
        raise
    except _DAMAGED as error:
        raise UserError(f"model.checkpoint: weights of {checkpoint}: {first_line(error)}") from None

    # The model is named after its checkpoint, not after the temporary folder.
    model.name_or_path = checkpoint
    model.config.name_or_path = checkpoint
    if positions is not None:
        _cut_positions(model, positions)
    new, dropped = _check_tensors(model, checkpoint, info)
    _fill_new_parameters(model, new)
    _require_finite(model, checkpoint)
    return LoadedModel(model, new, dropped)


def _cut_positions(model: PreTrainedModel, positions: int) -> None:
    """Keep only the first `positions` position vectors of Whisper's encoder."""
    for encoder in model.modules():
        if not isinstance(encoder, WhisperEncoder):
            continue
        # Change the module in place: transformers would initialize a new module again.
        table = encoder.embed_positions
        table.weight.data = table.weight.data[:positions].clone()
        table.num_embeddings = positions
        encoder.max_source_positions = positions
        encoder.config.max_source_positions = positions
        encoder_config(model.config).max_source_positions = positions


def _fill_new_parameters(model: PreTrainedModel, new: Iterable[str]) -> None:
    """Initialize new parameters that the model itself holds, which transformers does not do."""
    parameters = {
        name: model.get_parameter(name) for name in new if name.endswith(("layer_weights", _MASK))
    }
    with torch.no_grad(), whole_parameters(parameters.values()):
        for name, parameter in parameters.items():
            if name.endswith("layer_weights"):
                parameter.fill_(1 / len(parameter))
            else:
                parameter.uniform_()  # as every kind of encoder does


def _require_finite(model: PreTrainedModel, checkpoint: str) -> None:
    """Raise a `UserError` if a tensor contains NaN or infinity."""
    broken = [
        name
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if broken:
        raise UserError(
            f"model.checkpoint: weights of {checkpoint}: {len(broken)} tensors hold NaN or "
            f"infinity, the first {broken[0]}; the file is damaged, or its training failed"
        )


def whole_parameters(parameters: Iterable[nn.Parameter]) -> contextlib.AbstractContextManager:
    """A context that gathers parameters that ZeRO-3 has sharded, so that they can be changed."""
    sharded = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not sharded:
        return contextlib.nullcontext()
    return import_module("deepspeed").zero.GatheredParameters(sharded, 0)


@contextlib.contextmanager
def _nan_in_new_memory() -> Iterator[None]:
    """Fill uninitialized memory with NaN, so that tensors without values are noticed."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _check_tensors(
    model: PreTrainedModel, checkpoint: str, info: dict[str, Any]
) -> tuple[set[str], set[str]]:
    """Check missing and unexpected tensors; returns the names of new and of dropped tensors.

    Raises:
        UserError: if a tensor is missing, unexpected or of another shape, unless this kind of
            model allows it.
    """
    missing = set(info["missing_keys"])
    unexpected = set(info["unexpected_keys"])
    mismatched = {item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]}

    def refuse(names: Iterable[str], problem: str) -> None:
        names = sorted(name for name in names if name.rpartition(".")[2] != _MASK)
        if names:
            raise UserError(
                f"model.checkpoint: {checkpoint} does not fit {type(model).__name__}: "
                f"{len(names)} tensors are {problem}, the first {names[0]}; "
                "use a checkpoint of the same architecture"
            )

    if model.config.model_type in ENCODERS:
        # Only the head of a stock classifier may differ.
        in_encoder = _encoder_test(model)
        strange_missing = [name for name in missing if in_encoder(name)]
        strange_mismatched = [name for name in mismatched if in_encoder(name)]
        strange_unexpected = [name for name in unexpected if in_encoder(name)]
    else:
        # In a model of ser_hf, the layer sum and the heads of further targets may be new or
        # dropped, and the last layers may have another shape.
        further = tuple(f"{head}." for head in _FURTHER_HEADS)
        strange_missing = _without_prefix(missing, ("layer_sum.", *further))
        strange_mismatched = _without_prefix(mismatched, ("classifier.", *further))
        strange_unexpected = _without_prefix(unexpected, ("layer_sum.", *further))
    refuse(strange_missing, "not in the checkpoint")
    refuse(strange_mismatched, "of another shape in the checkpoint")
    refuse(strange_unexpected, "in the checkpoint but not in the model")
    return missing | mismatched, unexpected | mismatched


def _without_prefix(names: Iterable[str], prefixes: tuple[str, ...]) -> list[str]:
    """The names that do not start with one of the prefixes."""
    return [name for name in names if not name.startswith(prefixes)]


def _encoder_test(model: PreTrainedModel) -> Callable[[str], bool]:
    """A function that decides by the name of a tensor whether it belongs to the encoder.

    The name may be that in the model or that in a checkpoint.
    """
    name = ENCODERS[model.config.model_type].name
    encoder = getattr(model, name)
    prefix = f"{model.base_model_prefix}."

    if model.base_model is not encoder:
        # A checkpoint of Whisper holds a model that has the encoder and a decoder.
        return lambda key: key.removeprefix(prefix).startswith(f"{name}.")

    # In a checkpoint of the encoder alone, without a head, names do not have the prefix.
    children = {child for child, _ in encoder.named_children()}

    def in_encoder(key: str) -> bool:
        without_prefix = key.partition(".")[0] in children and key not in _VERIFICATION
        return key.startswith(prefix) or without_prefix

    return in_encoder


def _log(
    checkpoint: str,
    new: Iterable[str],
    dropped: Iterable[str],
    labels: LabelMatch | None = None,
) -> None:
    """Log which modules are new and dropped, and which labels of the last layer are kept."""
    new_modules = _top_modules(new)
    head = [name for name in new_modules if name != _MASK]
    notes = []
    if head and (labels is None or not labels.kept):
        notes.append(f"new, random head: {', '.join(head)}")
    if _MASK in new_modules:
        notes.append(f"new, random: {_MASK}, which only training uses")
    if labels is not None:
        notes += _label_notes(labels)
    if not notes:
        notes.append("nothing is new")
    dropped_modules = _top_modules(dropped)
    if dropped_modules:
        notes.append(f"dropped: {', '.join(dropped_modules)}")
    logger.info("weights of %s: %s", checkpoint, "; ".join(notes))


def _label_notes(labels: LabelMatch) -> list[str]:
    """Descriptions of the rows of the last layer."""
    notes = []
    if labels.kept and not labels.new and not labels.dropped:
        notes.append("last layer reordered to our labels")
    elif labels.kept:
        notes.append(f"last layer kept for {', '.join(labels.kept)}")
    if labels.new:
        notes.append(f"new, random rows of the last layer: {', '.join(labels.new)}")
    if labels.dropped:
        notes.append(f"rows of the last layer left out: {', '.join(labels.dropped)}")
    return notes


def _top_modules(keys: Iterable[str]) -> list[str]:
    """The sorted names of the top-level modules that contain the tensors."""
    names = (key.removeprefix("model.") for key in keys)
    return sorted({_MASK if name.endswith(_MASK) else name.partition(".")[0] for name in names})

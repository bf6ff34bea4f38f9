"""Loads checkpoints; no code of others runs, and no tensor but those of a new head is ever random
without notice.

`data_only` is how every command reads a model that somebody else may have made: a folder that holds
nothing but data.

- A stock classifier takes the encoder from any checkpoint of the same kind; all its tensors must
  match. Heads for other tasks or labels are dropped, and the classifier's own are new.
- Our head on a stock encoder: the same, through the stock classifier.
- One of our models: everything must match, except the last layer if labels differ, and a new sum of
  layers.

Labels are compared by name: the same labels in another order reorder the last layer.
`masked_spec_embed` is used in training only; it may be dropped or new, depending on the masking of
the recipe.
"""

import contextlib
import copy
import logging
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from huggingface_hub import HfApi, is_offline_mode
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.safetensors_conversion import get_conversion_pr_reference

from ..models import (
    PooledEncoderConfig,
    PooledEncoderForAudioClassification,
)
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from .data_only import data_only
from .encoders import ENCODERS, encoder_config
from .files import INDEX, WEIGHTS, first_line

logger = logging.getLogger(__name__)

_DAMAGED = (OSError, RuntimeError, SafetensorError, EOFError)
_MASK = "masked_spec_embed"
# x-vector models call their last but one linear layer as encoders call their stem.
_VERIFICATION = ("feature_extractor.weight", "feature_extractor.bias")


def load_model(
    checkpoint: str, config: PreTrainedConfig, revision: str | None = None, **settings: Any
) -> PreTrainedModel:
    """The classifier of `config` in float32 with the weights of a checkpoint (Hub id or folder).
    Seed first.

    Raises:
        UserError: naming `model.checkpoint`, and the first tensor that does not fit.
        ValueError, ImportError: for an unavailable `attn_implementation`, the only setting.
    """
    revision = _converted(checkpoint, revision) or revision
    with data_only(checkpoint, where=f"model.checkpoint: {checkpoint}", revision=revision) as (
        folder,
        *_,
    ):
        theirs = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if isinstance(config, PooledEncoderConfig) and theirs.model_type != config.model_type:
            return _on_stock_encoder(checkpoint, config, folder, **settings)
        model, new, dropped = _read(checkpoint, config, folder, **settings)
    changed, reordered = _fit_labels(model, theirs.id2label, new)
    _log(checkpoint, new | changed, dropped | changed, reordered)
    return model


def _converted(checkpoint: str, revision: str | None) -> str | None:
    """The revision in which the Hub's converter offers safetensors for a repository that only has a
    pickle.
    """
    # of the Hub and its converter; `data_only` then reports the pickle
    with contextlib.suppress(Exception):
        if not os.path.isdir(checkpoint) and not is_offline_mode():
            info = HfApi().model_info(checkpoint, revision=revision)
            if not any(file.rfilename in (WEIGHTS, INDEX) for file in info.siblings or ()):
                converted = get_conversion_pr_reference(HfApi(), checkpoint)
                logger.info(
                    "weights of %s: safetensors that the Hub made of its pickle, %s",
                    checkpoint,
                    converted,
                )
                return converted
    return None


@torch.no_grad()
def _fit_labels(
    model: PreTrainedModel, theirs: Mapping[int, str], new: Container[str]
) -> tuple[set[str], bool]:
    """Reorder the last layer of the checkpoint to our labels, or make it new if labels differ.

    Returns the names of new tensors, and whether rows were reordered. Heads for scikit-learn are
    left as they are.
    """
    linear = [
        name for name, module in model.classifier.named_modules() if isinstance(module, nn.Linear)
    ]
    ours = [model.config.id2label[i] for i in range(model.config.num_labels)]
    theirs = [theirs[i] for i in sorted(theirs)]
    if not linear or ours == theirs:
        return set(), False
    name = f"classifier.{linear[-1]}".rstrip(".")
    last = model.get_submodule(name)
    tensors = {f"{name}.{key}": tensor for key, tensor in last.named_parameters()}
    if any(key in new for key in tensors):
        return set(), False
    if sorted(ours) == sorted(theirs):
        rows = [theirs.index(label) for label in ours]
        for tensor in tensors.values():
            tensor.copy_(tensor[rows])
        return set(), True
    for tensor in tensors.values():
        tensor._is_hf_initialized = False  # which transformers' initialization heeds
    model._init_weights(last)
    return set(tensors), False


def _on_stock_encoder(
    checkpoint: str, config: PooledEncoderConfig, folder: str, **settings: Any
) -> PreTrainedModel:
    """Our head on the encoder of the stock classifier in the `folder` of a checkpoint."""
    stock, new, dropped = _read(checkpoint, config.encoder, folder, **settings)
    name = ENCODERS[config.encoder.model_type].name
    encoder = getattr(stock, name)
    heads = {key for key in stock.state_dict() if not key.startswith(f"{name}.")}
    config = copy.deepcopy(config)
    config.encoder = encoder.config
    model = PooledEncoderForAudioClassification._from_config(config, encoder=encoder, **settings)
    fresh = {key for key in model.state_dict() if not key.startswith("encoder.")}
    _log(checkpoint, fresh | (new - heads), dropped | (heads - new))
    return model


def _read(
    checkpoint: str, config: PreTrainedConfig, folder: str, **settings: Any
) -> tuple[PreTrainedModel, set[str], set[str]]:
    """The checked classifier from transformers, names of its new tensors, and of the checkpoint's
    dropped ones.
    """
    config = copy.deepcopy(config)
    positions = None
    # all are loaded, then those beyond its window are cut off
    if encoder_config(config).model_type == "whisper":
        positions = encoder_config(config).max_source_positions
        saved = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        encoder_config(config).max_source_positions = encoder_config(saved).max_source_positions
    settings |= {
        "config": config,
        "dtype": torch.float32,
        "ignore_mismatched_sizes": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    try:
        with quiet_libraries(), _unwritten_is_nan():
            model, info = AutoModelForAudioClassification.from_pretrained(
                folder, output_loading_info=True, **settings
            )
    except torch.OutOfMemoryError:
        raise
    except _DAMAGED as error:
        raise UserError(f"model.checkpoint: weights of {checkpoint}: {first_line(error)}") from None
    model.name_or_path = model.config.name_or_path = checkpoint  # not the temporary folder
    for encoder in [
        module for module in model.modules() if positions and isinstance(module, WhisperEncoder)
    ]:
        # the same module: transformers would initialize a new one again
        table = encoder.embed_positions
        table.weight.data = table.weight.data[:positions].clone()
        table.num_embeddings = positions
        for own in (encoder, encoder.config, encoder_config(model.config)):
            own.max_source_positions = positions
    new, dropped = _account(model, checkpoint, info)
    outside = [model.get_parameter(key) for key in new if key.endswith(("layer_weights", _MASK))]
    with torch.no_grad(), whole_parameters(outside):
        for key in new:  # parameters outside of modules, which transformers leaves uninitialized
            if key.endswith("layer_weights"):
                weights = model.get_parameter(key)
                weights.fill_(1 / len(weights))
            elif key.endswith(_MASK):
                model.get_parameter(key).uniform_()  # as every kind of encoder does
    tensors = [*model.named_parameters(), *model.named_buffers()]
    broken = [
        name
        for name, tensor in tensors
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if broken:
        raise UserError(
            f"model.checkpoint: weights of {checkpoint}: {len(broken)} tensors hold NaN or infinity, the first "
            f"{broken[0]}; the file is damaged, or its training failed"
        )
    return model, new, dropped


def whole_parameters(parameters: Iterable[nn.Parameter]) -> contextlib.AbstractContextManager:
    """A context in which parameters that ZeRO-3 has sharded, and so emptied, can be changed."""
    sharded = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    return (
        import_module("deepspeed").zero.GatheredParameters(sharded, 0)
        if sharded
        else contextlib.nullcontext()
    )


@contextlib.contextmanager
def _unwritten_is_nan() -> Iterator[None]:
    """Fill uninitialized memory with NaN."""
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


def _account(
    model: PreTrainedModel, checkpoint: str, info: dict[str, Any]
) -> tuple[set[str], set[str]]:
    """Names of new and dropped tensors, checked against what each kind of model allows."""
    mismatched = {item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]}
    missing = set(info["missing_keys"])
    left_over = set(info["unexpected_keys"])
    stock = model.config.model_type in ENCODERS
    inside = _encoder_test(model) if stock else lambda key: True
    # Of our models the sum of layers may be new or dropped, and the last layer of another shape.
    allowed = ((), (), ()) if stock else ("layer_sum.", "classifier.", "layer_sum.")
    strange = {
        what: [key for key in keys if inside(key) and not key.startswith(prefix)]
        for what, keys, prefix in zip(
            (
                "not in the checkpoint",
                "of another shape in the checkpoint",
                "in the checkpoint but not in the model",
            ),
            (missing, mismatched, left_over),
            allowed,
            strict=True,
        )
    }
    for what, keys in strange.items():
        keys = sorted(key for key in keys if key.rpartition(".")[2] != _MASK)
        if keys:
            raise UserError(
                f"model.checkpoint: {checkpoint} does not fit {type(model).__name__}: {len(keys)} tensors are {what}, "
                f"the first {keys[0]}; use a checkpoint of the same architecture"
            )
    return missing | mismatched, left_over | mismatched


def _encoder_test(model: PreTrainedModel) -> Callable[[str], bool]:
    """A function from the name of a tensor, in the model or a checkpoint, to whether it is the
    encoder's.
    """
    name = ENCODERS[model.config.model_type].name
    encoder = getattr(model, name)
    prefix = f"{model.base_model_prefix}."
    # An encoder that is a separate model, saved without a head, has names without the prefix.
    bare = (
        {child for child, _ in encoder.named_children()} if model.base_model is encoder else set()
    )

    def inside(key: str) -> bool:
        # Whisper's: one half of the model that its checkpoints hold
        if model.base_model is not encoder:
            return key.removeprefix(prefix).startswith(f"{name}.")
        return key.startswith(prefix) or (
            key.partition(".")[0] in bare and key not in _VERIFICATION
        )

    return inside


def _log(
    checkpoint: str, new: Iterable[str], dropped: Iterable[str], reordered: bool = False
) -> None:
    def modules(keys: Iterable[str]) -> list[str]:
        names = (key.removeprefix("model.") for key in keys)
        return sorted({_MASK if key.endswith(_MASK) else key.partition(".")[0] for key in names})

    fresh = modules(new)
    gone = modules(dropped)
    head = [name for name in fresh if name != _MASK]
    notes = [f"new, random head: {', '.join(head)}"] if head else []
    notes += [f"new, random: {_MASK}, which only training uses"] if _MASK in fresh else []
    notes += ["last layer reordered to our labels"] if reordered else []
    notes = notes or ["nothing is new"]
    notes += [f"dropped: {', '.join(gone)}"] if gone else []
    logger.info("weights of %s: %s", checkpoint, "; ".join(notes))

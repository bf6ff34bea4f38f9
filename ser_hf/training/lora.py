"""LoRA with peft (Hu et al. 2021, arXiv:2106.09685): adapters in a frozen encoder, and a head.

The task types of peft are not used, because they do not train the projection before the classifier
of stock audio models.
"""

import copy
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from ..loading.encoders import encoder_config, encoder_entry
from ..models.target_heads import AUXILIARY_HEAD
from ..utils.errors import UserError
from .freezing import Structure, release_frozen_stems, structure

# WavLM's attention hands the weights of its projections to one function of torch's and never calls
# the layers: an adapter around one of them has no effect.
NEVER_CALLED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}

# Where peft keeps the model that it adapts.
_BASE = "base_model.model."


@dataclasses.dataclass(frozen=True)
class Lora:
    """Settings of the adapters.

    Args:
        rank: rank of the update of a weight.
        alpha: the update is multiplied by alpha / rank.
        dropout: dropout of the input of the adapters, 0 to 1.
        dora: adapt direction and magnitude separately (Liu et al. 2024, arXiv:2402.09353).
        rslora: divide by the square root of the rank (Kalajdzievski 2023, arXiv:2312.03732).
        targets: names of the linear layers to adapt; None for the usual layers of the encoder.
    """

    rank: int
    alpha: float = 16.0
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    targets: tuple[str, ...] | None = None


class AdaptedModel(PeftModel):
    """A `PeftModel` that also saves parameters outside of modules, such as weights over layers."""

    def train(self, mode: bool = True) -> "AdaptedModel":
        """Keep frozen batch norms in evaluation mode: adapters do not save their statistics."""
        super().train(mode)
        for module in self.modules():
            weights = list(module.parameters(recurse=False))
            frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
            if frozen and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args: Any,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        is_main_process: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write adapter_config.json and adapter_model.safetensors for a checkpoint."""
        if is_main_process:
            _write(self, Path(save_directory), None, state_dict)

    def prepare_model_for_gradient_checkpointing(self, model: PreTrainedModel) -> PreTrainedModel:
        """Does nothing: peft would use input embeddings, which speech encoders do not have.

        See peft issue 1569.
        """
        return model


def add_lora(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """Freeze the encoder and add adapters; everything outside the encoder is trained.

    Adapters are random: set the random seed before.

    Raises:
        UserError: if the rank exceeds the smallest side of an adapted weight, or a target does not
            exist.
    """
    parts = structure(model, "lora")
    targets = _targets(model, parts, lora.targets)
    most = min(min(model.get_submodule(name).weight.shape) for name in targets)
    if lora.rank > most:
        raise UserError(
            f"lora.rank: expected at most {most}, the smallest side of an adapted weight, "
            f"got {lora.rank}"
        )
    heads = [
        name
        for name, child in model.named_children()
        if name != parts.encoder and child.state_dict()
    ]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        target_modules=targets,
        modules_to_save=heads,
    )
    with warnings.catch_warnings():
        # peft uses a deprecated property of transformers.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = AdaptedModel(model, config)
    for parameter in model.parameters(recurse=False):
        parameter.requires_grad_(True)
    release_frozen_stems(model, parts)
    return adapted


def _targets(
    model: PreTrainedModel, parts: Structure, requested: tuple[str, ...] | None
) -> list[str]:
    """Full names of the layers to adapt."""
    config = encoder_config(model.config)
    targets = encoder_entry(config).lora_targets if requested is None else requested
    linear: list[str] = []
    for layer in parts.layers:
        for name, module in model.get_submodule(layer).named_modules():
            if isinstance(module, nn.Linear):
                linear.append(f"{layer}.{name}")

    never_called = NEVER_CALLED.get(config.model_type, ())
    chosen: set[str] = set()
    for target in targets:
        matches = [name for name in linear if f".{name}".endswith(f".{target}")]
        if not matches or target.rpartition(".")[2] in never_called:
            possible = sorted({name.rpartition(".")[2] for name in linear} - set(never_called))
            raise UserError(
                f"lora.targets: no {target} in {config.model_type}; "
                f"choose from {', '.join(possible)}"
            )
        chosen.update(matches)
    return [name for name in linear if name in chosen]


def merged(model: nn.Module) -> PreTrainedModel:
    """A plain classifier with the adapters merged into its weights; other models unchanged."""
    return copy.deepcopy(model).merge_and_unload() if isinstance(model, PeftModel) else model


def plain_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of a model after its adapters, if it has any, are merged."""
    adapted = isinstance(model, PeftModel)
    for name, parameter in model.named_parameters():
        ends_with_merging = "original_module" in name.split(".") or "lora_" in name
        if not (adapted and ends_with_merging):
            yield parameter


def save_adapter(model: PeftModel, folder: str | Path, base: str) -> None:
    """Write the trained tensors only: adapter_config.json and adapter_model.safetensors.

    ``PeftModel.from_pretrained(classifier, folder)`` restores it on a classifier with the encoder's
    published weights and this model's configuration. Of a `base` that is a folder only the name is
    written.
    """
    if Path(base).is_dir():
        base = Path(base).name
    _write(model, Path(folder), base, None)


def _write(
    model: PeftModel, folder: Path, base: str | None, state: Mapping[str, torch.Tensor] | None
) -> None:
    """Write an adapter; `state` is that of the model by default.

    Args:
        base: the name of the base model in a published adapter; None for a checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict() if state is None else state
    tensors = get_peft_model_state_dict(model, state, save_embedding_layers=False)
    for name, _ in model.get_base_model().named_parameters(recurse=False):
        tensors[_BASE + name] = state[_BASE + name]
    if base is not None:  # a published adapter has no heads of auxiliary targets
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if AUXILIARY_HEAD not in name.split(".")
        }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / SAFETENSORS_WEIGHTS_NAME, {"format": "pt"})
    config = copy.copy(model.peft_config[model.active_adapter])
    config.inference_mode = True
    config.base_model_name_or_path = base
    # Sets, whose order changes from run to run.
    config.target_modules = sorted(config.target_modules)
    config.modules_to_save = sorted(config.modules_to_save)
    if base is not None and AUXILIARY_HEAD in config.modules_to_save:
        config.modules_to_save.remove(AUXILIARY_HEAD)
    config.save_pretrained(folder)

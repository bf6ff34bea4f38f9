"""Low-rank adaptation of an encoder (LoRA, Hu et al. 2021, arXiv:2106.09685) on peft: the encoder's own weights stay
as they are, small matrices beside its linear layers learn, and so does the whole head.

Written after peft 0.21. Its task types are not used: they know the heads of text models, and of a stock audio
classifier they would leave the projection before the classifier untrained and unsaved.
"""

import copy
import dataclasses
import math
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

from ..utils.errors import UserError
from .averaging import is_frozen
from .encoders import encoder_config, encoder_facts
from .freezing import Structure, structure

# WavLM's attention hands the weights of its projections to one function of torch's and never calls the layers: an
# adapter around one of them is not computed with, and does not learn.
NEVER_CALLED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}

# Where peft keeps the model that it adapts.
_BASE = "base_model.model."


@dataclasses.dataclass(frozen=True)
class Lora:
    """The recipe's `lora` section, of a rank that is given.

    Args:
        rank: r, of the two matrices A (r, in) and B (out, r), B zero at first.
        alpha: B A is scaled by ``alpha / rank``, or with `rslora` by ``alpha / sqrt(rank)`` (Kalajdzievski 2023,
            arXiv:2312.03732).
        dropout: of what A is given, in training.
        dora: the length of each row of the adapted weight learns apart from its direction (Liu et al. 2024,
            arXiv:2402.09353).
        targets: names of linear layers in the encoder's transformer layers, whole or their last parts ("q_proj",
            "attention.q_proj"); None are those that are usual for the encoder.

    Raises:
        UserError: for a value out of its range.
    """

    rank: int
    alpha: float = 16.0
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    targets: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.rank < 1:
            raise UserError(f"lora.rank: expected 1 or more, got {self.rank}")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"lora.alpha: expected more than zero, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora.dropout: expected 0 or more and less than 1, got {self.dropout}")


class AdaptedModel(PeftModel):
    """A `PeftModel` whose folders hold all that learnt, and no card of peft's.

    peft saves modules only: the weights over layers of transformers' classifiers are a parameter outside of any, and
    would be lost with every checkpoint. Any `PeftModel` loads what is saved here.
    """

    def train(self, mode: bool = True) -> "AdaptedModel":
        """Batch norms of the encoder keep the statistics that they came with: no adapter would carry others."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and is_frozen(module):
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
        """Writes adapter_config.json and adapter_model.safetensors, as the Trainer asks for in a checkpoint."""
        if is_main_process:
            _write(self, Path(save_directory), None, state_dict)

    def prepare_model_for_gradient_checkpointing(self, model: PreTrainedModel) -> PreTrainedModel:
        """Nothing: checkpointing that is not reentrant, the default, needs no gradient at a layer's input, and many
        speech encoders have no input embeddings, where peft would ask for one (peft issue 1569)."""
        return model


def add_lora(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """Freezes the encoder and puts adapters beside its `targets`; adapters, head and weights over layers learn.

    The head is whatever stands outside the encoder. The first weights follow torch's seed, so seed first; the model
    computes what it did before.

    Args:
        model: a classifier on an encoder; its modules end up within the one returned.

    Raises:
        UserError: naming `lora.targets`, if one of them is no linear layer in the encoder's transformer layers;
            `lora.rank`, if it is more than a target's own can be; and for a model without an encoder.
    """
    where = structure(model, "lora")
    targets = _targets(model, where, lora.targets)
    smallest = min(targets, key=lambda name: min(model.get_submodule(name).weight.shape))
    most = min(model.get_submodule(smallest).weight.shape)
    if lora.rank > most:
        raise UserError(
            f"lora.rank: expected at most {most}, the smaller side of the weight of {smallest.rpartition('.')[2]}, "
            f"got {lora.rank}"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        target_modules=targets,
        modules_to_save=[
            name for name, child in model.named_children() if name != where.encoder and child.state_dict()
        ],
    )
    with warnings.catch_warnings():
        # peft asks for a property by a name that transformers is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = AdaptedModel(model, config)
    for parameter in model.parameters(recurse=False):
        parameter.requires_grad_(True)
    for stem in map(model.get_submodule, where.stem):
        # Those of wav2vec2's kin have their input require a gradient, and would keep a graph that nobody needs.
        if hasattr(stem, "_requires_grad"):
            stem._requires_grad = False
    return adapted


def _targets(model: PreTrainedModel, where: Structure, asked: tuple[str, ...] | None) -> list[str]:
    """Full names of the layers to adapt."""
    config = encoder_config(model.config)
    wanted = encoder_facts(config).lora_targets if asked is None else tuple(asked)
    linear = [
        f"{layer}.{name}"
        for layer in where.layers
        for name, module in model.get_submodule(layer).named_modules()
        if isinstance(module, nn.Linear)
    ]
    idle = NEVER_CALLED.get(config.model_type, ())
    there = sorted({name.rpartition(".")[2] for name in linear} - set(idle))
    chosen = set()
    for target in wanted:
        found = {name for name in linear if f".{name}".endswith(f".{target}")}
        if target.rpartition(".")[2] in idle:
            raise UserError(
                f"lora.targets: {config.model_type} reads the weights of {target} without calling it, so that an "
                f"adapter there would do nothing; there are {', '.join(there)}"
            )
        if not found:
            raise UserError(
                f"lora.targets: {target} is no linear layer in the transformer layers of {config.model_type}; there "
                f"are {', '.join(there)}"
            )
        chosen |= found
    return [name for name in linear if name in chosen]


def merged(model: nn.Module) -> PreTrainedModel:
    """A plain classifier that computes what an adapted one does, its encoder frozen; the adapted one stays as it is.

    Any other model is returned itself.
    """
    return copy.deepcopy(model).merge_and_unload() if isinstance(model, PeftModel) else model


def plain_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that a model has, and an adapted one once it is `merged`."""
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if not (isinstance(model, PeftModel) and ("original_module" in parts or "lora_" in name)):
            yield parameter


def save_adapter(model: PeftModel, folder: str | Path, base: str) -> None:
    """Writes what learnt, and nothing else: adapter_config.json and adapter_model.safetensors.

    ``PeftModel.from_pretrained(classifier, folder)`` restores it on any machine with peft, where the classifier has
    the encoder's published weights and the configuration of the adapted model (its labels and weights over layers).

    Args:
        base: Hub id of the encoder, or a folder, of which only the name is told.
    """
    _write(model, Path(folder), Path(base).name if Path(base).is_dir() else base, None)


def _write(model: PeftModel, folder: Path, base: str | None, state: Mapping[str, torch.Tensor] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict() if state is None else state
    tensors = get_peft_model_state_dict(model, state, save_embedding_layers=False)
    for name, _ in model.get_base_model().named_parameters(recurse=False):
        tensors[_BASE + name] = state[_BASE + name]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / SAFETENSORS_WEIGHTS_NAME, {"format": "pt"})
    config = copy.copy(model.peft_config[model.active_adapter])
    config.inference_mode, config.base_model_name_or_path = True, base
    # Sets, whose order changes from run to run.
    config.target_modules, config.modules_to_save = sorted(config.target_modules), sorted(config.modules_to_save)
    config.save_pretrained(folder)

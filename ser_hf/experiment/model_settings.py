"""The recipe's section `model`: one class for each network, and one for speech encoders.

The options of a network are those of its configuration (`ser_hf.models.options`), which has their
ranges and descriptions.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)

from ..utils.settings import PathName, Settings, Share, Width, converted
from ..utils.source_code import Kinds, class_fields

ENCODER = "encoder"


class ModelSettings(Settings):
    """The keys that all networks and encoders have in the section `model`."""

    architecture: Annotated[
        str, Field(description="a network of ser_hf by name, or `encoder` with a checkpoint")
    ]

    @classmethod
    def option_names(cls) -> list[str]:
        """The fields that belong to the configuration of the network."""
        return []

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the configuration of the network or encoder, with their values.

        These are some of the fields, and all keys that are no field.
        """
        values = {name: getattr(self, name) for name in self.option_names()}
        return values | (self.model_extra or {})

    @property
    def plan(self) -> dict[str, Any]:
        """The arguments of `ser_hf.loading.plan.blueprint` that this section decides."""
        keys = [key for key in type(self).model_fields if key not in self.options]
        return {key: getattr(self, key) for key in keys} | {"options": self.options}


class NetworkSettings(ModelSettings):
    """A network of ser_hf, trained from random weights or from another model of ser_hf."""

    checkpoint: Annotated[
        PathName | None,
        Field(
            description="the model that training starts from: a run, a model folder or a Hub id; "
            "architecture and options may then be left out"
        ),
    ] = None
    revision: Annotated[
        str | None, Field(description="branch, tag or commit of a checkpoint on the Hub")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_keys_of_encoders(cls, values: Any) -> Any:
        for key in values if isinstance(values, Mapping) else ():
            if key in EncoderSettings.model_fields and key not in cls.model_fields:
                architecture = values.get("architecture")
                raise ValueError(f"{key}: belongs to architecture encoder, not to {architecture}")
        return values

    @classmethod
    def option_names(cls) -> list[str]:
        """The fields that belong to the configuration of the network."""
        chosen_here = (*ModelSettings.model_fields, *TransferredSettings.model_fields)
        return [name for name in cls.model_fields if name not in chosen_here]


class TransferredSettings(NetworkSettings):
    """A network of ser_hf for which other projects have published weights."""

    checkpoint: Annotated[
        PathName | None,
        Field(
            description="the file of the published weights, or the model that training starts "
            "from: a run, a model folder or a Hub id"
        ),
    ] = None
    random_init: Annotated[
        bool, Field(description="train from random weights in place of the published ones")
    ] = False


def _distinct(names: list[str]) -> list[str]:
    """Check that each output has another name."""
    for name in names:
        if not name.strip():
            raise ValueError("a name is empty; name each output")
        if names.count(name) > 1:
            raise ValueError(f"{name!r:.100} occurs twice; give each output another name")
    return names


# More outputs than any classifier of emotions has.
LabelNames = Annotated[list[str], Field(min_length=1, max_length=1000), AfterValidator(_distinct)]


class EncoderSettings(ModelSettings):
    """A speech encoder: any `AutoModelForAudioClassification` checkpoint.

    All other keys belong to the configuration of the encoder.
    """

    model_config = ConfigDict(extra="allow")

    architecture: Annotated[
        Literal["encoder"], Field(description="a speech encoder with a checkpoint")
    ] = "encoder"
    checkpoint: Annotated[PathName | None, Field(description="Hub id, model folder or run")] = None
    revision: Annotated[
        str | None, Field(description="branch, tag or commit of a checkpoint on the Hub")
    ] = None
    random_init: Annotated[
        bool, Field(description="use the checkpoint's configuration with random weights")
    ] = False
    label_names: Annotated[
        LabelNames | None,
        Field(
            description="names of the outputs of the checkpoint's classifier, in their order, such "
            "as for LABEL_0, LABEL_1; the rows of labels of the corpus are kept; null: the names "
            "in its configuration"
        ),
    ] = None
    weighted_layer_sum: Annotated[
        bool, Field(description="classify a trained weighted sum of all layers, not the last one")
    ] = False
    pooling: Annotated[
        Literal["mean", "max", "mean_std", "attention", "attentive_stats", "attentive_frame_stats"]
        | None,
        Field(description="pooling over time in a head of ser_hf; null: the stock head"),
    ] = None
    head_layers: Annotated[
        list[Width], Field(description="sizes of hidden layers in a head of ser_hf")
    ] = []
    head_dropout: Annotated[Share, Field(description="dropout in a head of ser_hf")] = 0.0
    attention: Annotated[
        Literal["eager", "sdpa", "flash_attention_2"] | None,
        Field(description="implementation of attention; null: transformers chooses"),
    ] = None
    window: Annotated[
        Annotated[int, Field(ge=1, le=30)] | None,
        Field(description="seconds to which the input of Whisper is shortened, 30 by default"),
    ] = None


def architectures() -> list[str]:
    """The values of `model.architecture`."""
    from ..models import ARCHITECTURES

    return [*ARCHITECTURES, ENCODER]


@functools.cache
def model_settings(architecture: str) -> type[ModelSettings]:
    """The class of the section `model` for a network; it has a field for each network option."""
    from ..models import ARCHITECTURES, TRANSFERRED
    from ..models.options import options_of

    if architecture == ENCODER:
        return EncoderSettings
    network = ARCHITECTURES[architecture]
    base = TransferredSettings if architecture in TRANSFERRED else NetworkSettings
    name = network.config_class.__name__.removesuffix("Config")
    chosen = Annotated[Literal[architecture], Field(description="a network of ser_hf")]
    fields: dict[str, Any] = {"architecture": (chosen, architecture)}
    for option in options_of(network.config_class).values():
        if option.name != "sampling_rate":  # set by audio.sampling_rate
            fields[option.name] = (_annotation(option), _default(option))
    return create_model(
        f"{name}Settings", __base__=base, __doc__=f"The network `{architecture}`.", **fields
    )


def _annotation(option: Any) -> Any:
    """The type of the field for an option of a network, with its checks and its description."""
    kind = option.kind | None if option.nullable else option.kind
    null_means_off = not option.nullable and not option.default

    def convert(value: Any) -> Any:
        if value is None and null_means_off:
            return _default(option)
        return converted(value, kind)

    def check(value: Any) -> Any:
        if not option.allows(value):
            raise ValueError(f"expected {option.expected}, got {value!r:.200}")
        return float(value) if option.kind is float and isinstance(value, int) else value

    schema = option.json_schema()
    if null_means_off:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return Annotated[
        Any,
        BeforeValidator(convert),
        AfterValidator(check),
        WithJsonSchema(schema),
        Field(description=option.description),
    ]


def _default(option: Any) -> Any:
    """The default value of an option in a recipe: YAML has lists, not tuples."""
    if isinstance(option.default, tuple):
        return list(option.default)
    if option.kind is float and isinstance(option.default, int):
        return float(option.default)
    return option.default


def known_keys(architecture: str) -> dict[str, Kinds | None] | None:
    """The keys of the section `model` for a network of ser_hf, found without importing torch.

    The keys and the types of their values are read from the source code of the networks. Importing
    the networks takes seconds, and a wrong key should be reported at once.

    Returns:
        {key: the types of its value beside null; None if they are unknown}; None for other
        architectures.
    """
    classes = _fields_of_networks()
    name_of_class = {name.removesuffix("Config").lower(): name for name in classes}
    configuration = name_of_class.get(architecture.replace("_", "").lower())
    if configuration is None:
        return None
    keys = dict.fromkeys(TransferredSettings.model_fields) | classes[configuration]
    del keys["sampling_rate"]
    return keys


@functools.cache
def _fields_of_networks() -> dict[str, dict[str, Kinds | None]]:
    """The fields of each class in the source code of the networks.

    Reading them takes 70 ms, and a sweep reads a recipe several times for each trial.
    """
    models = Path(__file__).parents[1] / "models"
    return class_fields(*models.glob("*.py"))

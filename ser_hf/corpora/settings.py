"""The settings that every corpus has: keys of the section `corpus` of a recipe, and their checks.

Each corpus module has a subclass with its options. The type, range, default and description of a
key are only defined in its class.
"""

import math
import os
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..utils.files import require_utf8
from ..utils.names import composed
from ..utils.settings import OneOf, PathName, Settings

OnUnknown = Literal["error", "skip"]


def path_text(value: Any) -> Any:
    """Convert a `pathlib.Path` to text; another value is unchanged.

    Raises:
        UserError: if a path is not UTF-8, because tables of clips cannot contain it.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(text, str):
        require_utf8(text)
    return text


# A path in a recipe is text; Python code may also give a `pathlib.Path`.
AnyPath = Annotated[PathName, BeforeValidator(path_text)]


def refuse(value: Any, message: str, *path: str | int) -> NoReturn:
    """Raise the pydantic error for a wrong value. A validator of settings calls this function.

    Unlike a `ValueError`, this error names the key: ``refuse(value, "...", "merge", "calm")`` names
    ``merge.calm`` below the settings.

    Args:
        value: the wrong value.
        message: what is wrong, without the key.
        path: the steps from the settings to the value.
    """
    # Braces in the message are kept: pydantic only replaces them if the error has a context.
    problem = PydanticCustomError("wrong_value", message)
    detail = InitErrorDetails(type=problem, loc=path, input=value)
    raise ValidationError.from_exception_data("settings", [detail])


def _corpus_names() -> list[str]:
    from .registry import SINGLE_CORPORA  # the registry imports this module

    return list(SINGLE_CORPORA)


def _item_class(name: str) -> type[Settings]:
    from .mixture import item_class  # the mixture imports this module

    return item_class(name)


# An item has the keys of its corpus and `merge`, `drop`, `weight` and `cap`, as in a mixture.
AuxiliaryItem = Annotated[
    SerializeAsAny[Settings], OneOf("name", _corpus_names, _item_class, noun="corpus")
]


class CorpusSettings(Settings):
    """The recordings and their classes: the keys that every corpus has."""

    name: Annotated[str, Field(description="the corpus")]
    root: Annotated[
        AnyPath | None, Field(description="the folder of the audio, or the table of the clips")
    ] = None
    labels: Annotated[
        list[str] | None,
        Field(description="the classes in the order of their ids; null: all emotions left"),
    ] = None
    merge: Annotated[
        dict[str, str], Field(description="emotion: the class that its clips get")
    ] = {}
    drop: Annotated[list[str], Field(description="emotions whose clips are left out")] = []
    exclude: Annotated[list[str], Field(description="ids of clips to leave out")] = []
    targets: Annotated[
        list[str], Field(description="columns of ratings, for the task dimensions")
    ] = []
    ranges: Annotated[
        dict[str, list[float]],
        Field(description="target: its lowest and highest rating, such as [1, 5]"),
    ] = {}
    partial: Annotated[
        bool,
        Field(
            description="for the task emotions+dimensions: also use clips that have a label only, "
            "or ratings only, each for that; clips of dropped emotions have ratings only"
        ),
    ] = False
    positive_share: Annotated[
        Annotated[float, Field(ge=0, lt=1)] | None,
        Field(
            description="for the task multi_label: a class is true for a clip if it has more than "
            "this share of the votes; null: 1 / the number of classes"
        ),
    ] = None
    on_unknown: Annotated[
        OnUnknown,
        Field(description="what to do with files and rows that the corpus does not describe"),
    ] = "error"
    auxiliary: Annotated[
        list[AuxiliaryItem],
        Field(
            description="other corpora, whose clips join the training split only: for each its "
            "name, root, merge, drop, weight, cap and options"
        ),
    ] = []
    download: Annotated[bool, Field(description="download missing files of the corpus first")] = (
        False
    )

    @field_validator("labels", "drop")
    @classmethod
    def _compose_labels(cls, labels: list[str] | None) -> list[str] | None:
        return None if labels is None else [composed(label) for label in labels]

    @field_validator("merge")
    @classmethod
    def _compose_merge(cls, merge: dict[str, str]) -> dict[str, str]:
        return {composed(emotion): composed(target) for emotion, target in merge.items()}

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, targets: list[str]) -> list[str]:
        for name in targets:
            usable = name.strip() and name.isprintable() and len(name) <= 100
            if not usable or targets.count(name) > 1:
                raise ValueError(f"expected the names of columns, each once, got {name!r}")
        return targets

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name, bounds in self.ranges.items():
            if name not in self.targets:
                message = "not in corpus.targets; list it there, or leave it out"
                refuse(bounds, message, "ranges", name)
            finite = len(bounds) == 2 and all(map(math.isfinite, bounds))
            if not finite or bounds[0] >= bounds[1]:
                message = f"expected [lowest, highest], such as [1, 5], got {bounds}"
                refuse(bounds, message, "ranges", name)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keys that only this corpus has, with their values."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in CorpusSettings.model_fields
        }

    @property
    def changed_keys(self) -> dict[str, Any]:
        """The options, and the common keys that differ from their defaults, without the root."""
        common = {}
        for key, field in CorpusSettings.model_fields.items():
            value = getattr(self, key)
            if key not in ("name", "root", "download") and value != field.default:
                common[key] = value
        return common | self.options

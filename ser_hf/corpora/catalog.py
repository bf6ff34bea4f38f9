"""Every corpus by name, mixtures included: its settings, and its metadata for cards and reports."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ..utils.errors import UserError
from ..utils.plugins import WithPlugins
from ..utils.settings import Settings
from ..utils.yaml import Range, coerce, unknown_key
from . import mixture
from .metadata import Metadata, combined
from .registry import OWN_CORPORA, SINGLE_CORPORA, check_plugin, class_of_settings, metadata_of
from .settings import CorpusSettings, path_text

# Name in recipes -> module.
CORPORA: Mapping[str, ModuleType] = WithPlugins(
    dict(sorted({**OWN_CORPORA, "mixture": mixture}.items())), "ser_hf.corpora", check_plugin
)


def settings_class(name: str) -> type[CorpusSettings]:
    """The class that holds the keys of a corpus.

    Raises:
        UserError: for an unknown corpus.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    return class_of_settings(CORPORA[name])


def corpus_settings(name: str, root: str | Path | None = None, **values: Any) -> CorpusSettings:
    """The settings of a corpus from the values of its keys, as a recipe or Python code has them.

    Raises:
        UserError: naming the key that is unknown or wrong.
    """
    settings = settings_class(name)
    coerced = _coerced(settings, {"root": root, **values}, "corpus")
    if name == "mixture" and coerced.get("corpora"):
        coerced["corpora"] = [
            _coerced_item(item, f"corpus.corpora[{position}]")
            for position, item in enumerate(coerced["corpora"])
        ]
    return _validated(settings, {"name": name, **coerced}, "corpus")


def corpus_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> dict[str, Any]:
    """The metadata of a corpus for cards and reports.

    Args:
        name: a key of `CORPORA`.
        options: of the corpus; for a user's table the metadata themselves.
        trained_on: limits a mixture to these of its corpora.

    Returns:
        The fields of `ser_hf.corpora.metadata.Metadata`.
    """
    each = _metadata_of_each(name, options, trained_on)
    metadata = combined(each) if name == "mixture" else each[0]
    return dataclasses.asdict(metadata)


def corpora_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> list[dict[str, Any]]:
    """`corpus_facts` of each corpus of a mixture; for any other corpus a list of one."""
    each = _metadata_of_each(name, options, trained_on)
    return [dataclasses.asdict(metadata) for metadata in each]


def _metadata_of_each(
    name: str, options: Mapping[str, Any], trained_on: Collection[str]
) -> list[Metadata]:
    """The metadata of each corpus of a mixture, or of the one corpus."""
    if name == "mixture" and not options.get("corpora"):
        return []
    settings = corpus_settings(name, **options)
    if isinstance(settings, mixture.MixtureSettings):
        return mixture.metadata_of_each(settings, trained_on)
    return [metadata_of(settings)]


def corpus_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the keys of a corpus that others do not have."""
    options = {}
    for key, field in settings_class(name).model_fields.items():
        if key not in CorpusSettings.model_fields:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            options[key] = (_annotation(field), default)
    return options


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a corpus, or of each corpus of a mixture, and add all defaults; no file
    is read.
    """
    values = corpus_settings(name, **options).model_dump()
    return {key: value for key, value in values.items() if key not in CorpusSettings.model_fields}


def _coerced_item(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The values of an item of a mixture as the types of its class."""
    name = item.get("name")
    if not isinstance(name, str) or name not in SINGLE_CORPORA:
        return dict(item)
    return _coerced(mixture.item_class(name), item, key)


def _coerced(settings: type[Settings], values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The values as the types of the fields."""
    fields = settings.model_fields
    coerced = {}
    for name, value in values.items():
        path = f"{key}.{name}"
        if name not in fields:
            raise unknown_key(path, fields)
        if name in ("root", "audio_root", "tables"):
            value = path_text(value)
        coerced[name] = coerce(value, _annotation(fields[name]), path)
    return coerced


def _validated(settings: type[Settings], values: Mapping[str, Any], key: str) -> Any:
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = key
        for step in first["loc"]:
            path += f"[{step}]" if isinstance(step, int) else f".{step}"
        raise UserError(f"{path}: {first['msg'].removeprefix('Value error, ')}") from None


def _annotation(field: FieldInfo) -> Any:
    """The annotation of a field with its range in the form of `ser_hf.utils.yaml.coerce`."""
    if any(getattr(item, "__name__", "") == "MixtureItem" for item in _parts(field.annotation)):
        return list[dict[str, Any]] | None
    bounds = {Ge: "min", Le: "max", Gt: "above", Lt: "below"}
    attributes = {Ge: "ge", Le: "le", Gt: "gt", Lt: "lt"}
    limits = {}
    others = []
    for item in field.metadata:
        kind = type(item)
        if kind in bounds:
            limits[bounds[kind]] = getattr(item, attributes[kind])
        else:
            others.append(item)
    annotation = field.annotation
    for extra in [*others, *([Range(**limits)] if limits else [])]:
        annotation = _annotated(annotation, extra)
    return annotation


def _parts(annotation: Any) -> list[Any]:
    parts = [annotation]
    for part in get_args(annotation):
        parts += _parts(part)
    return parts


def _annotated(annotation: Any, extra: Any) -> Any:
    """The annotation with an extra; of a union, each member but None has it."""
    if get_origin(annotation) in (Union, UnionType):
        members = [
            part if part is type(None) else Annotated[part, extra] for part in get_args(annotation)
        ]
        return Union[tuple(members)]  # noqa: UP007
    return Annotated[annotation, extra]

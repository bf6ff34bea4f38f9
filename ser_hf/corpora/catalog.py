"""Every corpus by name, mixtures included: its settings, and its metadata for cards and reports."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..utils.errors import UserError
from ..utils.plugins import WithPlugins
from ..utils.validation import validated
from . import mixture
from .metadata import Metadata, combined
from .registry import OWN_CORPORA, check_plugin, class_of_settings, metadata_of
from .settings import CorpusSettings

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
    return validated(settings_class(name), {"name": name, "root": root, **values}, "corpus")


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

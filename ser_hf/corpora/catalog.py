"""Settings and metadata of every corpus by its name, including mixtures."""

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
    """The settings class of a corpus.

    Raises:
        UserError: if there is no corpus with this name.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    return class_of_settings(CORPORA[name])


def corpus_settings(name: str, root: str | Path | None = None, **values: Any) -> CorpusSettings:
    """Make the checked settings of a corpus from the values of its keys.

    Raises:
        UserError: if a key is unknown or its value is wrong; the message names the key.
    """
    return validated(settings_class(name), {"name": name, "root": root, **values}, "corpus")


def corpus_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> dict[str, Any]:
    """The metadata of a corpus for cards and reports, as a dict.

    Args:
        name: a key of `CORPORA`.
        options: the options of the corpus; for a user's table they include the metadata.
        trained_on: the names of the corpora of a mixture to describe; empty for all.

    Returns:
        The fields of `ser_hf.corpora.metadata.Metadata`.
    """
    all_metadata = _metadata_of_each(name, options, trained_on)
    metadata = combined(all_metadata) if name == "mixture" else all_metadata[0]
    return dataclasses.asdict(metadata)


def corpora_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The metadata of each corpus of a mixture; a list of one item for any other corpus.

    The arguments and the dicts are those of `corpus_facts`.
    """
    all_metadata = _metadata_of_each(name, options, trained_on)
    return [dataclasses.asdict(metadata) for metadata in all_metadata]


def _metadata_of_each(
    name: str, options: Mapping[str, Any], trained_on: Collection[str]
) -> list[Metadata]:
    """The metadata of each corpus of a mixture; a list of one item for any other corpus."""
    if name == "mixture" and not options.get("corpora"):
        return []
    settings = corpus_settings(name, **options)
    if isinstance(settings, mixture.MixtureSettings):
        return mixture.metadata_of_each(settings, trained_on)
    return [metadata_of(settings)]

"""Corpora: one module each, from official file names to rows. The table below is the registry."""

import dataclasses
import inspect
import logging
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import UserError
from . import cremad, ravdess, synthetic
from .labels import treat_labels
from .schema import EMOTIONS, Clip, Listing, require_unique_ids, to_dataset

__all__ = ["CORPORA", "EMOTIONS", "Clip", "Listing", "corpus_options", "load_corpus"]

logger = logging.getLogger(__name__)

CORPORA = {"cremad": cremad, "ravdess": ravdess, "synthetic": synthetic}


def corpus_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options that a corpus's parser takes beside root and on_unknown."""
    parse = CORPORA[name].parse
    hints = typing.get_type_hints(parse)
    return {
        option: (hints[option], parameter.default)
        for option, parameter in inspect.signature(parse).parameters.items()
        if option not in ("root", "on_unknown")
    }


def load_corpus(
    name: str,
    root: str | Path | None = None,
    *,
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    on_unknown: str = "error",
    sampling_rate: int = 16000,
    **options: Any,
) -> Dataset:
    """The rows of a corpus as a `datasets.Dataset`, in the order of their ids, with nothing decoded yet.

    Args:
        name: a key of `CORPORA`.
        root: the folder that holds the audio.
        labels, merge, drop: see `ser_hf.corpora.labels.treat_labels`.
        on_unknown: ``"error"`` or ``"skip"`` for file names outside the corpus's grammar.
        options: what the corpus's own `parse` takes.

    Raises:
        UserError: naming the file or key.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is none of {', '.join(CORPORA)}")
    listing = CORPORA[name].parse(root=root, on_unknown=on_unknown, **options)
    if listing.skipped:
        logger.warning("%d files skipped:", len(listing.skipped))
        for path, reason in listing.skipped:
            logger.warning("  %s: %s", path, reason)
    if not listing.clips:
        raise UserError(
            f"corpus.root: {root} holds no clip of {name} to learn from ({len(listing.skipped)} files skipped)"
        )
    clips = sorted(listing.clips, key=lambda clip: clip.id)
    require_unique_ids(clips)
    treatment = treat_labels(clips, labels, merge, drop)
    for source, (target, count) in sorted(treatment.fate.items()):
        if source != target:
            logger.info("%d clips of %s: %s", count, source, f"counted as {target}" if target else "dropped")
    kept = dataclasses.replace(listing, clips=[clips[i] for i in treatment.kept])
    return to_dataset(kept, treatment.emotions, treatment.labels, sampling_rate)

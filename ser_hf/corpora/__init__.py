"""Corpora: one module each, from official file names to rows; `mixture` is several of them.

The table below is the registry."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import UserError
from . import mixture, single
from .labels import treat_labels
from .schema import EMOTIONS, Clip, Listing, require_unique_ids, to_dataset
from .single import SINGLE, checked, parser_options

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "Clip",
    "Listing",
    "complete_options",
    "corpus_facts",
    "corpus_options",
    "load_corpus",
]

logger = logging.getLogger(__name__)

_LISTED = 8

CORPORA = dict(sorted({**SINGLE, "mixture": mixture}.items()))


def corpus_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options that a corpus's parser takes beside root and on_unknown."""
    return parser_options(CORPORA[name])


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a resolved recipe has them: checked, defaults written out, those of a mixture's corpora too.

    Raises:
        UserError: naming the key that is unknown or ill-typed, before any file is touched.
    """
    known = corpus_options(name)
    complete = checked({option: default for option, (_, default) in known.items()} | dict(options), known, "corpus")
    return complete | {"corpora": mixture.completed(complete["corpora"])} if name == "mixture" else complete


def load_corpus(
    name: str,
    root: str | Path | None = None,
    *,
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_unknown: str = "error",
    sampling_rate: int = 16000,
    **options: Any,
) -> Dataset:
    """The rows of a corpus as a `datasets.Dataset`, in the order of their ids, with nothing decoded yet.

    Args:
        name: a key of `CORPORA`.
        root: the folder that holds the audio.
        labels, merge, drop: see `ser_hf.corpora.labels.treat_labels`.
        exclude: ids to leave out, such as ``ravdess/03-01-05-01-01-01-12``.
        on_unknown: ``"error"`` or ``"skip"`` for file names outside the corpus's grammar.
        options: what the corpus's own `parse` takes.

    Raises:
        UserError: naming the file or key.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is none of {', '.join(CORPORA)}")
    listing = CORPORA[name].parse(root=root, on_unknown=on_unknown, **complete_options(name, options))
    _tell_skipped(listing)
    if not listing.clips:
        raise UserError(
            f"corpus.root: {root} holds no clip of {name} to learn from ({len(listing.skipped)} files skipped)"
        )
    clips = sorted(listing.clips, key=lambda clip: clip.id)
    require_unique_ids(clips)
    clips = _without(clips, exclude)
    treatment = treat_labels(clips, labels, merge, drop)
    for source, (target, count) in sorted(treatment.fate.items()):
        if source != target:
            logger.info("%d clips of %s: %s", count, source, f"counted as {target}" if target else "dropped")
    kept = dataclasses.replace(listing, clips=[clips[i] for i in treatment.kept])
    return to_dataset(kept, treatment.emotions, treatment.labels, sampling_rate, treatment.votes)


def _without(clips: list[Clip], exclude: Sequence[str]) -> list[Clip]:
    known = {clip.id for clip in clips}
    for clip_id in exclude:
        if clip_id not in known:
            raise UserError(f"corpus.exclude: no clip {clip_id!r} (they read like {clips[0].id})")
    if exclude:
        logger.warning("left out, listed in corpus.exclude: %d", len(set(exclude)))
    return [clip for clip in clips if clip.id not in set(exclude)]


def corpus_facts(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What cards and reports say of a corpus: name, title, license, language, url, citation, acted, non_commercial.

    A table of the user's own knows no more than its options say (`facts` of its module). Of a mixture `license` and
    `language` are a list where its corpora differ.
    """
    if name == "mixture":
        return {"name": name, **mixture.facts(**options)}
    return single.facts(name, options)


def _tell_skipped(listing: Listing) -> None:
    """Each reason with its number of files and the first few of them: nothing is left out silently."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in listing.skipped:
        by_reason.setdefault(reason, []).append(path)
    for reason, paths in by_reason.items():
        logger.warning("left out, %s: %d", reason, len(paths))
        for path in paths[:_LISTED]:
            logger.warning("  %s", path)
        if len(paths) > _LISTED:
            logger.warning("  ... and %d more", len(paths) - _LISTED)

"""Corpora: one module each, from official file names to rows; `mixture` is several of them.

The table below is the registry."""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from ..utils.files import require_utf8
from . import mixture, registry
from .labels import Source, sources_facts, sources_of, sources_table, treat_labels
from .mixture import Mixed, beyond_caps, require_clips_of_all
from .registry import SINGLE, checked, parser_options
from .schema import EMOTIONS, Clip, Listing, require_unique_ids, to_dataset

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "Clip",
    "Corpus",
    "Listing",
    "complete_options",
    "corpora_facts",
    "corpus_facts",
    "corpus_options",
    "load_corpus",
    "read_corpus",
    "sources_facts",
]

logger = logging.getLogger(__name__)

_LISTED = 8

CORPORA = dict(sorted({**SINGLE, "mixture": mixture}.items()))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus as a recipe asks for it: its rows, what became of every label of its files, and by corpus how often an
    epoch meets its training clips (1 where a mixture says nothing else; empty for one corpus)."""

    dataset: Dataset
    sources: list[Source]
    weights: dict[str, float]


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


def load_corpus(name: str, root: str | Path | None = None, **settings: Any) -> Dataset:
    """The rows of a corpus as a `datasets.Dataset`, in the order of their ids, with nothing decoded yet: the `dataset`
    of `read_corpus`, which says what it takes and raises."""
    return read_corpus(name, root, **settings).dataset


def read_corpus(
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
) -> Corpus:
    """Reads a corpus and tells what becomes of every label of its files.

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
    options = complete_options(name, options)
    for place in (root, options.get("audio_root"), *(item["root"] for item in options.get("corpora") or ())):
        require_utf8(place or "")
    listing = CORPORA[name].parse(root=root, on_unknown=on_unknown, **options)
    _tell_skipped(listing)
    if not listing.clips:
        raise UserError(
            f"corpus.root: {root} holds no clip of {name} to learn from ({len(listing.skipped)} files skipped)"
        )
    members = listing.members if isinstance(listing, Mixed) else {}
    everything = sorted(listing.clips, key=lambda clip: clip.id)
    require_unique_ids(everything)
    clips = _without(everything, exclude)
    treatment = treat_labels(clips, labels, merge, drop, {corpus: member.rule for corpus, member in members.items()})
    if members:
        require_clips_of_all(listing, clips, treatment.kept)
    over = beyond_caps(listing, [clips[i] for i in treatment.kept], treatment.emotions) if members else {}
    left_out = {i: "dropped" for i, target in enumerate(treatment.targets) if target is None}
    left_out |= {treatment.kept[place]: why for place, why in over.items()}
    stays = [place for place, i in enumerate(treatment.kept) if i not in left_out]
    emotions = [treatment.emotions[place] for place in stays]
    kept = dataclasses.replace(listing, clips=[clips[treatment.kept[place]] for place in stays])
    votes = treatment.votes and [treatment.votes[place] for place in stays]
    kept = dataclasses.replace(kept, clips=[_merged(clip, merge or {}) for clip in kept.clips])

    outcomes = [(clip, label, None) for clip, label in zip(kept.clips, emotions, strict=True)]
    outcomes += [(clips[i], None, why) for i, why in left_out.items()]
    outcomes += [(clip, None, "corpus.exclude") for clip in everything if clip.id in set(exclude)]
    listings = {corpus: own.listing for corpus, own in members.items()} or {listing.corpus: listing}
    skipped = [(corpus, why) for corpus, own in listings.items() for _, why in own.skipped]
    sources = sources_of(outcomes, skipped, listing.corpus)
    logger.info("%s", sources_table(sources))
    dataset = to_dataset(kept, emotions, treatment.labels, sampling_rate, votes)
    return Corpus(dataset, sources, {corpus: member.item["weight"] for corpus, member in members.items()})


def _merged(clip: Clip, merge: Mapping[str, str]) -> Clip:
    """The clip with what its speaker meant or raters perceived counted as its label is."""
    words = {name: clip.extra[name] for name in ("intended", "perceived") if clip.extra.get(name) in merge}
    if not words:
        return clip
    return dataclasses.replace(clip, extra={**clip.extra, **{name: merge[word] for name, word in words.items()}})


def _without(clips: list[Clip], exclude: Sequence[str]) -> list[Clip]:
    known = {clip.id for clip in clips}
    for clip_id in exclude:
        if clip_id not in known:
            raise UserError(f"corpus.exclude: no clip {clip_id!r} (they read like {clips[0].id})")
    if exclude:
        logger.warning("left out, listed in corpus.exclude: %d", len(set(exclude)))
    excluded = set(exclude)
    return [clip for clip in clips if clip.id not in excluded]


def corpus_facts(name: str, options: Mapping[str, Any], learnt: Collection[str] = ()) -> dict[str, Any]:
    """What cards and reports say of a corpus: name, title, license, language, url, citation, acted, non_commercial.

    A table of the user's own knows no more than its options say (`facts` of its module). Of a mixture `license` and
    `language` are a list where its corpora differ, and only the corpora `learnt` from are told, where it is given
    (`ser_hf.corpora.mixture.learnt_items`).
    """
    if name == "mixture":
        if learnt:
            options = {**options, "corpora": mixture.learnt_items(options["corpora"], learnt)}
        return {"name": name, **mixture.facts(**options)}
    return registry.facts(name, options)


def corpora_facts(name: str, options: Mapping[str, Any], learnt: Collection[str] = ()) -> list[dict[str, Any]]:
    """What `corpus_facts` says, of each corpus of a mixture by itself; of any other corpus that one alone."""
    if name != "mixture":
        return [corpus_facts(name, options)]
    items = mixture.learnt_items(options["corpora"], learnt) if learnt else options.get("corpora")
    return mixture.facts_of_each(items)


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

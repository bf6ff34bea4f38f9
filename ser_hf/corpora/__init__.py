"""Corpora: one module each, which reads rows from official file names. The table is in `registry`; `mixture` combines
several corpora."""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from ..utils.files import require_utf8
from . import mixture, registry
from .labels import Source, label_sources, sources_facts, sources_table, treat_labels
from .mixture import Mixed, beyond_caps, require_clips_of_all
from .registry import SINGLE_CORPORA, checked, parser_options
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

_LISTED = 8  # skipped files of one reason in the log

CORPORA = dict(sorted({**SINGLE_CORPORA, "mixture": mixture}.items()))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus as a recipe selects it: its rows, the class of every label in its files, and the `weight` of each
    corpus of a mixture (else empty)."""

    dataset: Dataset
    sources: list[Source]
    weights: dict[str, float]


def corpus_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options of a corpus, without root and on_unknown."""
    return parser_options(CORPORA[name])


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options with all defaults, of a mixture's corpora too, without reading any file.

    Raises:
        UserError: naming the key that is unknown or of a wrong type.
    """
    known = corpus_options(name)
    complete = checked({option: default for option, (_, default) in known.items()} | dict(options), known, "corpus")
    return complete | {"corpora": mixture.completed(complete["corpora"])} if name == "mixture" else complete


def load_corpus(name: str, root: str | Path | None = None, **settings: Any) -> Dataset:
    """The rows of a corpus as a `datasets.Dataset`, in the order of their ids, not decoded. See `read_corpus`."""
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
    """Reads a corpus and logs the class of every label in its files.

    Args:
        name: a key of `CORPORA`.
        root: the folder of the audio.
        labels, merge, drop: see `ser_hf.corpora.labels.treat_labels`.
        exclude: ids to leave out, such as ``ravdess/03-01-05-01-01-01-12``.
        on_unknown: ``"error"`` or ``"skip"`` for file names outside the corpus's grammar.
        options: what the corpus's own `parse` takes.

    Raises:
        UserError: naming the file or key.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is not one of {', '.join(CORPORA)}")
    options = complete_options(name, options)
    for place in (root, options.get("audio_root"), *(item["root"] for item in options.get("corpora") or ())):
        require_utf8(place or "")
    listing = CORPORA[name].parse(root=root, on_unknown=on_unknown, **options)
    _log_skipped(listing)
    if not listing.clips:
        raise UserError(f"corpus.root: {root} holds no clip of {name} ({len(listing.skipped)} files skipped)")
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
    sources = label_sources(outcomes, skipped, listing.corpus)
    logger.info("%s", sources_table(sources))
    dataset = to_dataset(kept, emotions, treatment.labels, sampling_rate, votes)
    return Corpus(dataset, sources, {corpus: member.item["weight"] for corpus, member in members.items()})


def _merged(clip: Clip, merge: Mapping[str, str]) -> Clip:
    """The clip with its intended and perceived emotions merged as its label is."""
    words = {name: clip.extra[name] for name in ("intended", "perceived") if clip.extra.get(name) in merge}
    if not words:
        return clip
    return dataclasses.replace(clip, extra={**clip.extra, **{name: merge[word] for name, word in words.items()}})


def _without(clips: list[Clip], exclude: Sequence[str]) -> list[Clip]:
    known = {clip.id for clip in clips}
    for clip_id in exclude:
        if clip_id not in known:
            raise UserError(f"corpus.exclude: no clip {clip_id!r} (ids look like {clips[0].id})")
    if exclude:
        logger.warning("left out, listed in corpus.exclude: %d", len(set(exclude)))
    excluded = set(exclude)
    return [clip for clip in clips if clip.id not in excluded]


def corpus_facts(name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()) -> dict[str, Any]:
    """Metadata for cards and reports: name, title, license, language, url, citation, acted, non_commercial.

    Of a user's table they come from its options. Of a mixture `license` and `language` are lists if its corpora
    differ, and `trained_on` limits it to these corpora.
    """
    if name == "mixture":
        if trained_on:
            options = {**options, "corpora": mixture.select_items(options["corpora"], trained_on)}
        return {"name": name, **mixture.facts(**options)}
    return registry.facts(name, options)


def corpora_facts(name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()) -> list[dict[str, Any]]:
    """`corpus_facts` of each corpus of a mixture; of another corpus a list with one entry."""
    if name != "mixture":
        return [corpus_facts(name, options)]
    items = mixture.select_items(options["corpora"], trained_on) if trained_on else options.get("corpora")
    return mixture.facts_of_each(items)


def _log_skipped(listing: Listing) -> None:
    """Logs each reason with its number of files and the first of them."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in listing.skipped:
        by_reason.setdefault(reason, []).append(path)
    for reason, paths in by_reason.items():
        logger.warning("left out, %s: %d", reason, len(paths))
        for path in paths[:_LISTED]:
            logger.warning("  %s", path)
        if len(paths) > _LISTED:
            logger.warning("  ... and %d more", len(paths) - _LISTED)

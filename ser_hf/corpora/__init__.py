"""Corpora: one module each, which reads rows from official file names; `mixture` combines several
corpora.
"""

import dataclasses
import importlib
import inspect
import logging
import typing
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from ..utils.files import require_utf8
from ..utils.plugins import WithPlugins
from ..utils.yaml import coerce, unknown_key
from .schema import (
    EMOTIONS,
    Clip,
    Listing,
    Rule,
    Source,
    custom_labels,
    label_sources,
    require_unique_ids,
    sources_facts,
    sources_table,
    to_dataset,
    treat_labels,
)
from .targets import check_targets, rating, scaled_targets

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

_FACTS = ("title", "license", "language", "url", "citation", "acted")


def _check_plugin(name: str, module: ModuleType) -> None:
    """Raise a ValueError unless the module of another package can be used as a corpus."""
    if not {"root", "on_unknown"} <= {
        *inspect.signature(getattr(module, "parse", print)).parameters
    }:
        raise ValueError(
            "a corpus is a module with a function parse(root, on_unknown), which returns a Listing"
        )
    if missing := [fact.upper() for fact in _FACTS if not hasattr(module, fact.upper())]:
        raise ValueError(f"its module has no {', '.join(missing)}; None stands for an unknown fact")


# Name in recipes -> module. A new corpus is one word here, or an entry point of another package.
_NAMES = "audformat audiofolder cremad csv emobox emodb hub iemocap msp_podcast ravdess savee synthetic tess"
_MODULES = {
    name: importlib.import_module(".tables" if name == "csv" else f".{name}", __package__)
    for name in _NAMES.split()
}
SINGLE_CORPORA: Mapping[str, ModuleType] = WithPlugins(_MODULES, "ser_hf.corpora", _check_plugin)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus as a recipe selects it: rows, the class of every label, the `weight` per corpus of a
    mixture, and the range of the ratings of each target, [lowest, highest]."""

    dataset: Dataset
    sources: list[Source]
    weights: dict[str, float]
    ranges: dict[str, list[float]] = dataclasses.field(default_factory=dict)


def parser_options(module: ModuleType) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of a corpus's options: the parameters of its `parse` (without
    root and on_unknown) and of its `facts`, and the fields of `RowParser` where `parse` passes its
    options on to one."""
    options: dict[str, tuple[Any, Any]] = {}
    for source in (
        module.parse,
        getattr(module, "ROW_OPTIONS", None),
        getattr(module, "facts", None),
    ):
        if source is not None:
            hints = typing.get_type_hints(source, include_extras=True)
            for option, parameter in inspect.signature(source).parameters.items():
                if (
                    option not in ("root", "on_unknown")
                    and parameter.kind != inspect.Parameter.VAR_KEYWORD
                ):
                    options.setdefault(option, (hints[option], parameter.default))
    return options


def checked(
    given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]], key: str
) -> dict[str, Any]:
    """Options with all defaults, converted to their annotated types, or a UserError that names
    ``key.option``.
    """
    for option in given:
        if option not in known:
            raise unknown_key(f"{key}.{option}", known)
    complete = {option: default for option, (_, default) in known.items()} | dict(given)
    return {
        option: coerce(value, known[option][0], f"{key}.{option}")
        for option, value in complete.items()
    }


def single_facts(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of one corpus that is no mixture; see `corpus_facts`."""
    module = SINGLE_CORPORA[name]
    metadata = {key: getattr(module, key.upper(), None) for key in _FACTS}
    if hasattr(module, "facts"):
        defaults = {option: default for option, (_, default) in parser_options(module).items()}
        metadata |= module.facts(**defaults | dict(options))
    # A corpus that requires registration has no license of the Hub; its module sets NON_COMMERCIAL.
    non_commercial = getattr(module, "NON_COMMERCIAL", "-nc" in (metadata["license"] or ""))
    return {"name": name, "non_commercial": non_commercial} | metadata


mixture = importlib.import_module(".mixture", __package__)  # uses the functions above
_ALL = dict(sorted({**_MODULES, "mixture": mixture}.items()))
CORPORA: Mapping[str, ModuleType] = WithPlugins(_ALL, "ser_hf.corpora", _check_plugin)


def corpus_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options of a corpus, without root and on_unknown."""
    return parser_options(CORPORA[name])


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a corpus, or of each corpus of a mixture, and add all defaults; no file
    is read.
    """
    complete = checked(options, corpus_options(name), "corpus")
    return (
        complete | {"corpora": mixture.completed(complete["corpora"])}
        if name == "mixture"
        else complete
    )


def load_corpus(name: str, root: str | Path | None = None, **settings: Any) -> Dataset:
    """Load the rows of a corpus as a `datasets.Dataset`, in the order of their ids; the audio is
    not decoded.

    Example: `ser_hf.load_corpus("ravdess", "data/RAVDESS", merge={"calm": "neutral"})`

    Args:
        name: a key of `CORPORA`, such as ``"ravdess"`` or ``"csv"``.
        root: the folder of the audio, or the table.
        settings: the keyword arguments of `read_corpus`, such as ``labels`` and ``merge``, and
            options of the corpus.

    Returns:
        One row per clip: audio (path or bytes), label, speaker, corpus, id, and what else the
            corpus knows.

    Raises:
        UserError: naming the key, file or row that is wrong.
    """
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
    targets: Sequence[str] = (),
    ranges: Mapping[str, Sequence[float]] | None = None,
    **options: Any,
) -> Corpus:
    """Read a corpus and log the class of every label in its files.

    Args:
        labels, merge, drop: see `ser_hf.corpora.schema.treat_labels`.
        exclude: ids to leave out, such as ``ravdess/03-01-05-01-01-01-12``.
        on_unknown: ``"error"`` or ``"skip"`` for file names outside the corpus's grammar.
        targets: columns with ratings of dimensions, which become the column `targets`, scaled to 0
            to 1.
        ranges: [lowest, highest] rating of each target; IEMOCAP and MSP-Podcast have their own.
        options: what the corpus's own `parse` takes.

    Raises:
        UserError: for an unknown corpus, option, label, id or target, or without any clip.
    """
    check_targets(targets, ranges or {})
    if name not in CORPORA:
        raise UserError(f"corpus.name: unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    options = complete_options(name, options)
    for place in (
        root,
        options.get("audio_root"),
        *(item["root"] for item in options.get("corpora") or ()),
    ):
        require_utf8(place or "")
    listing = CORPORA[name].parse(root=root, on_unknown=on_unknown, **options)
    first = {reason: path for path, reason in reversed(listing.skipped)}
    for reason, count in Counter(reason for _, reason in listing.skipped).items():
        logger.warning("left out, %s: %d (first %s)", reason, count, first[reason])
    if not listing.clips:
        raise UserError(
            f"corpus.root: {root} holds no clip of {name} ({len(listing.skipped)} files skipped)"
        )
    everything = sorted(listing.clips, key=lambda clip: clip.id)
    require_unique_ids(everything)
    for clip_id in set(exclude).difference(clip.id for clip in everything):
        raise UserError(f"corpus.exclude: no clip {clip_id!r} (ids look like {everything[0].id})")
    members = listing.members if name == "mixture" else {}
    clips = [clip for clip in everything if clip.id not in set(exclude)]
    rules = {corpus: member.rule for corpus, member in members.items()}
    treatment = treat_labels(clips, labels, merge, drop, rules, least=1 if targets else 2)
    _warn_of_idle_rules(
        clips,
        [
            Rule(merge or {}, drop, custom=custom_labels(clips)),
            *(member.rule for member in members.values()),
        ],
    )
    left_out = {i: "dropped" for i, emotion in enumerate(treatment.emotions) if emotion is None}
    if on_unknown == "skip":
        left_out |= {
            i: f"no {name}"
            for name in targets
            for i, clip in enumerate(clips)
            if rating(clip, name) is None
        }
    if members:
        mixture.require_clips_of_all(
            listing, [clip for i, clip in enumerate(clips) if i not in left_out]
        )
        left_out |= mixture.beyond_caps(listing, clips, treatment.emotions)
    kept = [i for i in range(len(clips)) if i not in left_out]

    outcomes = [(clip, treatment.emotions[i], left_out.get(i)) for i, clip in enumerate(clips)]
    outcomes += [(clip, None, "corpus.exclude") for clip in everything if clip.id in set(exclude)]
    listings = [member.listing for member in members.values()] or [listing]
    skipped = [(own.corpus, why) for own in listings for _, why in own.skipped]
    sources = label_sources(outcomes, skipped, listing.corpus)
    logger.info("%s", sources_table(sources))
    values = None
    used = {}
    if targets:
        known = {corpus: member.item["name"] for corpus, member in members.items()} or {None: name}
        known = {corpus: getattr(CORPORA[own], "RANGES", {}) for corpus, own in known.items()}
        values, used = scaled_targets([clips[i] for i in kept], targets, ranges or {}, known)
    dataset = to_dataset(
        Listing(listing.corpus, [_merged(clips[i], merge or {}) for i in kept]),
        [treatment.emotions[i] for i in kept],
        treatment.labels,
        sampling_rate,
        treatment.votes and [treatment.votes[i] for i in kept],
        values,
    )
    return Corpus(
        dataset,
        sources,
        {corpus: member.item["weight"] for corpus, member in members.items()},
        used,
    )


def _warn_of_idle_rules(clips: Sequence[Clip], rules: Sequence[Rule]) -> None:
    """Warn of emotions in `merge` and `drop` that no clip has, or that stay what they are."""
    found = {word for clip in clips for word in (clip.emotion, *(clip.votes or ()))}
    for rule in rules:
        for name, words in {"merge": rule.merge, "drop": rule.drop}.items():
            # of no corpus's own
            same = {word for word in rule.merge if len(rules) == 1 and rule.merge[word] == word}
            if idle := [word for word in words if word not in found or word in same]:
                logger.warning(
                    "%s.%s: %s has no effect; leave it out", rule.key, name, ", ".join(idle)
                )


def _merged(clip: Clip, merge: Mapping[str, str]) -> Clip:
    """The clip with its intended and perceived emotions merged as its label is."""
    words = {
        name: merge[clip.extra[name]]
        for name in ("intended", "perceived")
        if clip.extra.get(name) in merge
    }
    return dataclasses.replace(clip, extra={**clip.extra, **words}) if words else clip


def corpus_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> dict[str, Any]:
    """The metadata of a corpus for cards and reports.

    Args:
        name: a key of `CORPORA`.
        options: of the corpus; for a user's table the metadata themselves.
        trained_on: limits a mixture to these of its corpora.

    Returns:
        name, title, license, language, url, citation, acted, non_commercial. Of a mixture, license
        and language are lists if its corpora differ.
    """
    if name == "mixture":
        return {"name": name, **mixture.combined_facts(corpora_facts(name, options, trained_on))}
    return single_facts(name, options)


def corpora_facts(
    name: str, options: Mapping[str, Any], trained_on: Collection[str] = ()
) -> list[dict[str, Any]]:
    """`corpus_facts` of each corpus of a mixture; for any other corpus a list of one."""
    if name != "mixture":
        return [single_facts(name, options)]
    return mixture.facts_of_each(options.get("corpora"), trained_on)

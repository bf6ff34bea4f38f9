"""Several corpora as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice, weight: 0.5}
        - {name: tess, root: data/TESS, merge: {surprise: happy}, cap: 800}
      merge: {calm: neutral}

Each item takes the keys of its own corpus. The classes (`labels`) and the ids to exclude belong beside `corpora`. So
do `merge` and `drop` for all corpora; an item may have its own, which take precedence: TESS's surprise is a pleasant
one, and the calm of one corpus may be the neutral of another.

- `cap`: the maximum number of clips of a corpus in all splits together, drawn by `corpus.seed` with speakers in
  proportion, and the emotions of each speaker. The other clips are neither decoded nor evaluated.
- `weight`: the clips of a corpus per epoch, relative to the number of its training clips: with 0.5 one half of them in
  each epoch, in turn; with 2 each twice. The evaluation does not change. With `training.balance: class` it is the
  relative size of a corpus: classes are equally frequent, in each class the corpora in proportion to their clips times
  their weights, and an epoch has as many clips as the weights give.

The column `corpus` of a row names its corpus. Speakers have their corpus as a prefix, and here sessions do too:
Session1 of one corpus is not a session of another. Sentences do not: a sentence may occur in two corpora. A column
that only some corpora have is null in the others, and a column of numbers in one corpus and text in another is text in
all.
"""

import dataclasses
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.errors import UserError
from ..utils.proportions import in_turns
from ..utils.yaml import coerce
from . import registry
from .labels import Rule
from .registry import SINGLE_CORPORA, checked, parser_options
from .schema import RESERVED, Clip, Listing
from .tables import text

logger = logging.getLogger(__name__)

# Keys of each item besides the options of its corpus.
_ITEM_KEYS = {
    "name": (str, None),
    "root": (str | None, None),
    "on_unknown": (Literal["error", "skip"] | None, None),
    "merge": (dict[str, str], {}),
    "drop": (list[str], []),
    "weight": (float, 1.0),
    "cap": (int | None, None),
}
_COMMON_KEYS = ("labels", "exclude")
_MAX_WEIGHT = 100  # a larger one is a mistake, and an epoch of it would not fit in memory


@dataclasses.dataclass(frozen=True)
class Member:
    """One corpus of a mixture: its key in the recipe (``corpus.corpora[1]``), its item, and its listing."""

    key: str
    item: Mapping[str, Any]
    listing: Listing

    @property
    def rule(self) -> Rule:
        return Rule(self.item["merge"], self.item["drop"], self.key)


@dataclasses.dataclass(frozen=True)
class Mixed(Listing):
    """The clips of several corpora, with the members by corpus name."""

    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    seed: int = 0


def completed(corpora: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The items of `corpus.corpora` with all defaults.

    Raises:
        UserError: naming the key (``corpus.corpora[1].sung``) that is missing, unknown, of a wrong type or out of
            range, or the word of `merge` or `drop` that is no emotion.
    """
    if not corpora:
        raise UserError(
            "corpus.corpora: missing; a mixture lists its corpora, such as "
            "[{name: ravdess, root: data/RAVDESS}, {name: cremad, root: data/CREMA-D}]"
        )
    items = []
    for position, item in enumerate(coerce(corpora, list[dict[str, Any]], "corpus.corpora")):
        key = _key(position)
        name = item.get("name")
        if not isinstance(name, str) or name not in SINGLE_CORPORA:
            raise UserError(f"{key}.name: {name!r} is not one of {', '.join(SINGLE_CORPORA)}")
        for word in _COMMON_KEYS:
            if word in item:
                raise UserError(f"{key}.{word}: applies to all corpora together; write it as corpus.{word}")
        known = _ITEM_KEYS | parser_options(SINGLE_CORPORA[name])
        # Defaults are converted like values, so that a completed recipe reads back equal.
        defaults = {option: default for option, (_, default) in known.items()}
        own = checked(defaults | item, known, key)
        Rule(own["merge"], own["drop"], key)  # checks the words
        if not 0 < own["weight"] <= _MAX_WEIGHT:
            raise UserError(f"{key}.weight: expected more than zero and at most {_MAX_WEIGHT}, got {own['weight']}")
        if own["cap"] is not None and own["cap"] < 1:
            raise UserError(f"{key}.cap: expected one or more, got {own['cap']}")
        items.append(own)
    return items


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    corpora: list[dict[str, Any]] | None = None,
    seed: int = 0,
) -> Mixed:
    """Reads all the corpora.

    Args:
        root: must be None; each corpus has its own.
        on_unknown: default of the corpora.
        corpora: for each its name, root, `merge`, `drop`, `weight` and `cap` (above), and the options of its `parse`.
        seed: of the draw for `cap`.

    Raises:
        UserError: as the corpora's own parsers, with the position of the corpus in the keys; for a corpus without a
            clip or twice in the list.
    """
    if root is not None:
        raise UserError("corpus.root: a mixture has none; each corpus of corpus.corpora has its own")
    if seed < 0:
        raise UserError(f"corpus.seed: expected zero or more, got {seed}")
    clips, skipped = [], []
    members: dict[str, Member] = {}
    kinds: dict[str, dict[type, str]] = {}
    for position, item in enumerate(completed(corpora)):
        key, listing = _key(position), _parse_one(position, item, on_unknown)
        if not listing.clips:
            raise UserError(
                f"{key}.root: {item['root']} holds no clip of {item['name']} ({len(listing.skipped)} files skipped)"
            )
        if listing.corpus in members:
            remedy = "give each another corpus_name" if "corpus_name" in item else "list it once, with one root"
            raise UserError(f"{key}.name: {listing.corpus} is {members[listing.corpus].key} already; {remedy}")
        _note_column_types(listing, key, kinds)
        clips += [_of_corpus(listing.corpus, clip) for clip in listing.clips]
        skipped += listing.skipped
        members[listing.corpus] = Member(key, item, listing)
    return Mixed("mixture", _with_common_types(clips, kinds), skipped, members, seed)


def beyond_caps(listing: Mixed, clips: Sequence[Clip], emotions: Sequence[str]) -> dict[int, str]:
    """The `clips` (of the classes `emotions`) beyond the cap of their corpus: position -> reason. The others have the
    speakers in proportion, and the classes of each speaker."""
    over = {}
    for corpus, member in listing.members.items():
        cap = member.item["cap"]
        if cap is not None:
            # Sorted by id: the draw does not depend on the file system.
            own = sorted((i for i, clip in enumerate(clips) if clip.corpus == corpus), key=lambda i: clips[i].id)
            order = in_turns([(clips[i].speaker, emotions[i]) for i in own], np.random.default_rng(listing.seed))
            over |= {own[place]: f"over {member.key}.cap" for place in order[cap:]}
    return over


def require_clips_of_all(listing: Mixed, clips: Sequence[Clip], kept: Collection[int]) -> None:
    """Raises a UserError for a corpus without any of the `kept` positions: a figure "for four corpora" would be for
    three."""
    left = {clips[i].corpus for i in kept}
    for corpus, member in listing.members.items():
        if corpus in left:
            continue
        emotions = sorted({clip.emotion for clip in clips if clip.corpus == corpus})
        keys = [f"{member.key}.drop" if emotion in member.item["drop"] else "corpus.drop" for emotion in emotions]
        key = keys[0] if keys else "corpus.exclude"
        why = f"all of its emotions ({', '.join(emotions)}) are dropped" if emotions else "all are excluded"
        raise UserError(
            f"{key}: no clip of {corpus} ({member.key}) is left: {why}; keep some, or remove it from the list"
        )


def select_items(corpora: list[dict[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    """The items of the corpora `names` (as in the rows); all items if a name cannot be found among them."""
    selected = [item for item in corpora if (item.get("corpus_name") or item["name"]) in names]
    return selected if len(selected) == len(names) else corpora


def facts_of_each(corpora: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Metadata of each corpus (`ser_hf.corpora.registry.facts`)."""
    return [
        registry.facts(item["name"], {option: value for option, value in item.items() if option not in _ITEM_KEYS})
        for item in (completed(corpora) if corpora else [])
    ]


def facts(corpora: list[dict[str, Any]] | None = None, **others: Any) -> dict[str, Any]:
    """Metadata of all corpora together: `license` and `language` are lists if the corpora differ, and one
    non-commercial corpus makes all of it non-commercial. `others` are options of `parse`."""
    each = facts_of_each(corpora)
    titles = [one["title"] for one in each]
    return {
        "title": " and ".join(filter(None, [", ".join(titles[:-1]), *titles[-1:]])) or "Mixture",
        "license": _one_or_list(each, "license"),
        "language": _one_or_list(each, "language"),
        "url": None,
        "citation": " ".join(one["citation"] for one in each if one["citation"]) or None,
        "acted": bool(each) and all(one["acted"] for one in each),
        "non_commercial": any(one["non_commercial"] for one in each),
    }


def _key(position: int) -> str:
    return f"corpus.corpora[{position}]"


def _parse_one(position: int, item: Mapping[str, Any], on_unknown: str) -> Listing:
    options = {option: value for option, value in item.items() if option not in _ITEM_KEYS}
    # The parsers name `corpus.root`; replace only keys of this corpus, not similar text in paths.
    keys = re.compile(rf"(?<![\w./-])corpus\.(?=(?:root|on_unknown|{'|'.join(options)})\b)")
    here = f"{_key(position)}."
    try:
        listing = SINGLE_CORPORA[item["name"]].parse(
            root=item["root"], on_unknown=item["on_unknown"] or on_unknown, **options
        )
    except UserError as error:
        raise UserError(keys.sub(here, str(error))) from None
    skipped = [(path, keys.sub(here, reason)) for path, reason in listing.skipped]
    return dataclasses.replace(listing, skipped=skipped)


def _note_column_types(listing: Listing, key: str, kinds: dict[str, dict[type, str]]) -> None:
    """Adds to `kinds` the types of each extra column, with the first corpus that has it; raises a UserError for a
    reserved name."""
    for clip in listing.clips:
        for name, value in clip.extra.items():
            if name in RESERVED:
                raise UserError(
                    f"{key}.root: {listing.corpus} has a column {name!r}, which is a reserved name; rename it"
                )
            if value is not None:
                kind = float if type(value) is int else type(value)
                kinds.setdefault(name, {}).setdefault(kind, key)


def _with_common_types(clips: list[Clip], kinds: Mapping[str, Mapping[type, str]]) -> list[Clip]:
    """The clips, with text in every column whose type differs between corpora."""
    words = {float: "numbers", str: "text", bool: "true and false"}
    mixed = [name for name, held in kinds.items() if len(held) > 1]
    for name in mixed:
        held = ", ".join(f"{words.get(kind, kind.__name__)} in {key}" for kind, key in kinds[name].items())
        logger.warning("the column %r holds %s: read as text in all corpora", name, held)
    if not mixed:
        return clips
    return [
        dataclasses.replace(
            clip, extra={name: text(value) if name in mixed else value for name, value in clip.extra.items()}
        )
        for clip in clips
    ]


def _of_corpus(corpus: str, clip: Clip) -> Clip:
    extra = dict(clip.extra)
    if extra.get("session") is not None:
        extra["session"] = f"{corpus}:{extra['session']}"
    return dataclasses.replace(clip, corpus=corpus, extra=extra)


def _one_or_list(each: Sequence[Mapping[str, Any]], key: str) -> str | list[str] | None:
    """The value of all corpora, or the list of different values in the order of the corpora; None without any."""
    lists = [one[key] if isinstance(one[key], list) else [one[key]] for one in each if one[key]]
    values = list(dict.fromkeys(value for own in lists for value in own))
    return values if len(values) > 1 else next(iter(values), None)

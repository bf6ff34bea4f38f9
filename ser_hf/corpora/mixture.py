"""Several corpora learnt from as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice, weight: 0.5}
        - {name: tess, root: data/TESS, merge: {surprise: happy}, cap: 800}
      merge: {calm: neutral}

Each item takes the keys of its own corpus. The classes (`labels`) stand beside `corpora`, and ids to leave out. So do
`merge` and `drop`, which hold for all of them; an item may have its own besides, and what it says of an emotion goes
before what is said for all: TESS's surprise is a pleasant one, and one corpus's calm may be another's neutral.

- `cap`: at most so many clips of a corpus, in all parts together: a smaller corpus, drawn by `corpus.seed` so that
  speakers stay in proportion, and each speaker's emotions. The rest is neither decoded nor judged.
- `weight`: clips of a corpus that an epoch meets, by the number of its training clips: of 0.5 half of them, and the
  other half in the next epoch; of 2 each twice. Who is judged does not change. Beside `training.balance: class` it is
  the size that a corpus counts with: classes come equally often, in each class the corpora in proportion to their
  clips times their weights, and all together in as many clips as the weights make.

Rows say in `corpus` where they come from. Speakers carry their corpus in their names, and so do sessions here:
Session1 of one corpus is no session of another. Sentences do not: words that were heard in one corpus are known words
in the other. What only some of the corpora know is null in the rows of the rest, and a column that is numbers in one
and text in another is text in all.
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
from .registry import SINGLE, checked, parser_options
from .schema import RESERVED, Clip, Listing
from .tables import text

logger = logging.getLogger(__name__)

# Keys of each corpus that are no option of its parser.
_OWN = {
    "name": (str, None),
    "root": (str | None, None),
    "on_unknown": (Literal["error", "skip"] | None, None),
    "merge": (dict[str, str], {}),
    "drop": (list[str], []),
    "weight": (float, 1.0),
    "cap": (int | None, None),
}
_OF_ALL = ("labels", "exclude")
_MOST_WEIGHT = 100  # a larger one is a slip, and would make more entries of an epoch than memory has room for


@dataclasses.dataclass(frozen=True)
class Member:
    """One corpus of a mixture: its place in the recipe (``corpus.corpora[1]``), its item, and its own listing."""

    key: str
    item: Mapping[str, Any]
    listing: Listing

    @property
    def rule(self) -> Rule:
        return Rule(self.item["merge"], self.item["drop"], self.key)


@dataclasses.dataclass(frozen=True)
class Mixed(Listing):
    """The clips of several corpora, with the members by the name of their corpus."""

    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    seed: int = 0


def completed(corpora: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The items of `corpus.corpora` with every key of their corpora, defaults where nothing is said.

    Raises:
        UserError: naming the key (``corpus.corpora[1].sung``) that is missing, unknown, of a wrong type or out of its
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
        if not isinstance(name, str) or name not in SINGLE:
            raise UserError(f"{key}.name: {name!r} is none of {', '.join(SINGLE)}")
        for word in _OF_ALL:
            if word in item:
                raise UserError(f"{key}.{word}: holds for all corpora together; write it as corpus.{word}")
        known = _OWN | parser_options(SINGLE[name])
        # Defaults are coerced like values, so that what is completed reads back equal.
        defaults = {option: default for option, (_, default) in known.items()}
        own = checked(defaults | item, known, key)
        Rule(own["merge"], own["drop"], key)  # complains of its own
        if not 0 < own["weight"] <= _MOST_WEIGHT:
            raise UserError(f"{key}.weight: expected more than zero and at most {_MOST_WEIGHT}, got {own['weight']}")
        if own["cap"] is not None and own["cap"] < 1:
            raise UserError(f"{key}.cap: expected a clip or more, got {own['cap']}")
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
        root: of no use here; each corpus has its own.
        on_unknown: of the corpora that do not say themselves.
        corpora: for each its name, its root, `merge`, `drop`, `weight` and `cap` (above), and whatever its own `parse`
            takes.
        seed: of the clips that a `cap` leaves.

    Raises:
        UserError: as the corpora's own parsers do, keys with their place in the list; for a corpus without a clip,
            and for one that stands in the list twice.
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
                f"{key}.root: {item['root']} holds no clip of {item['name']} to learn from "
                f"({len(listing.skipped)} files skipped)"
            )
        if listing.corpus in members:
            own_name = "give each a corpus_name of its own"
            remedy = own_name if "corpus_name" in item else "list it once, over one root"
            raise UserError(f"{key}.name: {listing.corpus} stands in {members[listing.corpus].key} already; {remedy}")
        _own_columns(listing, key, kinds)
        clips += [_of(listing.corpus, clip) for clip in listing.clips]
        skipped += listing.skipped
        members[listing.corpus] = Member(key, item, listing)
    return Mixed("mixture", _alike(clips, kinds), skipped, members, seed)


def beyond_caps(listing: Mixed, clips: Sequence[Clip], emotions: Sequence[str]) -> dict[int, str]:
    """Which of `clips`, whose classes are `emotions`, are over the cap of their corpus: position -> the key that says
    so. Those that stay have the speakers in proportion, to a clip, and the classes of each speaker."""
    over = {}
    for corpus, member in listing.members.items():
        cap = member.item["cap"]
        if cap is not None:
            # In the order of ids, so that the draw is that of no file system.
            own = sorted((i for i, clip in enumerate(clips) if clip.corpus == corpus), key=lambda i: clips[i].id)
            order = in_turns([(clips[i].speaker, emotions[i]) for i in own], np.random.default_rng(listing.seed))
            over |= {own[place]: f"over {member.key}.cap" for place in order[cap:]}
    return over


def require_clips_of_all(listing: Mixed, clips: Sequence[Clip], kept: Collection[int]) -> None:
    """Refuses a corpus of which none of its `clips` is among the `kept` ones, by their positions: a figure "over four
    corpora" would be one over three.

    Args:
        clips: those that `corpus.exclude` leaves.
    """
    left = {clips[i].corpus for i in kept}
    for corpus, member in listing.members.items():
        if corpus in left:
            continue
        emotions = sorted({clip.emotion for clip in clips if clip.corpus == corpus})
        keys = [f"{member.key}.drop" if emotion in member.item["drop"] else "corpus.drop" for emotion in emotions]
        key = keys[0] if keys else "corpus.exclude"
        why = f"all of its emotions ({', '.join(emotions)}) are dropped" if emotions else "all are excluded"
        raise UserError(
            f"{key}: no clip of {corpus} ({member.key}) is left: {why}; keep some, or take it out of the list"
        )


def learnt_items(corpora: list[dict[str, Any]], learnt: Collection[str]) -> list[dict[str, Any]]:
    """Those of the list whose corpora, as the rows name them, were `learnt` from; all of the list where one of these
    calls itself something that its item does not tell."""
    own = [item for item in corpora if (item.get("corpus_name") or item["name"]) in learnt]
    return own if len(own) == len(learnt) else corpora


def facts_of_each(corpora: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """What cards and reports say of each corpus by itself (`ser_hf.corpora.registry.facts`)."""
    return [
        registry.facts(item["name"], {option: value for option, value in item.items() if option not in _OWN})
        for item in (completed(corpora) if corpora else [])
    ]


def facts(corpora: list[dict[str, Any]] | None = None, **others: Any) -> dict[str, Any]:
    """What cards and reports say of all corpora together: one forbids commercial use for all. `license` and `language`
    are a list where the corpora differ. `others` are further options of `parse`."""
    told = facts_of_each(corpora)
    titles = [one["title"] for one in told]
    return {
        "title": " and ".join(filter(None, [", ".join(titles[:-1]), *titles[-1:]])) or "Mixture",
        "license": _one_or_list(told, "license"),
        "language": _one_or_list(told, "language"),
        "url": None,
        "citation": " ".join(one["citation"] for one in told if one["citation"]) or None,
        "acted": bool(told) and all(one["acted"] for one in told),
        "non_commercial": any(one["non_commercial"] for one in told),
    }


def _key(position: int) -> str:
    return f"corpus.corpora[{position}]"


def _parse_one(position: int, item: Mapping[str, Any], on_unknown: str) -> Listing:
    options = {option: value for option, value in item.items() if option not in _OWN}
    # The parsers speak of `corpus.root`; only the keys of this very corpus are meant, whatever a path looks like.
    spoken = re.compile(rf"(?<![\w./-])corpus\.(?=(?:root|on_unknown|{'|'.join(options)})\b)")
    here = f"{_key(position)}."
    try:
        listing = SINGLE[item["name"]].parse(root=item["root"], on_unknown=item["on_unknown"] or on_unknown, **options)
    except UserError as error:
        raise UserError(spoken.sub(here, str(error))) from None
    skipped = [(path, spoken.sub(here, reason)) for path, reason in listing.skipped]
    return dataclasses.replace(listing, skipped=skipped)


def _own_columns(listing: Listing, key: str, kinds: dict[str, dict[type, str]]) -> None:
    """Refuses a column of a corpus's own that has the name of one of ours, and notes what kinds of values each holds,
    with the first corpus that has it."""
    for clip in listing.clips:
        for name, value in clip.extra.items():
            if name in RESERVED:
                raise UserError(f"{key}.root: {listing.corpus} has a column {name!r}, which is one of ours; rename it")
            if value is not None:
                kind = float if type(value) is int else type(value)
                kinds.setdefault(name, {}).setdefault(kind, key)


def _alike(clips: list[Clip], kinds: Mapping[str, Mapping[type, str]]) -> list[Clip]:
    """The clips, with text in every column that holds other kinds of values in one corpus than in another."""
    words = {float: "numbers", str: "text", bool: "true and false"}
    mixed = [name for name, held in kinds.items() if len(held) > 1]
    for name in mixed:
        told = ", ".join(f"{words.get(kind, kind.__name__)} in {key}" for kind, key in kinds[name].items())
        logger.warning("the column %r holds %s: taken as text in all corpora", name, told)
    if not mixed:
        return clips
    return [
        dataclasses.replace(
            clip, extra={name: text(value) if name in mixed else value for name, value in clip.extra.items()}
        )
        for clip in clips
    ]


def _of(corpus: str, clip: Clip) -> Clip:
    extra = dict(clip.extra)
    if extra.get("session") is not None:
        extra["session"] = f"{corpus}:{extra['session']}"
    return dataclasses.replace(clip, corpus=corpus, extra=extra)


def _one_or_list(told: Sequence[Mapping[str, Any]], key: str) -> str | list[str] | None:
    """The value that all corpora share, or each value once in the corpora's order; None where none has any."""
    lists = [one[key] if isinstance(one[key], list) else [one[key]] for one in told if one[key]]
    values = list(dict.fromkeys(value for own in lists for value in own))
    return values if len(values) > 1 else next(iter(values), None)

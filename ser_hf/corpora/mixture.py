"""Several corpora as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice, weight: 0.5}
        - {name: tess, root: data/TESS, merge: {surprise: happy}, cap: 800}
      merge: {calm: neutral}

Each item takes the keys of its corpus; `labels` and `exclude` belong beside `corpora`, and so do
`merge` and `drop` for all corpora; those of an item take precedence.

- `cap`: the maximum number of clips of a corpus in all splits together, drawn by `corpus.seed` with
  speakers in proportion, and the emotions of each speaker. The other clips are neither decoded nor
  evaluated.
- `weight`: the clips of a corpus per epoch, relative to the number of its training clips: with 0.5
  one half of them in each epoch, in turn; with 2 each twice. With `training.balance: class` it is
  the relative size of a corpus in each class, and an epoch has as many clips as the weights give.

Speakers and sessions have their corpus as a prefix; a sentence may occur in two corpora. A column
that only some corpora have is null in the others.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ..utils.errors import UserError
from ..utils.order import interleave
from ..utils.yaml import Range, coerce
from . import SINGLE_CORPORA, checked, parser_options, single_facts
from .schema import Clip, Listing, Rule

# Keys of each item besides the options of its corpus.
_ITEM_KEYS = {
    "name": (str, None),
    "root": (str | None, None),
    "on_unknown": (Literal["error", "skip"] | None, None),
    "merge": (dict[str, str], {}),
    "drop": (list[str], []),
    # A larger weight is a mistake, and an epoch of it would not fit in memory.
    "weight": (Annotated[float, Range(above=0, max=100)], 1.0),
    "cap": (Annotated[int, Range(min=1)] | None, None),
}


@dataclasses.dataclass(frozen=True)
class Member:
    """One corpus of a mixture: its key in the recipe (``corpus.corpora[1]``), its item, and its
    listing.
    """

    key: str
    item: Mapping[str, Any]
    listing: Listing

    @property
    def rule(self) -> Rule:
        return Rule(
            self.item["merge"], self.item["drop"], self.key, self.item.get("custom_labels") or ()
        )


@dataclasses.dataclass(frozen=True)
class Mixed(Listing):
    """The clips of several corpora, with the members by corpus name."""

    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    seed: int = 0


def completed(corpora: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The checked items of `corpus.corpora` with all defaults; errors name the key,
    ``corpus.corpora[1].song``.
    """
    if not corpora:
        raise UserError(
            "corpus.corpora: missing; a mixture lists its corpora, such as "
            "[{name: ravdess, root: data/RAVDESS}, {name: cremad, root: data/CREMA-D}]"
        )
    items = []
    for position, item in enumerate(coerce(corpora, list[dict[str, Any]], "corpus.corpora")):
        key = f"corpus.corpora[{position}]"
        name = item.get("name")
        if not isinstance(name, str) or name not in SINGLE_CORPORA:
            raise UserError(
                f"{key}.name: unknown corpus {name!r}; choose one of {', '.join(SINGLE_CORPORA)}"
            )
        own = checked(item, _ITEM_KEYS | parser_options(SINGLE_CORPORA[name]), key)
        Rule(own["merge"], own["drop"], key, own.get("custom_labels") or ())  # checks the words
        items.append(own)
    return items


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    corpora: list[dict[str, Any]] | None = None,
    seed: Annotated[int, Range(min=0)] = 0,
) -> Mixed:
    """Read all the corpora.

    Args:
        corpora: for each its name, root, `merge`, `drop`, `weight` and `cap` (above), and the
            options of its `parse`.
        seed: of the draw for `cap`.
    """
    if root is not None:
        raise UserError(
            "corpus.root: a mixture has none; each corpus of corpus.corpora has its own"
        )
    clips = []
    skipped = []
    members: dict[str, Member] = {}
    for position, item in enumerate(completed(corpora)):
        key = f"corpus.corpora[{position}]"
        parser = SINGLE_CORPORA[item["name"]]
        policy = item["on_unknown"] or on_unknown
        try:
            listing = parser.parse(root=item["root"], on_unknown=policy, **_own_options(item))
        except UserError as error:
            raise UserError(re.sub(r"(?<![\w./-])corpus\.", f"{key}.", str(error))) from None
        corpus = listing.corpus
        if not listing.clips:
            raise UserError(
                f"{key}.root: {item['root']} holds no clip of {item['name']} ({len(listing.skipped)} files skipped)"
            )
        if corpus in members:
            remedy = (
                "give each another corpus_name"
                if "corpus_name" in item
                else "list it once, with one root"
            )
            raise UserError(
                f"{key}.name: {corpus} is already used by {members[corpus].key}; {remedy}"
            )
        members[corpus] = Member(key, item, listing)
        skipped += listing.skipped
        for clip in listing.clips:
            extra = dict(clip.extra)
            if extra.get("session") is not None:
                extra["session"] = f"{corpus}:{extra['session']}"
            clips.append(dataclasses.replace(clip, corpus=corpus, extra=extra))
    return Mixed("mixture", clips, skipped, members, seed)


def beyond_caps(
    listing: Mixed, clips: Sequence[Clip], emotions: Sequence[str | None]
) -> dict[int, str]:
    """Positions of the clips that exceed the cap of their corpus, each with the reason.

    `emotions` has the class of each clip; clips of None are ignored. The remaining clips keep the
    proportions of the speakers, and of each speaker's classes."""
    over = {}
    for corpus, member in listing.members.items():
        cap = member.item["cap"]
        if cap is not None:
            own = [
                i
                for i, clip in enumerate(clips)
                if clip.corpus == corpus and emotions[i] is not None
            ]
            order = interleave(
                [(clips[i].speaker, emotions[i]) for i in own], np.random.default_rng(listing.seed)
            )
            over |= {own[place]: f"over {member.key}.cap" for place in order[cap:]}
    return over


def require_clips_of_all(listing: Mixed, clips: Sequence[Clip]) -> None:
    """Raise a UserError if no clip of one of the corpora is left: results would be about fewer
    corpora than listed.
    """
    for corpus, member in listing.members.items():
        if not any(clip.corpus == corpus for clip in clips):
            raise UserError(
                f"corpus.drop, corpus.exclude: no clip of {corpus} ({member.key}) is left; keep some, or remove it "
                "from the list"
            )


def facts_of_each(
    corpora: list[dict[str, Any]] | None, names: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Metadata of each corpus; of those with `names` (as in the rows) only, if all of these are in
    the list.
    """
    items = completed(corpora) if corpora else []
    selected = [item for item in items if (item.get("corpus_name") or item["name"]) in names]
    chosen = selected if names and len(selected) == len(names) else items
    return [single_facts(item["name"], _own_options(item)) for item in chosen]


def _own_options(item: Mapping[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in item.items() if option not in _ITEM_KEYS}


def combined_facts(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metadata of a mixture: lists where the corpora differ, and non-commercial if one of them is."""
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


def _one_or_list(each: Sequence[Mapping[str, Any]], key: str) -> str | list[str] | None:
    """The value of all corpora, or the list of different values in the order of the corpora; None
    without any.
    """
    lists = [one[key] if isinstance(one[key], list) else [one[key]] for one in each if one[key]]
    values = list(dict.fromkeys(sum(lists, [])))
    return values if len(values) > 1 else next(iter(values), None)

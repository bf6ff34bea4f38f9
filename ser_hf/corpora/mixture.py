"""Several corpora learnt from as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice}
      merge: {calm: neutral}

Each item takes the keys of its own corpus. What concerns labels, and ids to leave out, stands beside `corpora` and
holds for all of them together: classes are comparable only if they are made alike. Rows say in `corpus` where they
come from. Speakers carry their corpus in their names, and so do sessions here: Session1 of one corpus is no session of
another. Sentences do not: words that were heard in one corpus are known words in the other. What only some of the
corpora know is null in the rows of the rest.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..strict import coerce
from . import single
from .schema import COLUMNS, Clip, Listing
from .single import SINGLE, checked, parser_options

# Keys of each corpus that are no option of its parser.
_OWN = {
    "name": (str, None),
    "root": (str | None, None),
    "on_unknown": (Literal["error", "skip"] | None, None),
}
_OF_ALL = ("labels", "merge", "drop", "exclude")
_RESERVED = {"audio", "label", "votes", *COLUMNS}


def completed(corpora: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The items of `corpus.corpora` with every key of their corpora, defaults where nothing is said.

    Raises:
        UserError: naming the key (``corpus.corpora[1].sung``) that is missing, unknown or of a wrong type.
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
        items.append(checked(defaults | item, known, key))
    return items


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    corpora: list[dict[str, Any]] | None = None,
) -> Listing:
    """Reads all the corpora.

    Args:
        root: of no use here; each corpus has its own.
        on_unknown: of the corpora that do not say themselves.
        corpora: for each its name, its root and whatever its own `parse` takes.

    Raises:
        UserError: as the corpora's own parsers do, keys with their place in the list; for a corpus without a clip,
            and for one that stands in the list twice.
    """
    if root is not None:
        raise UserError("corpus.root: a mixture has none; each corpus of corpus.corpora has its own")
    clips, skipped = [], []
    places: dict[str, str] = {}
    kinds: dict[str, tuple[type, str]] = {}
    for position, item in enumerate(completed(corpora)):
        key, listing = _key(position), _parse_one(position, item, on_unknown)
        if not listing.clips:
            raise UserError(
                f"{key}.root: {item['root']} holds no clip of {item['name']} to learn from "
                f"({len(listing.skipped)} files skipped)"
            )
        first = places.setdefault(listing.corpus, key)
        if first != key:
            remedy = (
                "give each table a corpus_name of its own" if item["name"] == "csv" else "list it once, over one root"
            )
            raise UserError(f"{key}.name: {listing.corpus} stands in {first} already; {remedy}")
        _require_alike(listing, key, kinds)
        clips += [_of(listing.corpus, clip) for clip in listing.clips]
        skipped += listing.skipped
    return Listing("mixture", clips, skipped)


def facts(corpora: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What cards and reports say of all corpora together: one forbids commercial use for all. `license` and `language`
    are a list where the corpora differ."""
    told = []
    for item in completed(corpora) if corpora else []:
        options = {option: value for option, value in item.items() if option not in _OWN}
        told.append(single.facts(item["name"], options))
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


def _require_alike(listing: Listing, key: str, kinds: dict[str, tuple[type, str]]) -> None:
    """Refuses a column of a corpus's own that has the name of one of ours, or other values than in another corpus."""
    for clip in listing.clips:
        for name, value in clip.extra.items():
            if name in _RESERVED:
                raise UserError(f"{key}.root: {listing.corpus} has a column {name!r}, which is one of ours; rename it")
            if value is None:
                continue
            kind = float if type(value) is int else type(value)
            first, there = kinds.setdefault(name, (kind, key))
            if kind is not first:
                words = {float: "numbers", str: "text", bool: "true and false"}
                raise UserError(
                    f"{key}.root: the column {name!r} of {listing.corpus} holds {words[kind]}, in {there} it holds "
                    f"{words[first]}; rename one of the two"
                )


def _of(corpus: str, clip: Clip) -> Clip:
    extra = dict(clip.extra)
    if extra.get("session") is not None:
        extra["session"] = f"{corpus}:{extra['session']}"
    return dataclasses.replace(clip, corpus=corpus, extra=extra)


def _one_or_list(told: Sequence[Mapping[str, Any]], key: str) -> str | list[str] | None:
    """The value that all corpora share, or each value once in the corpora's order; None where none has any."""
    values = list(dict.fromkeys(one[key] for one in told if one[key]))
    return values if len(values) > 1 else next(iter(values), None)

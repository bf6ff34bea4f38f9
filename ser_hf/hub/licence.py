"""The licence of a model, after those of the recordings that it learnt from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .vocabulary import LICENSES

# What licences of data ask for, as far as they can be compared: by name, who shares must name the source (by), must
# not sell (nc), must share alike (sa), must share nothing derived (nd).
_ASK = {
    "cc0-1.0": "",
    "pddl": "",
    "unlicense": "",
    "mit": "by",
    "apache-2.0": "by",
    "odc-by": "by",
    "cdla-permissive-1.0": "by",
    "cdla-permissive-2.0": "by",
    "odbl": "by sa",
    "cdla-sharing-1.0": "by sa",
}
_CREATIVE_COMMONS = re.compile(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-[0-9.]+")


def licence(corpora: Sequence[Mapping[str, Any]], page: str | None = None) -> dict[str, str]:
    """`license` of a model card, with `license_name` and `license_link` where the Hub has no word for it.

    One corpus's licence is the model's. Of several the one that asks for all that the others ask for; where none does,
    or nobody knows one of them, it is ``other``, and its name says whether commercial use is forbidden. A corpus that
    forbids it under a licence whose name does not show that is ``other`` too. Empty where nothing is known.

    Args:
        corpora: what `ser_hf.corpora.corpora_facts` says of each.
        page: address of the model on the Hub, whose text tells all licences.
    """
    corpora = [{**one, "license": own} for one in corpora for own in _each(one["license"])]
    asked = [one["license"] for one in corpora]
    if not any(asked):
        return {}
    told = [_asks(one) for one in corpora]
    if len(corpora) == 1 and (told[0] is not None or asked[0] == "unknown"):
        return {"license": asked[0]}
    if None not in told:
        strictest = set().union(*told)
        covering = [name for name, own in zip(asked, told, strict=True) if own == strictest]
        if covering:
            return {"license": max(covering)}  # of two versions the later
    forbidden = any(one["non_commercial"] for one in corpora)
    name, link = "several-licences", page and f"{page}#training-data"
    if len(corpora) == 1:
        (one,) = corpora
        known = one["license"] in LICENSES
        name, link = _word(one["title"] if known else one["license"]), one["url"]
        name += "-terms" if known and not forbidden else ""
    name += "-non-commercial" if forbidden and "non-commercial" not in name else ""
    return {"license": "other", "license_name": name} | ({"license_link": link} if link else {})


def _asks(corpus: Mapping[str, Any]) -> set[str] | None:
    """What a corpus's licence asks for; None for one that says it in words of its own, or does not say it all."""
    name = corpus["license"]
    if name not in LICENSES or name in ("other", "unknown"):
        return None
    match = _CREATIVE_COMMONS.fullmatch(name)
    asks = {*match[1].split("-")} if match else {*_ASK[name].split()} if name in _ASK else {name}
    return asks if "nc" in asks or not corpus["non_commercial"] else None


def _each(license: str | Sequence[str] | None) -> Sequence[str | None]:
    """What `ser_hf.corpora.corpus_facts` says of several corpora is a list."""
    return license if isinstance(license, list) else [license]


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "unnamed"


def in_words(license: str | Sequence[str] | None) -> str:
    """A corpus's licence, or those of several, as a sentence can have it."""
    said = {None: "not told", "other": "its makers' own terms"}
    return ", ".join(said.get(own, own) for own in _each(license))

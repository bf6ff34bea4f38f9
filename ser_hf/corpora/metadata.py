"""Metadata of corpora for cards and reports: title, license, language and citation."""

import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What cards and reports state about a corpus; None stands for an unknown value.

    Attributes:
        name: of the corpus in recipes.
        title: its name in sentences.
        license: a name of the Hub, ``"other"``, or the user's text; a list if the corpora of a
            mixture differ.
        language: ISO 639 code; a list if the corpora of a mixture differ.
        url: its page.
        citation: its publication.
        acted: whether the emotions are acted.
        non_commercial: whether commercial use is excluded.
    """

    name: str
    title: str
    license: str | list[str] | None
    language: str | list[str] | None
    url: str | None
    citation: str | None
    acted: bool
    non_commercial: bool


def excludes_commercial_use(license: str | None) -> bool:
    """Whether the name of a license says so, as CC-BY-NC-4.0 does."""
    return "-nc" in (license or "").lower()


def combined(each: Sequence[Metadata]) -> Metadata:
    """Metadata of a mixture from those of its corpora: lists where they differ."""
    citations = [metadata.citation for metadata in each if metadata.citation]
    return Metadata(
        name="mixture",
        title=_enumerated([metadata.title for metadata in each]) or "Mixture",
        license=_one_or_list(metadata.license for metadata in each),
        language=_one_or_list(metadata.language for metadata in each),
        url=None,
        citation=" ".join(citations) or None,
        acted=bool(each) and all(metadata.acted for metadata in each),
        non_commercial=any(metadata.non_commercial for metadata in each),
    )


def _enumerated(titles: Sequence[str]) -> str:
    """``A, B and C``."""
    if len(titles) < 2:
        return "".join(titles)
    return f"{', '.join(titles[:-1])} and {titles[-1]}"


def _one_or_list(values: Iterable[str | list[str] | None]) -> str | list[str] | None:
    """The common value, or the list of different values in their order; None without any."""
    distinct: dict[str, None] = {}
    for value in values:
        if value:
            distinct.update(dict.fromkeys(value if isinstance(value, list) else [value]))
    if len(distinct) > 1:
        return list(distinct)
    return next(iter(distinct), None)

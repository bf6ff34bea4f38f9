"""Metadata of corpora for cards and reports: title, license, language and citation."""

import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of a corpus on cards and in reports. None stands for an unknown value.

    Attributes:
        name: the name of the corpus in recipes.
        title: the name of the corpus in sentences.
        license: the Hub's identifier of the license, ``"other"``, or the user's text; a list if the
            corpora of a mixture have several licenses.
        language: BCP 47 code; a list if the corpora of a mixture have several languages.
        url: the page of the corpus.
        citation: the publication to cite.
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
    """Whether the name of a license excludes commercial use, as CC-BY-NC-4.0 does."""
    return "-nc" in (license or "").lower()


def combined(all_metadata: Sequence[Metadata]) -> Metadata:
    """Combine the metadata of the corpora of a mixture; different values become lists."""
    citations = [metadata.citation for metadata in all_metadata if metadata.citation]
    return Metadata(
        name="mixture",
        title=_enumeration([metadata.title for metadata in all_metadata]) or "Mixture",
        license=_single_or_list(metadata.license for metadata in all_metadata),
        language=_single_or_list(metadata.language for metadata in all_metadata),
        url=None,
        citation=" ".join(citations) or None,
        acted=bool(all_metadata) and all(metadata.acted for metadata in all_metadata),
        non_commercial=any(metadata.non_commercial for metadata in all_metadata),
    )


def _enumeration(titles: Sequence[str]) -> str:
    """The titles as one text, such as ``A, B and C``."""
    if len(titles) < 2:
        return "".join(titles)
    return f"{', '.join(titles[:-1])} and {titles[-1]}"


def _single_or_list(values: Iterable[str | list[str] | None]) -> str | list[str] | None:
    """The value if all are equal, otherwise the list of different values; None without values."""
    distinct: dict[str, None] = {}
    for value in values:
        if value:
            distinct.update(dict.fromkeys(value if isinstance(value, list) else [value]))
    if len(distinct) > 1:
        return list(distinct)
    return next(iter(distinct), None)

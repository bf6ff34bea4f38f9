"""What cards and reports say of a data set that has no module of its own: as much as its user tells."""

from typing import Any


def facts(
    corpus_name: str,
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    url: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """The facts of such a data set; its module takes these for options beside those of its `parse` (the `others`).

    Args:
        title: what people call it; by default `corpus_name`.
        license: as the Hub spells licences, such as ``cc-by-4.0``.
        language: ISO 639, such as ``de``.
        url, citation: where it is from, and how to cite it.
        acted: whether its emotions are acted.
    """
    return {
        "title": title or corpus_name,
        "license": license,
        "language": language,
        "url": url,
        "citation": citation,
        "acted": acted,
    }

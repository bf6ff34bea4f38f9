"""What became of every label that the corpora's own files have: learnt as which class, or left out and why."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .schema import EMOTIONS, Clip

# In place of an emotion where a file was left out before anybody read one from it.
UNREAD = "-"


@dataclasses.dataclass(frozen=True)
class Source:
    """`clips` clips of one emotion of one corpus, and what became of them: `label`, the class that they are learnt as,
    or None and the reason in `left_out`. `codes` are the words of the corpus's own files for that emotion, where its
    parser has a table of them; `emotion` is None for files that were left out unread."""

    corpus: str
    emotion: str | None
    codes: tuple[str, ...]
    label: str | None
    left_out: str | None
    clips: int


def sources_of(
    outcomes: Iterable[tuple[Clip, str | None, str | None]],
    skipped: Sequence[tuple[str, str]],
    corpus: str,
    codes: Mapping[str, Mapping[str, Sequence[str]]],
) -> list[Source]:
    """Counts what became of clips, in the order of corpora, emotions, classes.

    Args:
        outcomes: of each clip its class, or None and why it was left out.
        skipped: corpus and reason of each file that is no clip.
        corpus: of clips that do not tell theirs.
        codes: corpus -> emotion -> words of its files.
    """
    counts = Counter((clip.corpus or corpus, clip.emotion, label, why) for clip, label, why in outcomes)
    counts.update((own, None, None, why) for own, why in skipped)
    places = {emotion: i for i, emotion in enumerate(EMOTIONS)}

    def place(key: tuple[str, str | None, str | None, str | None]) -> tuple:
        own, emotion, label, why = key
        return own, places.get(emotion, len(places)), places.get(label, len(places)), why or ""

    sources = []
    for key in sorted(counts, key=place):
        own, emotion, label, why = key
        words = tuple(codes.get(own, {}).get(emotion, ()))
        sources.append(Source(own, emotion, words, label, why, counts[key]))
    return sources


def sources_table(sources: Sequence[Source]) -> str:
    """The sources as lines to print, an emotion with the words of its files where they are others."""
    rows = [("corpus", "emotion", "clips", "learnt as")]
    for source in sources:
        outcome = source.label or f"left out: {source.left_out}"
        rows.append((source.corpus, _spelled(source), str(source.clips), outcome))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"{corpus:<{widths[0]}}  {emotion:<{widths[1]}}  {clips:>{widths[2]}}  {outcome}"
        for corpus, emotion, clips, outcome in rows
    )


def sources_facts(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The sources as reports keep them."""
    return [dataclasses.asdict(source) | {"codes": list(source.codes)} for source in sources]


def _spelled(source: Source) -> str:
    others = [code for code in source.codes if code != source.emotion]
    return (source.emotion or UNREAD) + (f" ({', '.join(others)})" if others else "")

"""What became of every label that the corpora's own files have: learnt as which class, or left out and why."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .schema import EMOTIONS, Clip

# In place of an emotion where a file was left out before anybody read one from it.
UNREAD = "-"


@dataclasses.dataclass(frozen=True)
class Source:
    """`clips` clips that one corpus labels alike, and what became of them: `label`, the class that they are learnt as,
    or None and the reason in `left_out`. `word` is the label as the corpus's own files have it (see
    `ser_hf.corpora.schema.Clip`), `emotion` how it was read; that is None for files that were left out unread."""

    corpus: str
    emotion: str | None
    word: str | None
    label: str | None
    left_out: str | None
    clips: int


def sources_of(
    outcomes: Iterable[tuple[Clip, str | None, str | None]],
    skipped: Sequence[tuple[str, str]],
    corpus: str,
) -> list[Source]:
    """Counts what became of clips, in the order of corpora, emotions, words, classes.

    Args:
        outcomes: of each clip its class, or None and why it was left out.
        skipped: corpus and reason of each file that is no clip.
        corpus: of clips that do not tell theirs.
    """
    counts = Counter((clip.corpus or corpus, clip.emotion, clip.word, label, why) for clip, label, why in outcomes)
    counts.update((own, None, None, None, why) for own, why in skipped)
    places = {emotion: i for i, emotion in enumerate(EMOTIONS)}

    def place(key: tuple[str, str | None, str | None, str | None, str | None]) -> tuple:
        own, emotion, word, label, why = key
        return own, places.get(emotion, len(places)), word or "", places.get(label, len(places)), why or ""

    return [Source(*key, counts[key]) for key in sorted(counts, key=place)]


def sources_table(sources: Sequence[Source]) -> str:
    """The sources as lines to print, an emotion with the word of its files where that is another."""
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
    return [dataclasses.asdict(source) for source in sources]


def _spelled(source: Source) -> str:
    other = f" ({source.word})" if source.word not in (None, source.emotion) else ""
    return (source.emotion or UNREAD) + other

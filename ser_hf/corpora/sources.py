"""What became of every label of a corpus: counts for the log, the report and the card."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .schema import EMOTIONS, Clip


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """A number of clips with one label in one corpus, and what became of them.

    Attributes:
        corpus: its name in the rows.
        emotion: the canonical emotion; None for files that are no clips.
        word: the label in the files; None for files that are no clips.
        label: the class; None if the clips are left out.
        left_out: why they are left out, or None.
        clips: their number.
    """

    corpus: str
    emotion: str | None
    word: str | None
    label: str | None
    left_out: str | None
    clips: int


class Outcome(NamedTuple):
    """A clip, its class, and why it was left out, or None."""

    clip: Clip
    label: str | None
    left_out: str | None


def label_sources(
    outcomes: Iterable[Outcome], skipped: Sequence[tuple[str, str]], corpus: str
) -> list[LabelSource]:
    """Count clips by corpus, emotion, word, class and reason, in that order.

    Args:
        skipped: corpus and reason of each file that is no clip.
        corpus: the name of the corpus of clips that name none.
    """
    counts: Counter = Counter()
    for clip, label, left_out in outcomes:
        class_of_clip = None if left_out else label
        counts[clip.corpus or corpus, clip.emotion, clip.word, class_of_clip, left_out] += 1
    for corpus_of_file, reason in skipped:
        counts[corpus_of_file, None, None, None, reason] += 1

    words = set()
    for _, emotion, _, label, _ in counts:
        words.update((emotion, label))
    custom_labels = sorted(words - {None, *EMOTIONS})
    position = (*EMOTIONS, *custom_labels, None).index

    def order(key: tuple) -> tuple:
        corpus_name, emotion, word, label, left_out = key
        return corpus_name, position(emotion), word or "", position(label), left_out or ""

    sources = []
    for key in sorted(counts, key=order):
        corpus_name, emotion, word, label, left_out = key
        source = LabelSource(
            corpus=corpus_name,
            emotion=emotion,
            word=word,
            label=label,
            left_out=left_out,
            clips=counts[key],
        )
        sources.append(source)
    return sources


def sources_table(sources: Sequence[LabelSource]) -> str:
    """The sources as lines to print, each emotion with the files' own word in parentheses if that
    differs.
    """
    rows = [("corpus", "emotion", "clips", "class")]
    for source in sources:
        emotion = source.emotion or "-"  # of a file that was left out unread
        if source.word not in (None, source.emotion):
            emotion += f" ({source.word})"
        outcome = source.label or f"left out: {source.left_out}"
        rows.append((source.corpus, emotion, str(source.clips), outcome))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for corpus, emotion, clips, outcome in rows:
        lines.append(
            f"{corpus:<{widths[0]}}  {emotion:<{widths[1]}}  {clips:>{widths[2]}}  {outcome}"
        )
    return "\n".join(lines)


def sources_facts(sources: Sequence[LabelSource]) -> list[dict[str, Any]]:
    """The sources for report.json."""
    return [dataclasses.asdict(source) for source in sources]

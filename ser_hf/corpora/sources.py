"""Number of clips of each label in each class of a corpus, for the log, the report and the card."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .schema import EMOTIONS, Clip


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """The number of clips with the same corpus, label, class and reason to leave them out.

    Attributes:
        corpus: the name of the corpus in the rows.
        emotion: the canonical emotion; None for files that are not clips.
        word: the label in the files; None for files that are not clips.
        label: the class; None if the clips are left out.
        left_out: the reason to leave the clips out; None if they are kept. Without a label and a
            reason, the clips are kept for their ratings only.
        clips: the number of clips or files.
    """

    corpus: str
    emotion: str | None
    word: str | None
    label: str | None
    left_out: str | None
    clips: int


class Outcome(NamedTuple):
    """A clip with its class and the reason to leave it out, which is None if it is kept."""

    clip: Clip
    label: str | None
    left_out: str | None


def label_sources(
    outcomes: Iterable[Outcome], skipped: Sequence[tuple[str, str]], corpus: str
) -> list[LabelSource]:
    """Count clips by corpus, emotion, original label, class and reason, sorted in this order.

    Args:
        outcomes: the clips with their classes.
        skipped: corpus and reason of each file that is not a clip.
        corpus: the corpus of clips whose attribute `corpus` is None.
    """
    counts: Counter = Counter()
    for clip, label, left_out in outcomes:
        class_of_clip = None if left_out else label
        counts[
            clip.corpus or corpus, clip.emotion, clip.original_label, class_of_clip, left_out
        ] += 1
    for corpus_of_file, reason in skipped:
        counts[corpus_of_file, None, None, None, reason] += 1

    all_labels = set()
    for _, emotion, _, label, _ in counts:
        all_labels.update((emotion, label))
    custom_labels = sorted(all_labels - {None, *EMOTIONS})
    position = (*EMOTIONS, *custom_labels, None).index

    def order(key: tuple) -> tuple:
        corpus_name, emotion, original_label, label, left_out = key
        return corpus_name, position(emotion), original_label or "", position(label), left_out or ""

    sources = []
    for key in sorted(counts, key=order):
        corpus_name, emotion, original_label, label, left_out = key
        source = LabelSource(
            corpus=corpus_name,
            emotion=emotion,
            word=original_label,
            label=label,
            left_out=left_out,
            clips=counts[key],
        )
        sources.append(source)
    return sources


def sources_table(sources: Sequence[LabelSource]) -> str:
    """Format the sources as a table of text.

    If the label in the files differs from the emotion, it follows the emotion in parentheses.
    """
    rows = [("corpus", "emotion", "clips", "class")]
    for source in sources:
        emotion = source.emotion or "-"  # None for a file that is not a clip
        if source.word not in (None, source.emotion):
            emotion += f" ({source.word})"
        outcome = source.label or "ratings only"
        if source.left_out is not None:
            outcome = f"left out: {source.left_out}"
        rows.append((source.corpus, emotion, str(source.clips), outcome))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for corpus, emotion, clips, outcome in rows:
        lines.append(
            f"{corpus:<{widths[0]}}  {emotion:<{widths[1]}}  {clips:>{widths[2]}}  {outcome}"
        )
    return "\n".join(lines)


def sources_facts(sources: Sequence[LabelSource]) -> list[dict[str, Any]]:
    """The sources as dicts, for report.json."""
    return [dataclasses.asdict(source) for source in sources]

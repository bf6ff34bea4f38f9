"""Findings about the balance of labels and speakers, and about properties that reveal them."""

from collections.abc import Iterator, Sequence

import pandas as pd

from ..evaluation.slices import explained_variance
from ..report.views import counted
from .finding import Finding
from .measure import MEASURES, AudioFile, clip_table, crosstable, ordered_labels

# Thresholds of the findings.
_SPEAKER_SPREAD = 10.0  # LU
_IMBALANCE = 1.5  # clips of the largest class / clips of the smallest class
_FEW_SPEAKERS = 10
_EXPLAINED = 0.2  # share of variance
_CLIPS_PER_LABEL = 10  # with fewer, the variance that labels explain is mostly chance
# The measures that describe the recording rather than the voice.
_RECORDING = ("floor", "leading_silence", "trailing_silence")


def balance_findings(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about the numbers of clips by label and speaker."""
    if not clips:
        return
    table = clip_table(clips)
    yield from _class_sizes(table)

    speakers = crosstable(table, "speaker").rows
    if len(speakers) < _FEW_SPEAKERS:
        count = counted(len(speakers), "speaker")
        yield Finding(
            "few-speakers",
            "note",
            f"{count}: a speaker-independent test rests on very few voices.",
            "Expect wide intervals; cross-validate over the speakers.",
        )

    lacking = [(speaker, "") for speaker, counts in speakers.items() if 0 in counts]
    if lacking:
        count = counted(len(speakers), "speaker")
        yield Finding(
            "empty-cells",
            "note",
            f"{len(lacking)} of {count} without clips of some label.",
            "The speaker then predicts the label; see the table of labels by speaker.",
            tuple(lacking),
            noun="speaker",
        )


def _class_sizes(table: pd.DataFrame) -> Iterator[Finding]:
    """Findings about a single class, and about classes of unequal size."""
    labels = ordered_labels(table["label"])
    counts = table["label"].value_counts()
    if len(labels) < 2:
        yield Finding(
            "one-label",
            "error",
            f"Every clip is {labels[0]}.",
            "A classifier needs at least two classes.",
        )
    elif counts.max() > _IMBALANCE * counts.min():
        largest = max(labels, key=counts.get)
        smallest = min(labels, key=counts.get)
        ratio = counts.max() / counts.min()
        yield Finding(
            "imbalance",
            "note",
            f"The largest class ({largest}, {counts.max()} clips) has {ratio:.1f} times the clips "
            f"of the smallest ({smallest}, {counts.min()}).",
            "Report UAR, which weights classes equally; training.loss.class_weights: balanced may "
            "help.",
        )


def leak_findings(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about properties of the recording that reveal the label or the speaker."""
    table = clip_table(clips)
    if len(clips) >= _CLIPS_PER_LABEL * table["label"].nunique():
        yield from _label_leaks(table)

    medians = table.groupby("speaker")["loudness"].median().dropna()
    if len(medians) < 2:
        return
    softest = medians.min()
    loudest = medians.max()
    if loudest - softest >= _SPEAKER_SPREAD:
        yield Finding(
            "speaker-loudness",
            "note",
            f"The median loudness of the speakers spans {loudest - softest:.1f} LU, from "
            f"{softest:.1f} ({medians.idxmin()}) to {loudest:.1f} LUFS ({medians.idxmax()}).",
            "The level identifies speakers; audio.level removes that.",
        )


def _label_leaks(table: pd.DataFrame) -> Iterator[Finding]:
    """Findings about measures of the recording whose variance the label explains."""
    for measure in _RECORDING:
        share = explained_variance(table, measure, "label")
        if share is not None and share >= _EXPLAINED:
            name = MEASURES[measure][1]
            yield Finding(
                f"label-leak-{measure.replace('_', '-')}",
                "note",
                f"The label explains {share:.0%} of the variance of the {name}.",
                "A model may learn the recording instead of the voice; compare with a model of "
                "this feature alone.",
            )

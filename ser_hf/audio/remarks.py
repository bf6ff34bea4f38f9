"""Remarks about recordings that can be read, but that a user should know about.

The same kinds and the same words serve `ser-hf inspect`, training and prediction.
"""

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

# A clip is silent if no sample reaches this value, -60 dBFS.
SILENT_PEAK = 1e-3
_PEAK_STEP = 256
_NAMED_CLIPS = 3  # clips that a sentence names


class RemarkKind(enum.IntFlag):
    """The kinds of remarks; a waveform store holds those of a clip as the sum of their values."""

    NO_LENGTH = enum.auto()
    OTHER_LENGTH = enum.auto()
    JOINED = enum.auto()
    NO_END = enum.auto()
    SKIPPED_BYTES = enum.auto()
    CANCELLING_CHANNELS = enum.auto()
    SILENT = enum.auto()
    SHORT = enum.auto()


# The end of a sentence that begins with the number of clips.
PHRASES = {
    RemarkKind.NO_LENGTH: "whose header states no length (read to the end)",
    RemarkKind.OTHER_LENGTH: (
        "whose header states another length than the file has (read to the end)"
    ),
    RemarkKind.JOINED: "with several recordings joined in one file (all are read)",
    RemarkKind.NO_END: "without the mark of the end (perhaps cut off)",
    RemarkKind.SKIPPED_BYTES: "with damaged or missing bytes (skipped)",
    RemarkKind.CANCELLING_CHANNELS: (
        "whose channels cancel each other when mixed (the loudest channel is used)"
    ),
    RemarkKind.SILENT: "silent (no sample reaches -60 dBFS)",
    RemarkKind.SHORT: "shorter than 0.1 s, too short to recognize an emotion",
}


@dataclasses.dataclass(frozen=True)
class Remark:
    """A remark about one recording.

    Args:
        kind: the kind of the remark.
        detail: the values of this recording, such as the length that its header states; may be
            empty.
    """

    kind: RemarkKind
    detail: str = ""


def total(remarks: Sequence[Remark]) -> RemarkKind:
    """The kinds of several remarks as one value."""
    kinds = RemarkKind(0)
    for remark in remarks:
        kinds |= remark.kind
    return kinds


def sentences(names: Sequence[str], kinds: Sequence[int], noun: str = "clip") -> Iterator[str]:
    """One sentence for each kind of remark, with the number of clips and the first of them.

    Args:
        names: the name of each clip.
        kinds: the kinds of remarks of each clip, see `total`.
        noun: the word for a clip.
    """
    for kind, phrase in PHRASES.items():
        members = [name for name, flags in zip(names, kinds, strict=True) if flags & kind]
        if not members:
            continue
        count = f"{len(members):,} {noun}" + ("s" if len(members) > 1 else "")
        shown = ", ".join(members[:_NAMED_CLIPS])
        if len(members) > _NAMED_CLIPS:
            shown += ", ..."
        yield f"{count} {phrase}: {shown}"


def silent_classes(labels: Sequence[str], silent: Sequence[bool]) -> list[str]:
    """The labels all of whose clips are silent, sorted."""
    clips = Counter(labels)
    silent_labels = (label for label, flag in zip(labels, silent, strict=True) if flag)
    silent_clips = Counter(silent_labels)
    return sorted(label for label, count in silent_clips.items() if count == clips[label])


def silent_class_sentence(label: str) -> str:
    """A sentence about a class that consists of silent clips."""
    return f"Every clip of the class {label} is silent: a model learns silence as {label}."


def is_silent(samples: np.ndarray) -> bool:
    """Whether no sample reaches -60 dBFS. Expects at least one sample."""
    # A few samples suffice for most clips: this is called for each clip of a corpus.
    for step in (_PEAK_STEP, 1):
        some_samples = samples[::step]
        if max(some_samples.max(), -some_samples.min()) >= SILENT_PEAK:
            return False
    return True

"""The labels of rows: which emotion a word means, and messages about words that mean none."""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..utils.cells import means_missing
from ..utils.names import compared
from .schema import EMOTIONS, SYNONYMS

_LISTED = 4  # other labels in one message
_LONGEST = 60  # characters of a label in a message
_SIMILAR = 0.8  # of difflib; fear and tear have 0.75
_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_SKIP = "or set corpus.on_unknown: skip"


class LabelReader:
    """Reads the emotions of labels by one comparison of names (`ser_hf.utils.names.compared`).

    Args:
        label_map: label of the table -> emotion or custom label; these come first.
        valid_labels: the canonical emotions and the custom labels.
    """

    def __init__(self, label_map: Mapping[str, str], valid_labels: Sequence[str]):
        self._label_map = label_map
        self._emotion_of_text = {compared(word): emotion for word, emotion in SYNONYMS.items()}
        for label in valid_labels:
            self._emotion_of_text[compared(label)] = label
        # Keys such as 1 and 01 that differ in their spelling only are told apart by it, if they
        # have different emotions.
        emotions: dict[str, set[str]] = {}
        for word, emotion in label_map.items():
            emotions.setdefault(compared(word), set()).add(emotion)
        for text, emotions_of_text in emotions.items():
            if len(emotions_of_text) == 1:
                self._emotion_of_text[text] = next(iter(emotions_of_text))
        self._read: dict[str, str | None] = {}

    def emotion(self, label: str | None) -> str | None:
        """The canonical emotion or custom label of a label in a table; None if it has none."""
        if label is None:
            return None
        if label in self._label_map:
            return self._label_map[label]
        if label not in self._read:
            self._read[label] = self._emotion_of_text.get(compared(label))
        return self._read[label]


@dataclasses.dataclass(frozen=True)
class UnknownLabels:
    """The labels of a table that are no emotions.

    Attributes:
        counts: label -> the number of its rows.
        in_folders: whether the labels are names of folders.
    """

    counts: Mapping[str, int]
    in_folders: bool = False

    @classmethod
    def of(cls, labels: Iterable[str], in_folders: bool) -> "UnknownLabels":
        """Count the labels, the most frequent first."""
        return cls(dict(Counter(labels).most_common()), in_folders)

    @property
    def are_numbers(self) -> bool:
        """Whether all labels are whole numbers, as in tables of class numbers."""
        return all(_INTEGER.fullmatch(label) for label in self.counts)

    def message(self, first: str | None, hint: str | None = None) -> str:
        """What is wrong with the label `first` and with the others, and the remedies."""
        if first is None or means_missing(first):
            word = "" if not first else f" ({first!r} is read as missing)"
            return f"no label{word}; fill it in, {_SKIP}"
        if self.are_numbers:
            listed = ", ".join(self._listed(self.counts))
            key = next(iter(self.counts))
            return (
                f"labels are numbers without names ({listed}); name each in corpus.label_map, "
                f"as in {{{key}: EMOTION}}, {_SKIP}"
            )
        subject = "the folder " if self.in_folders else ""
        message = f"{subject}{first[:_LONGEST]!r} is not a known emotion"
        if hint is not None:
            return f"{message}; {hint}"
        others = {label: count for label, count in self.counts.items() if label != first}
        if others:
            message += f" ({self._number(self.counts[first])}), nor "
            message += ", ".join(self._listed(others))
        similar = difflib.get_close_matches(first.lower(), EMOTIONS, n=1, cutoff=_SIMILAR)
        example = f"{first[:_LONGEST]}: {similar[0] if similar else 'EMOTION'}"
        return (
            f"{message}; map it with corpus.label_map, as in {{{example}}}, list it in "
            f"corpus.custom_labels, {_SKIP}"
        )

    def _listed(self, counts: Mapping[str, int]) -> list[str]:
        """The first labels with their numbers of rows, and the number of labels after them."""
        listed = []
        for label in list(counts)[:_LISTED]:
            listed.append(f"{label[:_LONGEST]!r} ({self._number(counts[label])})")
        if len(counts) > _LISTED:
            listed.append(f"{len(counts) - _LISTED} more")
        return listed

    def _number(self, count: int) -> str:
        noun = "file" if self.in_folders else "row"
        return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""The voices of babble: training clips, without those of the augmented clip's speaker."""

from collections.abc import Sequence

import numpy as np

from ..utils.errors import UserError


class TrainingVoices:
    """Training clips, from which babble is made. Clips of validation and test are not among them.

    Args:
        waveforms: the waveforms by row, such as a `WaveformStore`, float32 (samples,) each.
        rows: the rows of the training clips.
        speakers: the speaker of each training clip, in the order of `rows`. A clip with an unknown
            speaker needs a key that no other clip has.

    Raises:
        UserError: if all clips have the same speaker, so that babble has no other voice.
    """

    def __init__(
        self, waveforms: Sequence[np.ndarray], rows: Sequence[int], speakers: Sequence[str]
    ):
        if len(set(speakers)) < 2:
            raise UserError(
                "augment.babble: needs training clips of at least two speakers; leave it out"
            )
        self.waveforms = waveforms
        # Sorted by speaker, so that the clips of a speaker are one span.
        names = np.asarray(speakers)
        order = np.argsort(names, kind="stable")
        self.rows = np.asarray(rows)[order]
        self._speaker_of_row = dict(zip(rows, speakers, strict=True))
        sorted_names = names[order]
        starts = np.flatnonzero(np.append(True, sorted_names[1:] != sorted_names[:-1]))
        ends = np.append(starts[1:], len(order))
        self._spans = {
            str(sorted_names[start]): (int(start), int(end))
            for start, end in zip(starts, ends, strict=True)
        }

    def of_others(self, row: int) -> "OtherVoices":
        """The waveforms of all training clips but those of the speaker of a training clip."""
        start, end = self._spans[self._speaker_of_row[row]]
        return OtherVoices(self, start, end)


class OtherVoices(Sequence):
    """The waveforms of the training clips outside of one span, read when they are used."""

    def __init__(self, voices: TrainingVoices, start: int, end: int):
        self._voices = voices
        self._start = start
        self._length_of_span = end - start

    def __len__(self) -> int:
        return len(self._voices.rows) - self._length_of_span

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        position = index if index < self._start else index + self._length_of_span
        return self._voices.waveforms[int(self._voices.rows[position])]

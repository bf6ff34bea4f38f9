"""The voices of babble: the training clips of other speakers."""

import pickle

import numpy as np
import pytest

from ser_hf.audio.voices import TrainingVoices
from ser_hf.utils.errors import UserError

ROWS = [7, 3, 5, 2, 9]
SPEAKERS = ["b", "a", "b", "c", "a"]


def voices():
    waveforms = [np.full(3, row, dtype=np.float32) for row in range(10)]
    return TrainingVoices(waveforms, ROWS, SPEAKERS)


@pytest.mark.parametrize("of", [voices(), pickle.loads(pickle.dumps(voices()))])
def test_the_voices_are_all_training_clips_of_other_speakers(of):
    for row, speaker in zip(ROWS, SPEAKERS, strict=True):
        others = of.of_others(row)
        expected = [r for r, s in zip(ROWS, SPEAKERS, strict=True) if s != speaker]
        assert len(others) == len(expected)
        assert sorted(int(waveform[0]) for waveform in others) == sorted(expected)


def test_a_row_that_is_no_training_clip_is_an_error():
    with pytest.raises(KeyError):
        voices().of_others(4)
    with pytest.raises(IndexError):
        _ = voices().of_others(7)[3]


def test_one_speaker_is_refused():
    with pytest.raises(UserError, match=r"^augment\.babble: .* at least two speakers"):
        TrainingVoices([np.ones(3)] * 2, [0, 1], ["a", "a"])

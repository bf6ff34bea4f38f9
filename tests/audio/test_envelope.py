"""The envelope has the lowest and highest sample of each interval."""

import numpy as np
import pytest
import soundfile

from ser_hf.audio import envelope as module
from ser_hf.audio.decode import AudioError
from ser_hf.audio.envelope import envelope


def test_each_interval_has_its_extremes(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    monkeypatch.setattr(module, "_BLOCK_SECONDS", 0.3)
    result = envelope(str(tmp_path / "a.wav"), intervals=40)
    parts = samples.reshape(40, -1)
    np.testing.assert_array_equal(result.low, np.minimum(parts.min(axis=1), 0))
    np.testing.assert_array_equal(result.high, np.maximum(parts.max(axis=1), 0))
    assert result.duration == 2.0


def test_a_short_recording_has_fewer_intervals(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(10) / 2, 8000)
    assert len(envelope(str(tmp_path / "a.wav")).low) == 10


def test_a_file_that_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"a\.wav"):
        envelope(str(tmp_path / "a.wav"))

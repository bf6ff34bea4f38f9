"""A small corpus with one defect of each kind, inspected once."""

import numpy as np
import pytest
import soundfile
from support.testing import write_corpus

from ser_hf.inspection import inspect_corpus, write_inspection

HOSTILE = "<script>alert(1)<&$x_1^$.wav"


@pytest.fixture(scope="session")
def faulty_root(tmp_path_factory):
    """A synthetic CREMA-D of 3 actors, 6 emotions and 3 sentences.

    test_corpus.py lists the defects.
    """
    root = tmp_path_factory.mktemp("CREMA-D")
    write_corpus("cremad", root, speakers=3, takes=3)
    audio = root / "AudioWAV"

    def path(actor, sentence, emotion):
        # In the release one sentence has levels.
        level = "MD" if sentence == "IEO" and emotion != "NEU" else "XX"
        return audio / f"{actor}_{sentence}_{emotion}_{level}.wav"

    def samples(file):
        return soundfile.read(file, dtype="float32")[0]

    path(1001, "DFA", "ANG").write_bytes(b"")
    path(1001, "IEO", "ANG").write_text("<html>404 not found</html>" * 20)
    truncated = path(1001, "IOM", "ANG")
    truncated.write_bytes(truncated.read_bytes()[:9000])
    nan = samples(path(1001, "DFA", "DIS"))
    nan[100] = np.nan
    soundfile.write(path(1001, "DFA", "DIS"), nan, 16000, subtype="FLOAT")
    soundfile.write(path(1001, "IEO", "DIS"), np.zeros(16000), 16000, subtype="PCM_16")
    clipped = np.clip(40 * samples(path(1001, "IOM", "DIS")), -1, 1)
    soundfile.write(path(1001, "IOM", "DIS"), clipped, 16000, subtype="PCM_16")
    soundfile.write(
        path(1001, "IEO", "FEA"), samples(path(1001, "IEO", "FEA")), 22050, subtype="PCM_16"
    )
    padded = np.concatenate([np.zeros(20000), samples(path(1001, "IEO", "HAP")), np.zeros(24000)])
    soundfile.write(path(1001, "IEO", "HAP"), padded, 16000, subtype="PCM_16")
    soundfile.write(
        path(1001, "IOM", "HAP"),
        samples(path(1001, "IOM", "HAP"))[4000:5000],
        16000,
        subtype="PCM_16",
    )
    # The same audio under a name outside the corpus, under another label, under another speaker.
    (audio / HOSTILE).write_bytes(path(1002, "DFA", "NEU").read_bytes())
    path(1002, "IEO", "NEU").write_bytes(path(1002, "IEO", "SAD").read_bytes())
    path(1003, "IOM", "NEU").write_bytes(path(1002, "IOM", "NEU").read_bytes())
    # The same take, cut and softer.
    soundfile.write(
        path(1003, "DFA", "SAD"),
        0.5 * samples(path(1003, "IEO", "SAD"))[1600:],
        16000,
        subtype="PCM_16",
    )
    path(1003, "DFA", "HAP").unlink()
    # In the release the name of this sentence contains a level.
    path(1003, "IEO", "FEA").rename(audio / "1003_IEO_FEA_XX.wav")
    (audio / "copy").mkdir()
    # The same clip with other bytes, after the audio.
    content = path(1003, "DFA", "ANG").read_bytes() + b"\0\0"
    (audio / "copy" / "1003_DFA_ANG_XX.wav").write_bytes(content)
    return root


@pytest.fixture(scope="session")
def faulty(faulty_root):
    return inspect_corpus("cremad", faulty_root)


@pytest.fixture(scope="session")
def written(faulty, tmp_path_factory):
    """The folder of the faulty corpus's inspection."""
    folder = tmp_path_factory.mktemp("out") / "inspect-cremad"
    write_inspection(faulty, folder)
    return folder

"""Synthetic corpora in official layouts: each is read by its own parser, and has the requested
clips.
"""

import pytest
import soundfile
from support.testing import write_corpus

from ser_hf.corpora import load_corpus

# Name, options of write_corpus, options of load_corpus, emotions, a file that the release places
# likewise.
KINDS = [
    ("ravdess", {}, {}, 8, "Actor_02/03-01-05-01-01-01-02.wav"),
    ("ravdess", {"song": True}, {"song": True}, 8, "Actor_02/03-02-05-01-01-01-02.wav"),
    ("cremad", {}, {}, 6, "AudioWAV/1002_DFA_ANG_XX.wav"),
    ("tess", {}, {}, 7, "YAF_pleasant_surprised/YAF_back_ps.wav"),
    ("savee", {}, {}, 7, "AudioData/JE/sa01.wav"),
    ("emodb", {}, {}, 7, "wav/08a01La.wav"),
    (
        "iemocap",
        {},
        {"classes": 6},
        6,
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav",
    ),
    ("csv", {}, {}, 6, "clips/s01_angry_0.wav"),
]


@pytest.mark.parametrize(("name", "options", "loading", "emotions", "example"), KINDS)
def test_its_own_parser_reads_it(tmp_path, name, options, loading, emotions, example):
    paths = write_corpus(name, tmp_path, speakers=2, takes=1, sampling_rate=8000, **options)
    assert tmp_path / example in paths
    dataset = load_corpus(name, tmp_path / "clips.csv" if name == "csv" else tmp_path, **loading)
    unlabelled = 2 if name == "iemocap" else 0  # the utterances without a majority
    assert len(dataset) == len(paths) - unlabelled
    assert len(dataset.features["label"].names) == emotions
    assert len(set(dataset["speaker"][:])) == 2
    assert {row["audio"]["path"] for row in dataset} <= {str(path) for path in paths}
    samples, rate = soundfile.read(paths[0])
    assert rate == 8000
    assert samples.std() > 0.001

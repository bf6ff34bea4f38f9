"""Synthetic corpora in official layouts: each is read by its own parser, and has the requested clips."""

import csv
import hashlib
import re
from collections import Counter

import numpy as np
import pytest
import soundfile

from ser_hf.corpora import load_corpus
from ser_hf.corpora.cremad import parse as parse_cremad
from ser_hf.corpora.iemocap import read_ratings
from ser_hf.testing import write_corpus

# Name, options of write_corpus, options of load_corpus, emotions, a file that the release places likewise.
KINDS = [
    ("ravdess", {}, {}, 8, "Actor_02/03-01-05-01-01-01-02.wav"),
    ("ravdess", {"song": True}, {"song": True}, 8, "Actor_02/03-02-05-01-01-01-02.wav"),
    ("cremad", {}, {}, 6, "AudioWAV/1002_DFA_ANG_XX.wav"),
    ("tess", {}, {}, 7, "YAF_pleasant_surprised/YAF_back_ps.wav"),
    ("savee", {}, {}, 7, "AudioData/JE/sa01.wav"),
    ("emodb", {}, {}, 7, "wav/08a01La.wav"),
    ("iemocap", {}, {"classes": 6}, 6, "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"),
    ("csv", {}, {}, 6, "clips/s01_angry_0.wav"),
]


@pytest.fixture
def silent(monkeypatch):
    """Names without sound: for tests of many of them."""
    monkeypatch.setattr("ser_hf.testing.corpora.utterance", lambda *args: np.zeros(8, np.float32))
    monkeypatch.setattr("ser_hf.testing.corpora.soundfile.write", lambda path, *args, **kwargs: path.touch())


def digests(root):
    return {p.relative_to(root): hashlib.sha256(p.read_bytes()).digest() for p in root.rglob("*") if p.is_file()}


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


@pytest.mark.parametrize(
    ("name", "options"), [("cremad", {"votes": True}), ("iemocap", {}), ("csv", {})], ids=lambda value: str(value)
)
def test_the_same_arguments_give_the_same_files(tmp_path, name, options):
    for folder in ("one", "two"):
        write_corpus(name, tmp_path / folder, speakers=1, takes=1, sampling_rate=8000, **options)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    write_corpus(name, tmp_path / "other", speakers=1, takes=1, sampling_rate=8000, seed=1, **options)
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_no_corpus_is_larger_than_its_release(tmp_path, silent, monkeypatch):
    monkeypatch.setattr("ser_hf.testing.corpora.soundfile.write", lambda *args, **kwargs: None)
    counts = {
        name: len(write_corpus(name, tmp_path / name, speakers=100, takes=31))
        for name in ("ravdess", "cremad", "tess", "savee", "emodb", "iemocap")
    }
    assert counts == {
        "ravdess": 1440,
        "cremad": 91 * 6 * 12,
        "tess": 2 * 7 * 20,
        "savee": 480,
        "emodb": 10 * 7 * 31,
        "iemocap": 10 * 7 * 31,
    }
    songs = write_corpus("ravdess", tmp_path / "song", speakers=100, takes=31, song=True)
    assert len(songs) == 1440 + 1012


def test_tess_has_the_misspelled_file_of_the_release(tmp_path, silent):
    paths = write_corpus("tess", tmp_path, speakers=2, takes=7)
    assert [path.stem for path in paths if not re.match("[OY]AF_", path.name)] == ["OA_bite_neutral"]
    folders = {path.parent.name for path in paths}
    assert {"OAF_Fear", "OAF_Pleasant_surprise", "OAF_Sad", "OAF_angry", "YAF_fear", "YAF_sad"} <= folders


def test_votes_have_the_columns_of_the_release(tmp_path, real_corpora):
    write_corpus("cremad", tmp_path, speakers=1, takes=1, sampling_rate=8000, votes=True)
    released = real_corpora("CREMA-D-metadata/processedResults/tabulatedVotes.csv").open().readline()
    with (tmp_path / "processedResults" / "tabulatedVotes.csv").open() as written:
        assert written.readline() == released


def test_votes_agree_more_the_more_raters_perceive(tmp_path, silent):
    write_corpus("cremad", tmp_path, speakers=5, takes=6, votes=True)
    with (tmp_path / "processedResults" / "tabulatedVotes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row[""][0] for row in rows) == {"1": 180, "2": 180, "3": 180}
    assert all(sum(int(row[letter]) for letter in "ADFHNS") == 10 for row in rows)
    agreeing = {}
    for target in ("voice", "face", "multimodal"):
        clips = parse_cremad(tmp_path, target=target, soft=True).clips
        assert len(clips) == 180
        agreeing[target] = sum(clip.emotion == clip.extra["intended"] for clip in clips)
    assert 90 < agreeing["voice"] < agreeing["face"] < agreeing["multimodal"] <= 180


def test_iemocap_labels_follow_the_recordings_in_time(tmp_path):
    paths = write_corpus("iemocap", tmp_path, speakers=3, takes=2, sampling_rate=8000)
    tables = sorted(tmp_path.rglob("EmoEvaluation/*.txt"))
    assert [table.stem for table in tables] == [
        f"Ses0{session}F_{scene}" for session in (1, 2) for scene in ("impro01", "script01_1")
    ]
    assert sorted(name for table in tables for name in read_ratings(table)) == sorted(path.stem for path in paths)
    times = re.findall(r"^\[([0-9.]+) - ([0-9.]+)\]\t(\S+)", tables[0].read_text(), re.MULTILINE)
    for (start, end, name), (following, _, _) in zip(times, times[1:], strict=False):
        (path,) = [path for path in paths if path.stem == name]
        assert float(end) - float(start) == pytest.approx(soundfile.info(path).duration, abs=1e-3)
        assert end == following


def test_the_table_has_sex_session_and_loudness(tmp_path):
    write_corpus("csv", tmp_path, speakers=4, takes=1, sampling_rate=8000)
    dataset = load_corpus("csv", tmp_path / "clips.csv")
    assert Counter(dataset["session"][:]) == {"morning": 18, "evening": 6}
    assert dict(zip(dataset["speaker"][:], dataset["sex"][:], strict=True)) == {
        f"csv:s{n:02d}": "female" if n % 2 == 0 else "male" for n in range(4)
    }
    for row in dataset:
        samples, _ = soundfile.read(row["audio"]["path"])
        assert row["loudness"] == pytest.approx(10 * np.log10(np.mean(samples**2)), abs=0.2)


def test_flac_files(tmp_path):
    paths = write_corpus("savee", tmp_path, speakers=1, takes=1, sampling_rate=8000, suffix=".flac")
    assert {soundfile.info(path).format for path in paths} == {"FLAC"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("crema", {}, "unknown corpus 'crema'; choose one of ravdess, cremad"),
        ("cremad", {"song": True}, "song: not an option of cremad"),
        ("ravdess", {"votes": True}, "votes: not an option of ravdess"),
        ("emodb", {"layout": "flat"}, "layout: not an option of emodb"),
    ],
)
def test_unknown_corpora_and_options_are_refused(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        write_corpus(name, tmp_path, **options)
    assert not list(tmp_path.iterdir())

"""ESD: emotion and sentence follow from the number in a name; a folder that contradicts it is refused."""

from pathlib import PurePath

import pytest

from ser_hf.corpora import corpus_facts
from ser_hf.corpora.esd import parse, read_name
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize(
    ("path", "emotion", "sentence"),
    [
        ("0011/Neutral/0011_000001.wav", "neutral", "en 001"),
        ("0011/Neutral/0011_000350.wav", "neutral", "en 350"),
        ("0010/Angry/0010_000351.wav", "angry", "zh 001"),
        ("0020_001050.wav", "happy", "en 350"),
        ("x/0001/Sad/test/0001_001051.wav", "sad", "zh 001"),
        ("0001/Surprise/0001_001750.wav", "surprise", "zh 350"),
    ],
)
def test_names(path, emotion, sentence):
    clip = read_name(PurePath(path))
    assert (clip.emotion, clip.sentence, clip.language) == (emotion, sentence, sentence[:2])
    assert clip.speaker == f"esd:{PurePath(path).stem[:4]}"
    assert clip.id == f"esd/{PurePath(path).stem}"


OTHERS = "0011/Happy/0011_000001 0011_000000 0011_001751 0021_000001 0000_000001 0011_00001 0011-000001"


@pytest.mark.parametrize("path", OTHERS.split())
def test_other_names_are_refused(path):
    assert read_name(PurePath(f"{path}.wav")) is None


@pytest.fixture
def tree(tmp_path):
    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"not decoded here")
        return tmp_path

    return write


def test_one_language_of_two(tree):
    root = tree("0010/Angry/0010_000351.wav", "0011/Sad/0011_001051.wav")
    assert len(parse(root).clips) == 2
    listing = parse(root, part="english")
    assert [clip.language for clip in listing.clips] == ["en"]
    assert [reason for _, reason in listing.skipped] == ["the other language (corpus.part is english)"]
    assert [clip.language for clip in parse(root, part="mandarin").clips] == ["zh"]


def test_a_clip_in_the_folder_of_another_emotion_is_refused(tree):
    with pytest.raises(UserError, match=r"0011_000001.wav: not a file name of ESD \(such as Angry/0011_000351.wav\)"):
        parse(tree("0011/Happy/0011_000001.wav"))


@pytest.mark.parametrize(("part", "language"), [("both", ["en", "zh"]), ("english", "en"), ("mandarin", "zh")])
def test_cards_list_the_languages(part, language):
    facts = corpus_facts("esd", {"part": part})
    assert facts["language"] == language
    assert facts["non_commercial"] is True

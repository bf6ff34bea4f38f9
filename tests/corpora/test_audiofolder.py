"""A folder in datasets' layout: labels by folder or metadata, parts by folder, speakers told and never guessed."""

import json

import pytest

from ser_hf.corpora import load_corpus
from ser_hf.corpora.audio_folder import parse
from ser_hf.errors import UserError

PATTERN = "([a-z]+)_[0-9]+"


@pytest.fixture
def folder(tmp_path):
    """A function that writes empty audio files and a text file below a folder, and gives the folder."""

    def write(*names, **texts):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"not decoded here")
        for name, text in texts.items():
            name = name.replace("__", "/").replace("_csv", ".csv").replace("_jsonl", ".jsonl")
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_folders_are_labels_and_a_pattern_tells_the_speaker(folder):
    root = folder("anger/anna_1.wav", "sub/Sad/ben_2.FLAC")
    first, second = parse(root, speaker_pattern=PATTERN).clips
    assert (first.id, first.emotion, first.speaker) == ("audiofolder/anger/anna_1", "angry", "audiofolder:anna")
    assert (second.id, second.emotion, second.speaker) == ("audiofolder/sub/Sad/ben_2", "sad", "audiofolder:ben")
    assert first.extra == {}


def test_speakers_are_not_guessed(folder):
    with pytest.raises(UserError, match=r"anger/anna_1.wav: it is not told who speaks.*corpus.speaker_pattern"):
        parse(folder("anger/anna_1.wav"))


@pytest.mark.parametrize(("part", "split"), [("train", "train"), ("Dev", "validation"), ("test", "test")])
def test_a_folder_of_the_root_is_a_part(folder, part, split):
    (clip,) = parse(folder(f"{part}/sad/ben_2.wav"), speaker_pattern=PATTERN).clips
    assert clip.extra == {"split": split}
    assert clip.emotion == "sad"


def test_metadata_tells_and_files_beside_it_are_left_out(folder):
    text = "file_name,label,speaker,gender,rating\na.wav,joy,anna,F,3\nsub/b.wav,Wut,ben,M,4\n"
    root = folder("a.wav", "sub/b.wav", "sub/stray.wav", metadata_csv=text)
    listing = parse(root, label_map={"Wut": "angry"}, columns={"sex": "gender"}, corpus_name="calls")
    first, second = listing.clips
    assert (first.emotion, first.speaker, first.sex, first.extra) == ("happy", "calls:anna", "female", {"rating": 3})
    assert (second.id, second.emotion, second.language) == ("calls/sub/b", "angry", None)
    assert listing.skipped == [(str(root / "sub/stray.wav"), "in no metadata")]


def test_metadata_without_labels_leaves_them_to_the_folders(folder):
    root = folder("sad/a.wav", metadata_csv="file_name,speaker\nsad/a.wav,anna\n")
    assert parse(root).clips[0].emotion == "sad"


def test_metadata_of_each_part_in_json_lines(folder):
    lines = [{"file_name": "a.wav", "label": "sad", "speaker": 7, "code": "007", "words": ["x"]}, {}]
    lines[1] = {"file_name": "b.wav", "label": "angry", "speaker": "8", "code": "8"}
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    other = json.dumps(lines[0])
    root = folder("train/a.wav", "train/b.wav", "test/a.wav", train__metadata_jsonl=text, test__metadata_jsonl=other)
    clips = {clip.id: clip for clip in parse(root, language="de").clips}
    assert clips["audiofolder/train/a"].speaker == "audiofolder:7"
    assert clips["audiofolder/train/a"].extra == {"split": "train", "code": "007"}
    assert clips["audiofolder/test/a"].extra == {"split": "test", "code": "007"}
    assert clips["audiofolder/train/b"].language == "de"


def test_the_root_may_be_written_in_a_roundabout_way(folder):
    root = folder("a.wav", metadata_csv="file_name,label,speaker\na.wav,sad,anna\n")
    listing = parse(f"{root}/../{root.name}")
    assert (len(listing.clips), listing.skipped) == (1, [])


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"metadata_csv": "file_name,label,speaker\n"}, "metadata.csv: no row; fill it in, or remove it"),
        (
            {"metadata_csv": "file,label,speaker\na.wav,sad,x\n"},
            "metadata.csv, line 2: no file_name; it names the audio",
        ),
        ({"metadata_csv": "file_name,label,speaker\nno.wav,sad,x\n"}, "line 2: no file .*no.wav; mend the row"),
        ({"metadata_csv": "file_name,label,speaker\na.wav,,x\n"}, "line 2: no label"),
        ({"metadata_csv": "file_name,label,speaker\na.wav,sad,\n"}, "line 2: it is not told who speaks"),
        (
            {"metadata_csv": "file_name,label,speaker\na.wav,sad,x\nsub/../a.wav,sad,x\n"},
            "line 3: .*a.wav stands in .*line 2 too",
        ),
        ({"metadata_jsonl": '{"file_name": "a.wav"\n'}, "metadata.jsonl, line 1: not valid JSON"),
        ({"metadata_jsonl": '\n["a.wav"]\n'}, "metadata.jsonl, line 2: expected a JSON object"),
    ],
)
def test_a_mistake_is_named(folder, texts, told):
    with pytest.raises(UserError, match=told):
        parse(folder("a.wav", **texts))


@pytest.mark.parametrize(("root", "told"), [(None, "corpus.root: missing"), ("nowhere", "is not a folder")])
def test_a_folder_that_is_not_there_is_named(root, told):
    with pytest.raises(UserError, match=told):
        parse(root)


def test_rows_and_facts(folder):
    root = folder("sad/anna_1.wav", "angry/ben_1.wav")
    dataset = load_corpus("audiofolder", root, speaker_pattern=PATTERN, title="Calls", corpus_name="calls")
    assert dataset["corpus"][:] == ["calls", "calls"]
    assert dataset.features["label"].names == ["angry", "sad"]

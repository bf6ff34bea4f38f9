"""A folder in datasets' layout: labels by folder or metadata, splits by folder, speakers by column
or pattern.
"""

import json
from pathlib import Path

import pytest
from support.blank import write_blank

from ser_hf.corpora import audiofolder, corpus_settings, load_corpus
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return audiofolder.parse(corpus_settings("audiofolder", root, **keys))


PATTERN = "([a-z]+)_[0-9]+"


@pytest.fixture
def folder(tmp_path):
    """A function that writes empty audio files and a text file below a folder, and gives the
    folder.
    """

    def write(*names, **texts):
        for name, text in texts.items():
            name = name.replace("__", "/").replace("_csv", ".csv").replace("_jsonl", ".jsonl")
            write_blank(tmp_path, name, content=text.encode())
        return write_blank(tmp_path, *names)

    return write


def test_folders_are_labels_and_a_pattern_finds_the_speaker(folder):
    root = folder("anger/anna_1.wav", "sub/Sad/ben_2.FLAC")
    first, second = parse(root, speaker_pattern=PATTERN).clips
    assert (first.id, first.emotion, first.speaker) == (
        "audiofolder/anger/anna_1",
        "angry",
        "audiofolder:anna",
    )
    assert (second.id, second.emotion, second.speaker) == (
        "audiofolder/sub/Sad/ben_2",
        "sad",
        "audiofolder:ben",
    )
    assert first.extra == {}


def test_parts_may_be_below_other_folders(folder):
    root = folder(
        *(
            f"data/{name}_1.wav"
            for name in ("train/sad/ben", "Eval/sad/cleo", "Dev/sad/eva", "sad/dora")
        )
    )
    clips = parse(root, speaker_pattern=PATTERN).clips
    assert {clip.speaker: clip.extra for clip in clips} == {
        "audiofolder:ben": {"split": "train"},
        "audiofolder:cleo": {"split": "test"},
        "audiofolder:eva": {"split": "validation"},
        "audiofolder:dora": {"split": None},
    }


def test_metadata_in_a_linked_folder_is_read_and_in_a_hidden_one_is_not(folder, tmp_path_factory):
    elsewhere = write_blank(tmp_path_factory.mktemp("elsewhere"), "a.wav")
    (elsewhere / "metadata.csv").write_text(
        "file_name,label,speaker\na.wav,sad,anna\n", encoding="utf-8"
    )
    root = folder(".ipynb_checkpoints/x.wav")
    (root / ".ipynb_checkpoints/metadata.csv").write_text(
        "file_name,label\nx.wav,happy\n", encoding="utf-8"
    )
    (root / "happy").symlink_to(elsewhere)
    (clip,) = parse(root).clips
    assert (clip.path, clip.emotion, clip.speaker) == (
        str(root / "happy/a.wav"),
        "sad",
        "audiofolder:anna",
    )


def test_recordings_in_unsupported_formats_are_named(folder, caplog):
    root = folder(
        "sad/anna_1.wav", "angry/ben_1.wav", "sad/cleo_1.m4a", "sad/dora_1.Opus", "sad/notes.txt"
    )
    reasons = {
        Path(path).name: reason for path, reason in parse(root, speaker_pattern=PATTERN).skipped
    }
    assert reasons == {
        "cleo_1.m4a": ".m4a is not supported; convert it to .wav or .flac",
        "dora_1.Opus": ".Opus is not supported; convert it to .wav or .flac",
    }
    load_corpus("audiofolder", root, speaker_pattern=PATTERN)
    assert "left out, .m4a is not supported; convert it to .wav or .flac: 1" in caplog.text


def test_metadata_of_each_part_in_json_lines(folder):
    one = json.dumps(
        {"file_name": "a.wav", "label": "sad", "speaker": 7, "code": "007", "words": ["x"]}
    )
    other = json.dumps({"file_name": "b.wav", "label": "angry", "speaker": "8", "code": "8"})
    texts = {"train__metadata_jsonl": f"{one}\n{other}\n\n", "test__metadata_jsonl": one}
    root = folder("train/a.wav", "train/b.wav", "test/a.wav", **texts)
    clips = {clip.id: clip for clip in parse(root, language="de").clips}
    assert clips["audiofolder/train/a"].speaker == "audiofolder:7"
    assert clips["audiofolder/train/a"].extra == {"split": "train", "code": "007"}
    assert clips["audiofolder/test/a"].extra == {"split": "test", "code": "007"}
    assert clips["audiofolder/train/b"].language == "de"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"metadata.parquet": "PAR1"},
            "metadata.parquet: Parquet is not read here; save it as metadata.csv",
        ),
        (
            {"metadata_csv": "file_name,label,speaker\n"},
            "metadata.csv: no row; fill it in, or remove it",
        ),
        (
            {"metadata_csv": "file,label\na.wav,sad\n"},
            "metadata.csv, line 2: no file_name; it is the path of the audio",
        ),
        ({"metadata_jsonl": '{"file_name": "a.wav"\n'}, "metadata.jsonl, line 1: not valid JSON"),
        ({"metadata_jsonl": "[" * 100_000}, "metadata.jsonl, line 1: not valid JSON"),
        (
            {"metadata_jsonl": r'{"file_name": "a.wav", "\ud800": 1}'},
            "metadata.jsonl, line 1: not valid JSON",
        ),
        ({"metadata_jsonl": '\n["a.wav"]\n'}, "metadata.jsonl, line 2: expected a JSON object"),
    ],
)
def test_a_mistake_is_named(folder, texts, message):
    with pytest.raises(UserError, match=message):
        parse(folder("a.wav", **texts))


def test_a_folder_of_a_split_below_the_label_is_passed_over(folder):
    root = folder("0001/Angry/train/0001_a.wav", "0002/Sad/test/0002_s.wav")
    clips = parse(root, speaker_pattern="^([0-9]{4})/").clips
    assert [(clip.emotion, clip.extra["split"]) for clip in clips] == [
        ("angry", "train"),
        ("sad", "test"),
    ]


def test_unknown_folders_are_named_with_their_remedy(folder):
    root = folder("set_one/s1_x.wav", "set_two/s1_x.wav", "set_two/s2_x.wav")
    with pytest.raises(UserError, match="the folder 'set_one' .*, nor 'set_two' .2 files.; map it"):
        parse(root, speaker_pattern="(s[0-9])")
    root = folder("angry/anna/01.wav")
    with pytest.raises(UserError, match="'anna' is not a known emotion; the folder 'angry' above"):
        parse(root, no_speaker="one")

"""MELD: three tables, audio taken out of the films, the official parts."""

import pytest

from ser_hf.corpora import load_corpus
from ser_hf.corpora.meld import parse
from ser_hf.protocols import split_corpus
from ser_hf.utils.errors import UserError

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
TIMES = '4,7,"00:20:57,256","00:21:00,049"\n'


def line(dialogue, utterance, speaker="Phoebe", emotion="joy", text='"Oh, no"'):
    return f"1,{text},{speaker},{emotion},positive,{dialogue},{utterance},{TIMES}"


@pytest.fixture
def meld(tmp_path):
    """A function that writes files of audio and tables by part, and gives the folder."""

    def write(*names, encoding="utf-8", **tables):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"not decoded here")
        for part, lines in tables.items():
            (tmp_path / f"{part}_sent_emo.csv").write_bytes((HEADER + lines).encode(encoding))
        return tmp_path

    return write


def test_an_utterance(meld):
    root = meld("train/train_splits/dia0_utt3.wav", "._x/train_splits/._dia0_utt3.wav", train=line(0, 3))
    ((clip,), skipped) = parse(root).clips, parse(root).skipped
    assert (clip.id, clip.speaker, clip.emotion) == ("meld/train/dia0_utt3", "meld:Phoebe", "happy")
    assert (clip.sentence, clip.language) == ("Oh, no", "en")
    extra = {"split": "train", "dialogue": "train 0", "sentiment": "positive", "season": "4", "episode": "7"}
    assert clip.extra == extra
    assert skipped == []


def test_equal_names_of_two_parts_are_two_utterances(meld):
    root = meld(
        *("train_splits/dia0_utt0.flac", "dev_splits_complete/dia0_utt0.wav"),
        *("output_repeated_splits_test/dia0_utt0.wav", "output_repeated_splits_test/final_videos_testdia0_utt0.wav"),
        train=line(0, 0),
        dev=line(0, 0, emotion="ANGER"),
        test=line(0, 0, emotion="sadness"),
    )
    listing = parse(root)
    assert [clip.id.split("/")[1] for clip in listing.clips] == ["train", "validation", "test"]
    assert [clip.emotion for clip in listing.clips] == ["happy", "angry", "sad"]
    assert [reason for _, reason in listing.skipped] == ["not in any table"]


def test_the_two_damaged_films_are_left_out(meld):
    root = meld("train_splits/dia0_utt0.wav", train=line(0, 0) + line(125, 3), dev=line(110, 7))
    listing = parse(root)
    assert len(listing.clips) == 1
    assert [reason.partition(" (")[0] for _, reason in listing.skipped] == [
        "its film is damaged",
        "its film is not in the release",
    ]


def test_windows_text_and_line_ends(meld):
    lines = line(0, 0, text='"It\u2019s"').replace("\n", "\r\n")
    root = meld("train_splits/dia0_utt0.wav", train=lines, encoding="cp1252")
    assert parse(root).clips[0].sentence == "It\u2019s"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (line(0, 0, emotion="rage"), "line 2: expected a speaker and one of anger, .* got 'rage'"),
        (line(0, 0, speaker=""), "line 2: expected a speaker and one of"),
        (line(0, 1), "line 2: no audio dia0_utt1.wav .* in a folder that begins with train"),
    ],
)
def test_a_mistake_in_a_table_is_named(meld, lines, message):
    with pytest.raises(UserError, match=f"train_sent_emo.csv, {message}"):
        parse(meld("train_splits/dia0_utt0.wav", train=lines))


def test_another_table_is_refused(meld):
    root = meld("train_splits/dia0_utt0.wav")
    (root / "train_sent_emo.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="not MELD's table, it lacks the column 'Utterance'"):
        parse(root)


def test_an_utterance_in_two_places_is_refused(meld):
    root = meld("train_splits/dia0_utt0.wav", "train_splits/copy/dia0_utt0.wav", train=line(0, 0))
    with pytest.raises(UserError, match="dia0_utt0.wav: dia0_utt0 of train is also at .*; remove one"):
        parse(root)


def test_a_folder_without_tables_is_named(meld, tmp_path):
    for root, message in ((None, "missing; MELD needs"), (meld("a.wav"), "holds none of train_sent_emo.csv, ")):
        with pytest.raises(UserError, match=f"corpus.root: .*{message}"):
            parse(root)


def test_the_official_splits_share_speakers(meld):
    lines = "".join(line(0, i, emotion=emotion) for i, emotion in enumerate(("joy", "anger")))
    folders = ("train_splits", "dev_splits_complete", "output_repeated_splits_test")
    names = [f"{folder}/dia0_utt{i}.wav" for folder in folders for i in range(2)]
    dataset = load_corpus("meld", meld(*names, train=lines, dev=lines, test=lines))
    with pytest.raises(UserError, match="protocol.column: split: Speaker-dependent: 1 of the 1 test speakers"):
        split_corpus(dataset, "column")
    (split,) = split_corpus(dataset, "column", shared_speakers=True)
    assert [len(split.rows[part]) for part in ("train", "validation", "test")] == [2, 2, 2]
    assert split.leak

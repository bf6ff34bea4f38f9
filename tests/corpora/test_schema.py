"""Rows: the columns and features that everything after a corpus relies on."""

import pytest
from datasets import Audio, ClassLabel, List, Value
from support.blank import write_blank

from ser_hf.corpora import EMOTIONS, load_corpus
from ser_hf.corpora.schema import EMOTION_COLORS, Clip, Listing, to_dataset
from ser_hf.utils.errors import UserError

COLUMNS = {
    "audio": Audio(sampling_rate=16000, decode=False),
    "label": ClassLabel(names=list(EMOTIONS[:8])),
    "speaker": Value("string"),
    "corpus": Value("string"),
    "id": Value("string"),
    "sex": Value("string"),
    "age": Value("int32"),
    "language": Value("string"),
    "sentence": Value("string"),
    "intensity": Value("string"),
    "take": Value("int32"),
    "start": Value("float64"),
    "end": Value("float64"),
    "duration": Value("float32"),
    "content_hash": Value("string"),
}


@pytest.fixture
def root(tmp_path):
    """Three actors of RAVDESS by name, two clips of each emotion."""
    for actor in ("01", "02", "03"):
        names = [
            f"03-01-0{emotion}-01-0{statement}-01-{actor}.wav"
            for emotion in range(1, 9)
            for statement in (1, 2)
        ]
        write_blank(tmp_path / f"Actor_{actor}", *names)
    return tmp_path


def test_the_canonical_order_of_emotions():
    assert EMOTIONS[:9] == (
        "angry",
        "disgust",
        "fear",
        "happy",
        "neutral",
        "sad",
        "surprise",
        "calm",
        "boredom",
    )
    assert set(EMOTIONS[9:]) == {"excited", "frustrated", "contempt", "other"}


def test_a_corpus_has_the_columns_of_the_contract(root):
    assert dict(load_corpus("ravdess", root).features) == COLUMNS


def test_a_row_points_at_its_file_and_is_not_decoded(root):
    row = load_corpus("ravdess", root)[0]
    path = root / "Actor_01" / "03-01-01-01-01-01-01.wav"
    assert row.pop("audio") == {"path": str(path), "bytes": None}
    assert row == {
        "label": 4,
        "speaker": "ravdess:01",
        "corpus": "ravdess",
        "id": "ravdess/03-01-01-01-01-01-01",
        "sex": "male",
        "age": None,
        "language": "en",
        "sentence": "Kids are talking by the door",
        "intensity": "normal",
        "take": 1,
        "start": None,
        "end": None,
        "duration": None,
        "content_hash": None,
    }


def test_the_recipe_orders_the_classes_and_sets_the_rate(root):
    labels = ["sad", "neutral", "angry"]
    drop = ["calm", "disgust", "fear", "happy", "surprise"]
    dataset = load_corpus("ravdess", root, labels=labels, drop=drop, sampling_rate=22050)
    assert dataset.features["label"].names == labels
    assert dataset.features["audio"].sampling_rate == 22050
    named = {"04": "sad", "01": "neutral", "05": "angry"}
    for row in dataset:
        assert labels[row["label"]] == named[row["id"].split("/")[1].split("-")[2]]


def clip(name, **fields):
    return Clip(path=f"{name}.wav", emotion="sad", speaker="x:1", id=f"x/{name}", **fields)


def test_votes_are_a_column_of_as_many_shares_as_classes():
    clips = [clip("a", votes={"sad": 1}), clip("b")]
    votes = [[0.25, 0.75], None]
    dataset = to_dataset(Listing("x", clips), ["sad", "angry"], ["angry", "sad"], 16000, votes)
    assert dict(dataset.features) == COLUMNS | {
        "label": ClassLabel(names=["angry", "sad"]),
        "votes": List(Value("float32"), length=2),
    }
    assert dataset["votes"][:] == votes
    assert dataset["label"][:] == [1, 0]


def test_extra_values_are_columns_with_a_type_and_null_where_missing():
    extras = {"session": "Ses01", "agreement": 0.5}, {"agreement": 1.0, "raters": 3}, {}
    clips = [clip(name, extra=extra) for name, extra in zip("abc", extras, strict=True)]
    dataset = to_dataset(Listing("x", clips), ["sad"] * 3, ["sad"], 16000)
    extra = {"session": Value("string"), "agreement": Value("float64"), "raters": Value("int64")}
    assert dict(dataset.features) == COLUMNS | {"label": ClassLabel(names=["sad"])} | extra
    assert list(dataset.features)[-3:] == ["session", "agreement", "raters"]
    assert dataset["session"][:] == ["Ses01", None, None]
    assert dataset["agreement"][:] == [0.5, 1.0, None]
    assert dataset["raters"][:] == [None, 3, None]


@pytest.mark.parametrize("name", ["audio", "label", "speaker", "duration", "votes"])
def test_an_extra_value_may_not_have_the_name_of_a_column(name):
    clips = [clip("a", votes={"sad": 1}, extra={"session": "1", name: "mine"})]
    with pytest.raises(UserError, match=f"corpus.root: x has a column '{name}', a reserved name"):
        to_dataset(Listing("x", clips), ["sad"], ["sad"], 16000, [[1.0]])


def test_every_emotion_has_a_color_and_the_common_ones_those_that_readers_expect():
    assert len(set(EMOTION_COLORS.values())) == len(EMOTIONS)
    red, blue, yellow = (
        bytes.fromhex(EMOTION_COLORS[name][1:]) for name in ("angry", "sad", "happy")
    )
    assert red[0] > 2 * max(red[1:])
    assert blue[2] > max(blue[:2])
    assert min(yellow[:2]) > 2 * yellow[2]

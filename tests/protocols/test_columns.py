"""Parts from a column, one column per fold; EmoBox's folds."""

import pytest

from ser_hf.protocols import PARTS, split_corpus
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import parse_yaml

OF_SPEAKER = {
    "x:01": "train",
    "x:02": "train",
    "x:03": "train",
    "x:04": "dev",
    "x:05": "test",
    "x:06": "test",
}


@pytest.fixture(scope="module")
def dataset(make_corpus):
    return make_corpus(6)


@pytest.fixture(scope="module")
def with_parts(dataset):
    """A function from names of columns, and for each a function from a row's speaker and number to
    its word, to the corpus that has them."""

    def add(**columns):
        corpus = dataset
        for name, word_of in columns.items():
            words = [word_of(speaker, row) for row, speaker in enumerate(dataset["speaker"])]
            corpus = corpus.add_column(name, words)
        return corpus

    return add


def of_speaker(words):
    return lambda speaker, i: words.get(speaker)


def test_the_words_of_a_column_are_the_parts(with_parts):
    (split,) = split_corpus(with_parts(split=of_speaker(OF_SPEAKER)), "column")
    assert split.speakers == {
        "train": ["x:01", "x:02", "x:03"],
        "validation": ["x:04"],
        "test": ["x:05", "x:06"],
    }
    assert split.name == "column"
    assert split.fold is None
    assert split.leak is None
    assert split.notes == ()
    assert split.apart == dict.fromkeys(split.apart, ("speaker",))


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        ((0.0, 10.0, 9.0), "{0: train, 9: validation, 10: test}"),
        ((False, True, False), "{False: train, True: test}"),
        (("False", "True", "False"), "{False: train, True: test}"),
    ],
)
def test_numbers_and_booleans_are_parts_as_in_the_recipe(with_parts, cells, parts):
    words = dict(zip(("train", "test", "dev"), cells, strict=True))
    corpus = with_parts(
        fold=of_speaker({speaker: words[part] for speaker, part in OF_SPEAKER.items()})
    )
    (split,) = split_corpus(corpus, "column", column="fold", parts=parse_yaml(parts, "here"))
    assert split.speakers["test"] == ["x:05", "x:06"]


def test_one_column_a_fold(with_parts):
    swapped = OF_SPEAKER | {"x:01": "test", "x:05": "train", "x:06": "train"}
    corpus = with_parts(a=of_speaker(OF_SPEAKER), b=of_speaker(swapped))
    folds = split_corpus(corpus, "column", column=["a", "b"])
    assert [(fold.fold, fold.speakers["test"]) for fold in folds] == [
        ("a", ["x:05", "x:06"]),
        ("b", ["x:01"]),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "fold"}, "protocol.column: no column 'fold'; the corpus has audio, label"),
        ({"column": []}, "protocol.column: expected a text"),
        ({"parts": {"a": "dev"}}, "protocol.parts.a: expected one of train, validation, test"),
        ({"parts": {"train": "train"}}, "protocol.column: no clip has test in the column 'split'"),
        ({"column": "speaker"}, "protocol.column: 'x:01' in the column 'speaker' is not a part"),
    ],
)
def test_a_mistake_is_named(with_parts, options, message):
    with pytest.raises(UserError) as error:
        split_corpus(with_parts(split=of_speaker(OF_SPEAKER)), "column", **options)
    assert str(error.value).startswith(message)


def by_clip(speaker, i):
    """Each speaker's two takes of a label are in both parts."""
    return "test" if i // 3 % 2 else "train"


def test_shared_speakers_are_allowed_by_name_only(with_parts):
    corpus = with_parts(split=by_clip)
    message = r"^protocol\.column: split: Speaker-dependent: 5 of the 6 test speakers"
    with pytest.raises(UserError, match=message):
        split_corpus(corpus, "column")
    assert split_corpus(corpus, "column", shared_speakers=True)[0].leak


def test_emoboxes_folds_by_speaker(with_parts):
    others = OF_SPEAKER | {"x:04": "train"}
    corpus = with_parts(fold_10=of_speaker(others | {"x:01": "test"}), fold_2=of_speaker(others))
    second, tenth = split_corpus(corpus, "emobox/lists", validation=0.3)
    assert (second.fold, tenth.fold) == ("fold_2", "fold_10")
    assert tenth.speakers["test"] == ["x:01", "x:05", "x:06"]
    assert len(second.speakers["validation"]) == 1
    assert second.apart == dict.fromkeys(second.apart, ("speaker",))


def test_emoboxes_folds_by_clip_share_speakers_as_published(with_parts):
    (split,) = split_corpus(with_parts(fold_1=by_clip), "emobox/lists", validation=0.5, seed=1)
    assert split.fold is None
    assert [len(split.rows[part]) for part in PARTS] == [9, 9, 18]
    assert split.leak
    assert split.apart == dict.fromkeys(split.apart, ())
    labels = split.table(with_parts(fold_1=by_clip)).splitlines()[2].split()[3:]
    assert labels == ["3", "3", "3"]


def test_validation_that_emobox_lists_is_taken(with_parts):
    (split,) = split_corpus(with_parts(fold_1=of_speaker(OF_SPEAKER)), "emobox/lists")
    assert split.speakers["validation"] == ["x:04"]
    assert split.apart["train/validation"] == ("speaker",)


def test_validation_that_emobox_lists_may_share_speakers_with_train(with_parts):
    def by_clip_within_train(speaker, i):
        if speaker > "x:04":
            return "test"
        return {"train": "train", "test": "dev"}[by_clip(speaker, i)]

    (mixed,) = split_corpus(with_parts(fold_1=by_clip_within_train), "emobox/lists")
    assert mixed.apart["train/validation"] == ()


def test_a_corpus_without_folds_is_named(with_parts):
    with pytest.raises(UserError, match=r"^protocol\.name: emobox/lists needs the columns fold_1"):
        split_corpus(with_parts(), "emobox/lists")

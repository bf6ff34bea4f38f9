"""Splits that keep sentences apart, also with few sentences or speakers."""

import pytest

from ser_hf.protocols import PARTS, audit, split_corpus
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_draws")

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def crossed(make_corpus):
    """A function from a number of speakers to a corpus in which each says four sentences (or as
    many as requested) in each of three emotions.
    """

    def make(speakers, sentences=4):
        emotions = {f"x:{n:02d}": list(LABELS) * sentences for n in range(1, speakers + 1)}
        return make_corpus(emotions, sentence=lambda number, take: f"sentence {take // 3}")

    return make


def sentences_of(dataset, split):
    """The sentences of each split."""
    sentences = dataset["sentence"][:]
    return {part: {sentences[row] for row in split.rows[part]} for part in PARTS}


def shared_sentences(split, dataset):
    """The number of sentences that each pair of splits shares, as the audit counts them."""
    shared = audit(split, dataset).shared
    return {pair: shared[pair]["sentences"] for pair in shared}


def test_test_sentences_are_in_no_other_split(crossed):
    dataset = crossed(10)
    (split,) = split_corpus(dataset, "sentence_disjoint")
    sentences = sentences_of(dataset, split)
    assert [len(sentences[part]) for part in PARTS] == [2, 1, 1]
    assert len(set.union(*sentences.values())) == 4
    assert sum(len(rows) for rows in split.rows.values()) == len(dataset)
    assert set(shared_sentences(split, dataset).values()) == {0}
    assert split.apart == dict.fromkeys(split.apart, ("sentence",))
    assert split.leak.startswith("Speaker-dependent: 10 of the 10 test speakers")
    (tested,) = sentences["test"]
    assert split.notes == (f"Test sentences: {tested!r}; they are in no other split.",)


def test_of_two_sentences_one_trains_and_validates_on_other_speakers(crossed):
    dataset = crossed(6, sentences=2)
    (split,) = split_corpus(dataset, "sentence_disjoint", validation=0.5)
    sentences = sentences_of(dataset, split)
    assert sentences["train"] == sentences["validation"]
    assert not sentences["train"] & sentences["test"]
    assert split.apart["train/validation"] == ("speaker",)
    assert len(split.speakers["validation"]) == 3


def test_only_test_speakers_have_the_test_sentences(crossed):
    dataset = crossed(10)
    (split,) = split_corpus(dataset, "speaker_and_sentence_disjoint")
    assert [len(split.speakers[part]) for part in PARTS] == [6, 2, 2]
    assert [len(split.rows[part]) for part in PARTS] == [54, 18, 6]
    assert split.leak is None
    sentences = sentences_of(dataset, split)
    assert sentences["train"] == sentences["validation"]
    assert not sentences["train"] & sentences["test"]
    assert split.table(dataset).splitlines()[4].split() == ["in", "no", "part", "42"]
    assert list(shared_sentences(split, dataset).values()) == [3, 0, 0]
    assert split.apart == {
        "train/validation": ("speaker",),
        "train/test": ("speaker", "sentence"),
        "validation/test": ("speaker", "sentence"),
    }


def test_sentences_and_speakers_may_be_listed(crossed):
    dataset = crossed(6)
    listed = ["sentence 3", "sentence 0"]
    (split,) = split_corpus(dataset, "sentence_disjoint", test=listed)
    assert sentences_of(dataset, split)["test"] == set(listed)
    (split,) = split_corpus(
        dataset,
        "speaker_and_sentence_disjoint",
        validation=[1],
        test=["5-6"],
        test_sentences=listed,
    )
    assert sentences_of(dataset, split)["test"] == set(listed)
    assert split.speakers["test"] == ["x:05", "x:06"]
    assert split.speakers["validation"] == ["x:01"]


@pytest.mark.parametrize("seed", range(4))
def test_of_two_speakers_one_trains_and_validates_on_other_sentences(crossed, seed):
    dataset = crossed(2)
    (split,) = split_corpus(dataset, "speaker_and_sentence_disjoint", seed=seed)
    sentences = sentences_of(dataset, split)
    assert all(sentences.values())
    assert sum(map(len, sentences.values())) == len(set.union(*sentences.values())) == 4
    assert split.apart["train/validation"] == ("sentence",)
    assert split.speakers["train"] == split.speakers["validation"] != split.speakers["test"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("sentence_disjoint", "test"), ("speaker_and_sentence_disjoint", "test_sentences")],
)
@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (1.0, "expected"),
        ([], "expected"),
        (["sentence 9"], "no sentence 'sentence 9'; the corpus has sentence 0; sentence 1"),
        ([f"sentence {n}" for n in range(4)], "no sentence is left for training"),
    ],
)
def test_sentences_that_cannot_be_tested_are_refused(crossed, name, key, wanted, message):
    with pytest.raises(UserError) as error:
        split_corpus(crossed(6), name, **{key: wanted})
    assert str(error.value).startswith(f"protocol.{key}: {message}")


@pytest.mark.parametrize("name", ["sentence_disjoint", "speaker_and_sentence_disjoint"])
@pytest.mark.parametrize("sentence", [None, "a"])
def test_a_corpus_needs_two_sentences(make_corpus, name, sentence):
    dataset = make_corpus(6, sentence=lambda number, take: sentence)
    with pytest.raises(UserError, match=rf"^protocol\.name: {name} needs"):
        split_corpus(dataset, name)

"""Speaker- and sentence-disjoint splits, also with few of either."""

import pytest

from ser_hf.protocols import PARTS, audit
from ser_hf.protocols.rules import speaker_and_sentence_disjoint
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_draws")

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def crossed(make_corpus):
    """A function from a number of speakers to a corpus in which each says four sentences in each of three emotions."""

    def make(speakers, sentence=lambda n, take: f"sentence {take // 3}"):
        return make_corpus({f"x:{n:02d}": list(LABELS) * 4 for n in range(1, speakers + 1)}, sentence=sentence)

    return make


def sentences_of(dataset, split, part):
    return {dataset[row]["sentence"] for row in split.rows[part]}


def test_only_test_speakers_have_the_test_sentences(crossed):
    dataset = crossed(10)
    split = speaker_and_sentence_disjoint(dataset)
    assert {part: len(split.speakers[part]) for part in PARTS} == {"train": 6, "validation": 2, "test": 2}
    assert len(sentences_of(dataset, split, "test")) == 1
    assert sentences_of(dataset, split, "train") == sentences_of(dataset, split, "validation")
    assert len(sentences_of(dataset, split, "train")) == 3
    assert not sentences_of(dataset, split, "train") & sentences_of(dataset, split, "test")
    assert {part: len(split.rows[part]) for part in PARTS} == {"train": 54, "validation": 18, "test": 6}
    assert split.table(dataset).splitlines()[4].split() == ["in", "no", "part", "42"]
    assert split.notes == (f"Test sentences: {sentences_of(dataset, split, 'test').pop()}.",)
    assert split.apart == {
        "train/validation": ("speaker",),
        "train/test": ("speaker", "sentence"),
        "validation/test": ("speaker", "sentence"),
    }
    counts = audit(split, dataset)["shared"]
    assert [counts[pair]["sentences"] for pair in counts] == [3, 0, 0]


def test_sentences_and_speakers_may_be_listed(crossed):
    dataset = crossed(6)
    split = speaker_and_sentence_disjoint(
        dataset, validation=[1], test=["5-6"], test_sentences=["sentence 3", "sentence 0"]
    )
    assert sentences_of(dataset, split, "test") == {"sentence 0", "sentence 3"}
    assert split.speakers == {"train": ["x:02", "x:03", "x:04"], "validation": ["x:01"], "test": ["x:05", "x:06"]}
    assert split.notes == ("Test sentences: sentence 0; sentence 3.",)


@pytest.mark.parametrize("seed", range(8))
def test_of_two_speakers_one_trains_and_validates_on_other_sentences(crossed, seed):
    """The draw of the test sentences leaves some for validation (both have one seed)."""
    dataset = crossed(2)
    split = speaker_and_sentence_disjoint(dataset, seed=seed)
    parts = [sentences_of(dataset, split, part) for part in PARTS]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 4
    assert split.apart["train/validation"] == ("sentence",)
    assert split.speakers["train"] == split.speakers["validation"] != split.speakers["test"]
    assert split.notes[0].startswith("Validation is held-out sentences of the training speakers")


def test_one_speaker_with_one_sentence_beside_the_tested_cannot_be_divided(crossed):
    dataset = crossed(2, sentence=lambda n, take: f"sentence {take // 6}")
    with pytest.raises(UserError, match="^protocol.validation: only speaker x:0. is left for training"):
        speaker_and_sentence_disjoint(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_sentences": 1.0}, "protocol.test_sentences: expected a share between 0 and 1, got 1.0"),
        ({"test_sentences": ["sentence 9"]}, "protocol.test_sentences: no sentence 'sentence 9'; the corpus has "),
        ({"test_sentences": []}, "protocol speaker_and_sentence_disjoint: no clip in test"),
        ({"test_sentences": [f"sentence {n}" for n in range(4)]}, "protocol speaker_and_sentence_disjoint: no "),
        ({"test": [99]}, "protocol.test: no speaker 99"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(crossed, options, message):
    with pytest.raises(UserError) as error:
        speaker_and_sentence_disjoint(crossed(6), **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("sentence", "message"), [(None, 0), ("a", 1)])
def test_two_sentences_are_needed(crossed, sentence, message):
    with pytest.raises(UserError, match=f"needs at least two sentences, the corpus has {message}$"):
        speaker_and_sentence_disjoint(crossed(6, sentence=lambda n, take: sentence))

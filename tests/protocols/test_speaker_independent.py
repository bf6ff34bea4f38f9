"""Speaker-independent splits: as listed or drawn in proportion, repeatable, and never sharing a
speaker.
"""

from collections import Counter

import pytest

from ser_hf.protocols import PARTS, speaker_independent
from ser_hf.utils.errors import UserError

NAMES = [f"x:{n:02d}" for n in range(1, 13)]


@pytest.mark.parametrize(
    "listed",
    [
        {"train": [*range(1, 9)], "validation": [9, 10], "test": [11, 12]},
        {"train": ["1-8"], "validation": ["9-10"], "test": ["11-12"]},
        {
            "train": ["x:01", "02", "3-5", 6, "7", "8-8"],
            "validation": ["09", "x:10"],
            "test": ["x:11", 12],
        },
        {"validation": ["9-10"], "test": ["11-12"]},  # the rest trains
        # repeated
        {"train": ["1-8", "3-4", 5], "validation": [9, 10, 9], "test": ["11-12", "x:11"]},
    ],
    ids=["numbers", "ranges", "every form", "train is the rest", "repeated"],
)
def test_speakers_may_be_listed_in_every_form(make_corpus, listed):
    split = speaker_independent(make_corpus(12), **listed)
    assert split.name == "speaker_independent"
    assert split.speakers == {"train": NAMES[:8], "validation": NAMES[8:10], "test": NAMES[10:]}
    assert {part: len(split.ids[part]) for part in PARTS} == {
        "train": 48,
        "validation": 12,
        "test": 12,
    }


def test_drawn_parts_have_the_proportions_of_the_corpus(make_corpus):
    """One half of the speakers is mostly angry, the other mostly sad, whatever their sex."""
    mostly_angry = ["angry"] * 6 + ["happy", "sad"]
    mostly_sad = ["sad"] * 6 + ["happy", "angry"]
    speakers = {f"x:{n}": mostly_angry if n % 4 < 2 else mostly_sad for n in range(40)}
    dataset = make_corpus(speakers)
    for seed in range(5):
        split = speaker_independent(dataset, validation=0.2, test=0.2, seed=seed)
        for part in PARTS:
            rows = dataset.select(split.rows[part])
            angry = Counter(rows["label"])[0] / len(rows)
            women = Counter(rows["sex"])["female"] / len(rows)
            assert angry == pytest.approx(7 / 16, abs=0.06)
            assert women == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"test": [13]}, "protocol.test: no speaker 13; the corpus has x:01, x:02"),
        ({"test": ["11-12", "10-9"]}, "protocol.test: "),
        ({"test": []}, "protocol.test: an empty list of speakers"),
        (
            {"train": [1, 2], "validation": [3], "test": [2]},
            "protocol.test: speaker x:02 is also in train",
        ),
        (
            {"validation": ["1-3"], "test": ["3-4"]},
            "protocol.test: speaker x:03 is also in validation",
        ),
        (
            {"validation": ["1-6"], "test": ["7-12"]},
            "protocol.train: no speaker is left for training",
        ),
        ({"test": 0.99}, "protocol.test: 0.99 of 12 speakers is 12; at most 11 can be drawn"),
        (
            {"train": ["1-10"], "validation": 0.2, "test": [11]},
            "protocol.validation: 0.2 of 12 speakers is 2; at most 1",
        ),
    ],
)
def test_an_impossible_split_is_refused(make_corpus, wanted, message):
    with pytest.raises(UserError) as error:
        speaker_independent(make_corpus(12), **wanted)
    assert message in str(error.value)


def test_a_short_form_of_two_speakers_is_refused(make_corpus):
    emotions = ["angry", "happy", "sad"]
    names = ["cremad:01", "ravdess:01", "x:02", "x:03"]
    dataset = make_corpus(dict.fromkeys(names, emotions))
    with pytest.raises(UserError, match=r"^protocol\.test: 1 may be cremad:01 or ravdess:01"):
        speaker_independent(dataset, test=[1], validation=[2])
    split = speaker_independent(dataset, test=["ravdess:01"], validation=[2])
    assert split.speakers["test"] == ["ravdess:01"]


@pytest.mark.parametrize("options", [{}, {"test": [2]}, {"test": 0.5, "validation": 0.5}])
def test_of_two_speakers_one_trains_and_its_held_out_sentences_validate(make_corpus, options):
    dataset = make_corpus(2)
    split = speaker_independent(dataset, **options)
    assert split.speakers["train"] == split.speakers["validation"] != split.speakers["test"]
    assert len(split.speakers["test"]) == 1
    sentences = {part: {dataset[row]["sentence"] for row in split.rows[part]} for part in PARTS}
    assert len(sentences["train"]) == len(sentences["validation"]) == 1
    assert sentences["train"] != sentences["validation"]
    assert split.apart["train/validation"] == ("sentence",)
    assert split.apart["train/test"] == split.apart["validation/test"] == ("speaker",)
    assert split.notes == (
        "Validation is held-out sentences of the training speakers, as only one speaker is left "
        "for training: it measures new sentences, not new speakers.",
    )
    assert split.leak is None


def test_validation_is_drawn_if_training_speakers_are_listed(make_corpus):
    """Its sentences are not divided, as other speakers can validate."""
    split = speaker_independent(make_corpus(3), train=[1], test=[2], validation=0.3)
    assert split.speakers == {"train": ["x:01"], "validation": ["x:03"], "test": ["x:02"]}

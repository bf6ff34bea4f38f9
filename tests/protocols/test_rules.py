"""Rules for one split: by speaker, at random, and the draws of groups that they share."""

from collections import Counter

import pytest

from ser_hf.protocols import FOILS, PARTS, speaker_independent, split_corpus
from ser_hf.protocols.rules import absent_corpora, draw_groups, hold_out
from ser_hf.utils.errors import UserError

NAMES = [f"x:{n:02d}" for n in range(1, 13)]


# Draws of groups


def everything(dataset):
    return list(range(len(dataset)))


def test_only_the_given_rows_are_drawn_from(make_corpus):
    dataset = make_corpus(9)
    for seed in range(5):
        drawn = draw_groups(dataset, range(12, 30), "speaker", 2, seed)
        assert set(drawn) < {"x:03", "x:04", "x:05"}


def test_sexes_are_drawn_in_proportion_and_unknown_ones_do_not_matter(make_corpus, with_column):
    dataset = make_corpus(16)
    sex_of_speaker = dict(zip(dataset["speaker"], dataset["sex"], strict=True))
    # The sex is unknown for one half of the clips.
    half_known = with_column(dataset, "sex", [None] * 48 + ["female", "male"] * 24)
    for seed in range(5):
        drawn = draw_groups(dataset, everything(dataset), "speaker", 6, seed)
        assert Counter(sex_of_speaker[speaker] for speaker in drawn) == {"female": 3, "male": 3}
        assert len(draw_groups(half_known, everything(half_known), "speaker", 6, seed)) == 6


def test_every_class_is_on_both_sides_if_any_draw_allows_it(make_corpus):
    """Two of ten speakers are sad: one of them must be drawn, one must stay."""
    speakers = {f"x:{n}": ["angry", "happy"] for n in range(10)}
    speakers["x:3"].append("sad")
    speakers["x:8"].append("sad")
    dataset = make_corpus(speakers)
    for seed in range(10):
        drawn = draw_groups(dataset, everything(dataset), "speaker", 3, seed)
        assert len({"x:3", "x:8"} & set(drawn)) == 1


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.15, 1), (0.5, 3), (0.99, 5)])
def test_a_share_of_the_speakers_is_held_out(make_corpus, share, count):
    dataset = make_corpus(7)
    rows = list(range(6, 42))
    held_out = hold_out(dataset, rows, share, 0)
    trained = {dataset[row]["speaker"] for row in held_out.train}
    validated = {dataset[row]["speaker"] for row in held_out.validation}
    assert len(validated) == count
    assert not trained & validated
    assert sorted(held_out.train + held_out.validation) == rows
    assert held_out.apart == ("speaker",)
    assert held_out.notes == ()


def test_one_group_without_sentences_cannot_be_divided(make_corpus):
    dataset = make_corpus(1, sentence=lambda n, take: None)
    with pytest.raises(UserError, match=r"^protocol\.validation: only speaker x:01 is left"):
        hold_out(dataset, everything(dataset), 0.15, 0)


# Several corpora


@pytest.fixture
def mixed(make_corpus, with_column):
    """A function from {corpus: speakers} to a dataset of them all, each speaker twice in every
    emotion.
    """

    def make(sizes, **options):
        speakers = {}
        for corpus, size in sizes.items():
            for number in range(size):
                speakers[f"{corpus}:{number:02d}"] = ["angry", "happy", "sad"] * 2
        dataset = make_corpus(speakers, **options)
        corpus_of_row = [speaker.partition(":")[0] for speaker in dataset["speaker"][:]]
        return with_column(dataset, "corpus", corpus_of_row)

    return make


def of_corpora(speakers):
    return Counter(speaker.partition(":")[0] for speaker in speakers)


def test_each_corpus_of_a_mixture_has_its_share(mixed):
    dataset = mixed({"a": 24, "b": 12, "c": 4, "d": 2, "e": 1})
    for seed in range(3):
        drawn = draw_groups(dataset, everything(dataset), "speaker", 8, seed)
        assert of_corpora(drawn) == {"a": 4, "b": 2, "c": 1, "d": 1}
        assert drawn == sorted(drawn)


def test_a_corpus_without_validation_is_noted(mixed):
    dataset = mixed({"a": 6, "b": 1, "c": 1})
    held_out = hold_out(dataset, everything(dataset), 0.2, 0)
    assert {dataset[row]["corpus"] for row in held_out.train} == {"a", "b", "c"}
    assert {dataset[row]["corpus"] for row in held_out.validation} == {"a"}
    assert held_out.notes == ("No clip of b, c in validation.",)


def test_corpora_that_parts_lack_are_noted_by_part(mixed):
    dataset = mixed({"a": 1, "b": 1, "c": 1})
    a = list(range(0, 6))
    b = list(range(6, 12))
    c = list(range(12, 18))
    assert absent_corpora(dataset, {"train": a + b, "validation": a, "test": a + c}) == (
        "No clip of b in validation and test.",
        "No clip of c in train and validation.",
    )
    assert absent_corpora(dataset, {"train": a, "test": a}) == ()


# Speaker-independent splits


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
        ({"test": []}, "protocol.test: expected a number"),
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


# Random splits: leaky, and repeatable


@pytest.fixture(scope="module")
def unbalanced(make_corpus):
    return make_corpus({f"x:{n}": ["angry"] * 6 + ["happy"] * 2 + ["sad"] * 2 for n in range(20)})


@pytest.mark.parametrize("name", FOILS)
def test_clips_are_divided_with_a_leak(unbalanced, name):
    (split,) = split_corpus(unbalanced, name)
    assert split.name == name
    assert {part: len(split.rows[part]) for part in PARTS} == {
        "train": 140,
        "validation": 40,
        "test": 20,
    }
    assert sorted(sum(split.rows.values(), [])) == list(range(200))
    assert split.apart == dict.fromkeys(split.apart, ())
    assert split.leak.startswith("Speaker-dependent: ")


def test_labels_are_in_proportion_where_it_is_stratified(unbalanced):
    for seed in range(5):
        (split,) = split_corpus(unbalanced, "random_stratified", seed=seed)
        labels = {
            part: Counter(unbalanced[row]["label"] for row in split.rows[part]) for part in PARTS
        }
        assert labels["test"] == {0: 12, 1: 4, 2: 4}
        assert labels["validation"] == {0: 24, 1: 8, 2: 8}


@pytest.mark.parametrize("name", FOILS)
def test_shares_that_leave_no_clips_are_refused(unbalanced, name):
    with pytest.raises(UserError, match=r"^protocol\.validation: "):
        split_corpus(unbalanced, name, validation=0.7, test=0.9)


def test_a_class_of_too_few_clips_is_an_error_that_names_the_key(make_corpus):
    for count, message in ((1, "protocol.test: 13 clips"), (2, "protocol.validation: 9 clips")):
        dataset = make_corpus({"x:1": ["angry"] * 6 + ["happy"] * 6 + ["sad"] * count})
        with pytest.raises(UserError, match=f"^{message} cannot be divided by "):
            split_corpus(dataset, "random_stratified", validation=0.3, test=0.34)

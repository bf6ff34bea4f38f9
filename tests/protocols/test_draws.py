"""Drawing groups in proportion, and dividing the other clips into train and validation."""

from collections import Counter

import pytest

from ser_hf.protocols.rules import absent_corpora, check_share, draw_groups, hold_out
from ser_hf.utils.errors import UserError


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


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_is_between_0_and_1(make_corpus, share):
    message = rf"^protocol\.test: expected a share between 0 and 1, got {share}"
    with pytest.raises(UserError, match=message):
        check_share("protocol.test", share)
    with pytest.raises(UserError, match=r"^protocol\.validation: "):
        hold_out(make_corpus(3), list(range(18)), share, 0)


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

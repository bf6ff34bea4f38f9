"""Random splits of clips: leaky, and repeatable."""

from collections import Counter

import pytest

from ser_hf.protocols import FOILS, PARTS, PROTOCOLS, rules, split_corpus
from ser_hf.utils.errors import UserError


@pytest.fixture(scope="module")
def dataset(make_corpus):
    return make_corpus({f"x:{n}": ["angry"] * 6 + ["happy"] * 2 + ["sad"] * 2 for n in range(20)})


@pytest.mark.parametrize("name", FOILS)
def test_clips_are_divided_with_a_leak(dataset, name):
    (split,) = split_corpus(dataset, name)
    assert split.name == name
    assert {part: len(split.rows[part]) for part in PARTS} == {
        "train": 140,
        "validation": 40,
        "test": 20,
    }
    assert sorted(sum(split.rows.values(), [])) == list(range(200))
    assert split.apart == dict.fromkeys(split.apart, ())
    assert split.leak.startswith("Speaker-dependent: ")


def test_labels_are_in_proportion_where_it_is_stratified(dataset):
    for seed in range(5):
        split = PROTOCOLS["random_stratified"].split(dataset, seed=seed)
        labels = {
            part: Counter(dataset[row]["label"] for row in split.rows[part]) for part in PARTS
        }
        assert labels["test"] == {0: 12, 1: 4, 2: 4}
        assert labels["validation"] == {0: 24, 1: 8, 2: 8}


@pytest.mark.parametrize("name", FOILS)
def test_shares_that_leave_no_clips_are_refused(dataset, name):
    with pytest.raises(UserError, match=r"^protocol\.validation: "):
        split_corpus(dataset, name, validation=0.7, test=0.9)


def test_a_class_of_too_few_clips_is_an_error_that_names_the_key(make_corpus):
    for count, message in ((1, "protocol.test: 13 clips"), (2, "protocol.validation: 9 clips")):
        dataset = make_corpus({"x:1": ["angry"] * 6 + ["happy"] * 6 + ["sad"] * count})
        with pytest.raises(UserError, match=f"^{message} cannot be divided by "):
            rules.random_stratified(dataset, validation=0.3, test=0.34)

"""Speaker-independent splits of any corpus, drawn and listed: parts cover it and share nobody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.protocols import PARTS, speaker_independent
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_draws")

NAMES = [f"x:{n:02d}" for n in range(1, 13)]

shares = st.floats(0.01, 0.99) | st.integers(1, 9).map(lambda tenths: tenths / 10)
corpora = st.dictionaries(
    st.integers(0, 99).map("x:{}".format),
    st.lists(st.sampled_from(["angry", "happy", "sad"]), min_size=1, max_size=5),
    min_size=1,
    max_size=9,
)


@settings(max_examples=20)
@given(corpora, shares, shares, st.integers(0, 3))
def test_drawn_parts_share_no_speaker_and_cover_the_corpus(make_corpus, speakers, validation, test, seed):
    dataset = make_corpus(speakers)
    split, refusal = None, ""
    try:
        split = speaker_independent(dataset, validation=validation, test=test, seed=seed)
    except UserError as error:
        refusal = str(error)
    if split is None:
        assert refusal.startswith(("protocol.", "protocol speaker_independent: no clip of "))
        return
    assert sorted(sum(split.rows.values(), [])) == list(range(len(dataset)))
    assert len(split.speakers["test"]) == max(1, round(test * len(speakers)))
    if split.notes:  # one speaker was left, and its sentences are divided
        assert split.speakers["train"] == split.speakers["validation"]
        assert len(split.speakers["test"]) == len(speakers) - 1
    else:
        assert sorted(sum(split.speakers.values(), [])) == sorted(speakers)
        assert len(split.speakers["validation"]) == max(1, round(validation * len(speakers)))
    for part in PARTS:
        assert {dataset[row]["label"] for row in split.rows[part]} == {0, 1, 2}


@pytest.fixture(scope="module")
def twelve(make_corpus):
    return make_corpus(12)


@settings(max_examples=20)
@given(st.permutations(NAMES), st.integers(1, 10), st.integers(1, 10))
def test_listed_parts_hold_their_speakers_and_no_other(twelve, order, first, second):
    dataset, validation, test = twelve, order[:first], order[first : first + second]
    if first + second >= 12:
        with pytest.raises(UserError, match="^protocol."):
            speaker_independent(dataset, validation=validation, test=test)
        return
    split = speaker_independent(dataset, validation=validation, test=test)
    assert split.speakers["validation"] == sorted(validation)
    assert split.speakers["test"] == sorted(test)
    assert split.speakers["train"] == sorted(order[first + second :])

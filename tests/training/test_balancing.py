"""Over-sampling: every class as often as the most frequent one, whole rounds first, the rest by lot."""

from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.training.balancing import oversampled, recordings
from ser_hf.training.batches import part


@pytest.fixture
def uneven(store):
    """Seven clips of class 0, three of 1, two of 2."""
    dataset = Dataset.from_dict({"label": [0, 1, 0, 2, 0, 1, 0, 0, 2, 0, 1, 0]})
    return dataset.cast_column("label", ClassLabel(names=["a", "b", "c"]))


def entries(clips):
    return list(zip(clips["row"][:], clips["copy"][:], strict=True))


def test_classes_become_equally_frequent(uneven, store):
    own = part(uneven, range(12), store, max_duration=0.5)
    more = oversampled(own, seed=0)
    assert Counter(more["labels"][:]) == {0: 7, 1: 7, 2: 7}
    assert len(set(entries(more))) == 21, "each copy of a clip is another"
    copies = {row: sorted(copy for r, copy in entries(more) if r == row) for row in range(12)}
    for row in (0, 2, 4, 6, 7, 9, 11):
        assert copies[row] == [0]
    assert sorted(len(copies[row]) for row in (1, 5, 10)) == [2, 2, 3]
    assert sorted(len(copies[row]) for row in (3, 8)) == [3, 4]
    assert all(own_copies == list(range(len(own_copies))) for own_copies in copies.values())
    by_row = {clip["row"]: clip for clip in own}
    for clip in more:
        assert {name: clip[name] for name in own.column_names} == by_row[clip["row"]]
    assert more["length"][:] == sorted(more["length"])


def test_the_draw_is_the_seed_s_and_no_order_s(uneven, store):
    own = part(uneven, range(12), store)
    shuffled = own.select(np.random.default_rng(1).permutation(12))
    assert sorted(entries(oversampled(own, 3))) == sorted(entries(oversampled(shuffled, 3)))
    assert len({tuple(sorted(entries(oversampled(own, seed)))) for seed in range(8)}) > 2


def test_each_recording_is_there_once(uneven, store):
    own = part(uneven, range(12), store)
    once = recordings(oversampled(own, 0))
    assert once.remove_columns("copy").to_dict() == own.to_dict()
    assert recordings(own) is own


def test_votes_go_with_their_clips(uneven, store):
    votes = np.eye(3)[np.asarray(uneven["label"])].tolist()
    own = part(uneven.add_column("votes", votes), range(12), store, soft_labels=True)
    more = oversampled(own, 0)
    assert np.argmax(more["shares"][:], axis=1).tolist() == more["labels"][:]

"""Mixup: sums, shares and partners."""

import numpy as np
import pytest
from support.close import assert_near

from ser_hf.audio.augmentation import Mixup
from ser_hf.training.mixup import Mixing


def mixing(probability=1.0):
    return Mixing(Mixup(probability=probability), 3)


def batch(lengths=(4, 2, 3, 5, 1)):
    generator = np.random.default_rng(5)
    return [generator.standard_normal(length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("soft", [False, True])
def test_waveforms_and_labels_are_mixed_in_the_same_shares(soft):
    """x = lam x1 + (1 - lam) x2, and y too."""
    waveforms = batch((4, 2))
    labels = np.eye(3, dtype=np.float32)[[0, 1]]
    if soft:
        labels = 0.5 * labels + 0.5 / 3
    mixed, shares = mixing()(waveforms, [0, 1], labels, np.random.default_rng(1))
    for i in (0, 1):
        own = labels[i]
        other = labels[1 - i]
        lam = (shares[i, 0] - other[0]) / (own[0] - other[0])
        assert 0 < lam < 1
        assert_near(shares[i], lam * own + (1 - lam) * other)
        first, second = (np.pad(waveforms[j], (0, 4 - len(waveforms[j]))) for j in (i, 1 - i))
        assert_near(mixed[i], lam * first + (1 - lam) * second)
    assert shares.dtype == np.float32


def partners_of(own, rows, labels, seeds=60):
    """Clip -> the clips that it was mixed with; each clip has its own label or none."""
    found = {clip: set() for clip in range(len(rows))}
    for seed in range(seeds):
        _, shares = own(batch((4,) * len(rows)), rows, labels, np.random.default_rng(seed))
        for clip, partners in found.items():
            partners |= set(np.flatnonzero(shares[clip] > 0).tolist()) - {clip}
    return found


def test_partners_are_the_other_clips_of_the_batch():
    found = partners_of(mixing(), range(5), np.eye(5, dtype=np.float32))
    assert found == {clip: {*range(5)} - {clip} for clip in range(5)}


def test_clips_without_a_partner_are_not_mixed():
    assert partners_of(mixing(), [3, 3], np.eye(2, dtype=np.float32)) == {0: set(), 1: set()}, (
        "a copy of the clip"
    )

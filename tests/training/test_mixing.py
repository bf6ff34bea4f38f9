"""Mixup by hand: sums, shares, partners, and what the loss makes of them."""

import numpy as np
import pytest
import torch

from ser_hf.audio.augmentation import Mixup
from ser_hf.training.data import UNCOUNTED, Mixing, one_hot
from ser_hf.training.loss import class_ids

SPEAKERS = np.array(["a", "a", "b", "b", "c"])


def mixing(probability=1.0, **settings):
    return Mixing(Mixup(probability, **settings), 3, SPEAKERS)


def batch(lengths=(4, 2, 3, 5, 1)):
    generator = np.random.default_rng(5)
    return [generator.standard_normal(length).astype(np.float32) for length in lengths]


def test_ids_become_shares_and_those_that_do_not_count_stay_so():
    assert one_hot([2, UNCOUNTED, 0], 3).tolist() == [[0, 0, 1], [UNCOUNTED] * 3, [1, 0, 0]]


@pytest.mark.parametrize("soft", [False, True])
def test_waveforms_and_labels_are_mixed_in_the_same_shares(soft):
    """x = lam x1 + (1 - lam) x2, and y alike."""
    waveforms, rows = batch(), np.array([0, 1, 2, 3, 4])
    labels = one_hot([0, 1, 2, 0, 1], 3)
    if soft:
        labels = 0.5 * labels + 0.5 / 3
    partners, lams = mixing().draw(rows, np.ones(5, dtype=bool), np.random.default_rng(1))
    mixed, shares = mixing()(waveforms, rows, labels, np.random.default_rng(1))
    assert len(set(lams)) == 5
    for i, (partner, lam) in enumerate(zip(partners, lams, strict=True)):
        assert partner != i
        length = max(len(waveforms[i]), len(waveforms[partner]))
        first, second = (np.pad(waveforms[j], (0, length - len(waveforms[j]))) for j in (i, partner))
        np.testing.assert_allclose(mixed[i], lam * first + (1 - lam) * second, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(shares[i], lam * labels[i] + (1 - lam) * labels[partner], rtol=1e-6)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("speakers", "possible"),
    [
        ("any", {0: {1, 2, 3, 4}, 2: {0, 1, 3, 4}, 4: {0, 1, 2, 3}}),
        ("same", {0: {1}, 2: {3}, 4: {None}}),
        ("other", {0: {2, 3, 4}, 2: {0, 1, 4}, 4: {0, 1, 2, 3}}),
    ],
)
def test_partners_are_of_the_speakers_asked_for(speakers, possible):
    own, counted = mixing(speakers=speakers), np.ones(5, dtype=bool)
    drawn = [own.draw(range(5), counted, np.random.default_rng(seed))[0] for seed in range(60)]
    for clip, partners in possible.items():
        assert {partner[clip] for partner in drawn} == partners


def test_who_has_no_partner_is_not_mixed():
    waveforms = batch((4, 2))
    mixed, shares = mixing(speakers="same")(waveforms, [0, 4], one_hot([0, 2], 3), np.random.default_rng(0))
    assert all(one is other for one, other in zip(mixed, waveforms, strict=True))
    assert shares.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_clip_is_not_mixed_with_a_copy_of_itself():
    assert mixing().draw([3, 3], np.ones(2, dtype=bool), np.random.default_rng(0))[0] == [None, None]


def test_clips_that_do_not_count_are_left_alone_and_nobodys_partner():
    waveforms, labels = batch(), one_hot([0, UNCOUNTED, 2, 0, UNCOUNTED], 3)
    for seed in range(20):
        mixed, shares = mixing()(waveforms, range(5), labels, np.random.default_rng(seed))
        partners, _ = mixing().draw(range(5), labels[:, 0] != UNCOUNTED, np.random.default_rng(seed))
        assert not {1, 4} & set(partners)
        for clip in (1, 4):
            assert partners[clip] is None
            assert mixed[clip] is waveforms[clip]
            assert shares[clip].tolist() == [UNCOUNTED] * 3
    assert class_ids(torch.from_numpy(shares))[[1, 4]].tolist() == [UNCOUNTED] * 2

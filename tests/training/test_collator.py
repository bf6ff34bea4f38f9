"""Training batches are augmented, cropped and mixed, the same with any number of workers; others
are clean.
"""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from support.testing import tiny_config
from torch.utils.data import DataLoader

from ser_hf.audio.augmentation import Augmentation, Gain, GaussianNoise, Mixup, Speed
from ser_hf.audio.augmenter import Augmenter
from ser_hf.loading.checkpoint import waveform_extractor
from ser_hf.models import CRNNForAudioClassification
from ser_hf.training.balancing import balanced
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator, TrainTransforms
from ser_hf.training.fit import fit_statistics
from ser_hf.training.mixup import Mixing

ROWS = [7, 2, 11, 5, 0]
SPEAKERS = np.array([f"s{row % 3}" for row in range(12)])
STEPS = Augmentation(
    speed=Speed(probability=0.7),
    gaussian_noise=GaussianNoise(probability=0.5),
    gain=Gain(probability=0.5),
)


@dataclasses.dataclass(frozen=True)
class Marked:
    """Prepends a random number to the clip, and makes it `times` as long."""

    times: int = 1

    def __call__(self, waveform, generator, row):
        return np.concatenate([[generator.random()], *[waveform] * self.times]).astype(np.float32)


@pytest.fixture
def collator(store):
    def make(augmenter=None, mixup=None, fixed_length=0, seed=0, **settings):
        mixing = mixup and Mixing(mixup, 4)
        transforms = TrainTransforms(augmenter, mixing, fixed_length)
        return Collator(
            store, waveform_extractor(16000, False), seed, **settings, transforms=transforms
        )

    return make


def repeated(selected):
    """Clips of a corpus of which an epoch uses eight fifths."""
    return balanced(selected, ["a"] * 12, SPEAKERS, {"a": 1.6}, None, 0)


def waveforms(batch):
    lengths = batch["attention_mask"].sum(dim=1)
    return [
        values[:length].numpy()
        for values, length in zip(batch["input_values"], lengths, strict=True)
    ]


def marks(batch):
    return batch["input_values"][:, 0].tolist()


def test_only_training_batches_are_changed(clips, store, collator):
    selected = list(clip_table(clips, ROWS, store))
    collate = collator(Marked(), Mixup(probability=1.0))
    clean = collator()
    evaluated = collate(selected)
    plain = clean(selected, training=True)
    for name in plain:
        torch.testing.assert_close(evaluated[name], plain[name], rtol=0, atol=0)
    assert evaluated["labels"].dtype == torch.int64
    changed = collate(selected, training=True)
    assert changed["labels"].shape == (5, 4)
    unmixed = collator(Marked())(selected, training=True)
    for waveform, clip in zip(waveforms(unmixed), selected, strict=True):
        np.testing.assert_array_equal(waveform[1:], store[clip["row"]])


def test_random_numbers_depend_on_seed_epoch_row_and_copy(clips, store, collator):
    selected = list(clip_table(clips, ROWS, store))

    def drawn(seed=0, epoch=0, batch=selected):
        torch.rand(1)
        np.random.rand(1)
        collate = collator(Marked(), seed=seed)
        collate.epoch.fill_(epoch)
        return marks(collate(batch, training=True))

    assert drawn() == drawn()
    assert drawn()[::-1] == drawn(batch=selected[::-1])
    several = [
        drawn(),
        drawn(seed=1),
        drawn(epoch=1),
        drawn(batch=[clip | {"copy": 1} for clip in selected]),
    ]
    assert len({mark for marks in several for mark in marks}) == 20
    expected = [
        np.random.default_rng((3, 2, clip["row"], 4)).random(dtype=np.float64) for clip in selected
    ]
    assert drawn(3, 2, [clip | {"copy": 4} for clip in selected]) == pytest.approx(expected)


def test_labels_of_every_batch_are_shares_where_any_may_be_mixed(clips, store, collator):
    """The Trainer counts entries of labels over accumulated batches: they must be of one kind."""
    (clip,) = clip_table(clips, ROWS[:1], store)
    labels = collator(None, Mixup(probability=1.0))([clip], training=True)["labels"]
    assert labels.tolist() == [torch.eye(4)[clip["labels"]].tolist()]
    assert labels.dtype == torch.float32


@pytest.mark.slow  # starts two interpreters
def test_workers_make_the_same_batches(clips, store, collator):
    selected = repeated(clip_table(clips, [0, 4, 8, 1, 2], store, max_duration=0.4))
    collate = partial(
        collator(Augmenter(STEPS, 16000), Mixup(probability=0.8), seed=3), training=True
    )
    here = DataLoader(selected, 4, collate_fn=collate)
    there = DataLoader(
        selected,
        4,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    batches = {}
    for epoch in (0, 1):
        collate.func.epoch.fill_(epoch)
        batches[0, epoch] = list(here)
        for one, other in zip(batches[0, epoch], there, strict=True):
            torch.testing.assert_close(dict(one), dict(other), rtol=1e-5, atol=1e-6)
    for one, other in zip(batches[0, 0], batches[0, 1], strict=True):
        assert not np.array_equal(*(batch["input_values"].numpy() for batch in (one, other)))


def test_statistics_are_of_clean_recordings_each_once(clips, store, collator):
    selected = clip_table(clips, [0, 4, 8, 1, 2], store)

    def statistics(collate, training):
        model = CRNNForAudioClassification(tiny_config("crnn", normalization="corpus"))
        fit_statistics(model, collate, training)
        return model.front_end.normalize.mean, model.front_end.normalize.deviation

    more = repeated(selected)
    assert len(more) > len(selected)
    changed = statistics(collator(Marked(2), Mixup(probability=1.0)), more)
    torch.testing.assert_close(changed, statistics(collator(), selected), rtol=0, atol=0)

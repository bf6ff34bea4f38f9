"""The front end is standardized by the training clips, without augmentation."""

import pytest
import torch
from support.testing import tiny_config

from ser_hf.loading.checkpoint import waveform_extractor
from ser_hf.models import CRNNForAudioClassification, MfccLinearForAudioClassification
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.fit import fit_statistics


def _frames(front_end, store, rows):
    """All real frames of some clips, each processed alone, before they are standardized."""
    features = [
        front_end.features(torch.tensor(store[row])[None], torch.tensor([len(store[row])]))
        for row in rows
    ]
    return torch.cat([values[mask] for values, mask in features])


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_mean_and_deviation_are_those_of_the_training_clips(clips, store, batch_size):
    model = CRNNForAudioClassification(tiny_config("crnn", normalization="corpus")).train()
    rows = [0, 3, 4, 7, 9]
    fit_statistics(
        model,
        Collator(store, waveform_extractor(16000, False)),
        clip_table(clips, rows, store),
        batch_size,
    )
    frames = _frames(model.front_end, store, rows)
    norm = model.front_end.normalize
    torch.testing.assert_close(norm.mean, frames.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        norm.deviation, frames.std(dim=0, correction=0), rtol=1e-4, atol=1e-4
    )
    everything = _frames(model.front_end, store, range(len(store)))
    assert (norm.mean - everything.mean(dim=0)).abs().max() > 0.01, "other clips would differ"


def test_norms_in_a_row_are_fitted_one_after_the_other(clips, store):
    model = MfccLinearForAudioClassification(tiny_config("mfcc_linear"))
    rows = [1, 2, 5, 6, 8, 10]
    collator = Collator(store, waveform_extractor(16000, False))
    training = clip_table(clips, rows, store)
    fit_statistics(model, collator, training)
    batch = collator([training[i] for i in range(len(rows))])
    vectors, _ = model.front_end(batch["input_values"], batch["attention_mask"].sum(dim=1))
    torch.testing.assert_close(
        vectors[:, 0].mean(dim=0), torch.zeros(model.front_end.size), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(
        vectors[:, 0].std(dim=0, correction=0), torch.ones(model.front_end.size), rtol=0, atol=1e-3
    )

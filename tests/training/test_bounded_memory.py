"""Whatever the number of clips, statistics, embeddings and evaluation hold a few batches."""

import pytest
from support.live import CountedCollator
from support.testing import tiny_config

from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.checkpoint import waveform_extractor
from ser_hf.models.modeling_crnn import CRNNForAudioClassification
from ser_hf.models.modeling_mfcc import MfccLinearForAudioClassification
from ser_hf.training.arguments import training_arguments
from ser_hf.training.cached_module import cached_module
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.feature_store import open_feature_store, segments_of
from ser_hf.training.fit import fit_statistics, window_logits
from ser_hf.training.freezing import Freezing
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.sklearn_solver import embed
from ser_hf.training.trainer import EmotionTrainer

# The batch that the model processes, the one that Accelerate's loader reads ahead, and the next one
# that is made.
MOST = 3


@pytest.fixture
def collator(store):
    """A collator that counts its batches."""
    return CountedCollator(Collator(store, waveform_extractor(16000, False)))


@pytest.fixture
def training(clips, store):
    """All clips."""
    return clip_table(clips, range(len(store)), store)


@pytest.fixture
def arguments(tmp_path):
    """Arguments of an evaluation in batches of one clip."""
    settings = TrainerSettings().arguments | {"per_device_eval_batch_size": 1}
    return training_arguments(settings, tmp_path, 0, progress=False)


def test_statistics_of_the_front_end(collator, training):
    model = CRNNForAudioClassification(tiny_config("crnn", normalization="corpus"))
    fit_statistics(model, collator, training, batch_size=1)
    assert collator.count.all >= len(training)
    assert collator.count.most <= MOST


def test_embeddings_for_scikit_learn(collator, training, arguments):
    model = MfccLinearForAudioClassification(tiny_config("mfcc_linear"))
    assert len(embed(model, collator, training, arguments)) == len(training)
    assert collator.count.all == len(training)
    assert collator.count.most <= MOST


def test_evaluation(collator, training, arguments):
    model = CRNNForAudioClassification(tiny_config("crnn"))
    trainer = EmotionTrainer(
        model, arguments, collator, training, training, compute_metrics=compute_metrics
    )
    assert len(window_logits(trainer, training).logits) == len(training)
    assert collator.count.all == len(training)
    assert collator.count.most <= MOST


def test_frozen_features(collator, training, tmp_path):
    model = CRNNForAudioClassification(tiny_config("crnn"))
    store = open_feature_store(
        model,
        cached_module(model, Freezing()),
        collator,
        segments_of(training),
        batch_size=1,
        cache_dir=tmp_path,
    )
    assert len(store) == collator.count.all == len(training)
    assert collator.count.most <= MOST

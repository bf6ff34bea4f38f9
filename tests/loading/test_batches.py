"""Long clips are evaluated in windows: their bounds, one prediction for a clip, and the notes."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from support.close import assert_near
from support.predictions import predict
from support.testing import tiny_config
from transformers import Wav2Vec2FeatureExtractor

from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.batches import (
    batches,
    longest_first,
    merge,
    original_positions,
    window_bounds,
)
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.training.arguments import training_arguments
from ser_hf.training.clips import clip_table, window_notes
from ser_hf.training.collator import Collator
from ser_hf.training.fit import window_logits
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.trainer import EmotionTrainer

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

WINDOW = 5000
EXTRACTOR = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 199, 200, 201, 1001])
def test_windows_cover_the_clip_once_with_the_fewest_of_equal_length(samples):
    windows = window_bounds(samples, 100)
    covered = np.concatenate([np.arange(start, start + length) for start, length in windows])
    assert covered.tolist() == list(range(samples))
    lengths = [length for _, length in windows]
    assert max(lengths) <= 100
    assert max(lengths) - min(lengths) <= 1
    assert (len(windows) - 1) * 100 < samples


def test_windows_are_averaged_as_probabilities_by_duration():
    logits = np.array(
        [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0], [5.0, 6.0, 9.0], [0.0, 0.0, 3.0]], dtype=np.float32
    )
    rows, merged = merge([7, 3, 5, 3], [10, 30, 10, 10], logits)
    assert rows.tolist() == [7, 3, 5]
    np.testing.assert_array_equal(merged[[0, 2]], logits[[0, 2]])
    expected = 0.75 * softmax(logits[1]) + 0.25 * softmax(logits[3])
    assert_near(softmax(merged[1]), expected)
    assert_near(np.exp(merged[1]), expected)
    assert merged.dtype == np.float32


@pytest.fixture
def evaluation(clips, store, labels, tmp_path):
    """A Trainer of a tiny network, clips in windows, and a list of the inputs of its metrics."""
    seen = []

    def noting(predicted):
        seen.append(predicted)
        return compute_metrics(predicted)

    torch.manual_seed(0)
    model = ARCHITECTURES["crnn"](tiny_config("crnn", len(labels))).eval()
    settings = DEFAULTS | {"per_device_eval_batch_size": 3}
    arguments = training_arguments(settings, tmp_path, 0, progress=False)
    validation = clip_table(clips, range(4, 12), store, window=WINDOW)
    few = clip_table(clips, [0], store)
    trainer = EmotionTrainer(
        model, arguments, Collator(store, EXTRACTOR), few, validation, None, noting
    )
    return trainer, validation, seen


def test_metrics_and_predictions_are_of_clips(evaluation, clips, store):
    trainer, validation, seen = evaluation
    rows = np.array(validation["row"][:])
    assert len(rows) > len(set(rows.tolist())) == 8
    measured = trainer.evaluate()
    evaluated, logits = predict(trainer, validation)
    assert sorted(evaluated.tolist()) == list(range(4, 12))
    labels = np.array(clips["label"][:])[evaluated]
    np.testing.assert_array_equal(seen[0].label_ids, labels)
    assert_near(seen[0].predictions, logits)
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert measured["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for row, clip_logits in zip(evaluated, logits, strict=True):
        windows = [
            store[row][start : start + length]
            for start, length in window_bounds(len(store[row]), WINDOW)
        ]
        with torch.no_grad():
            alone = [
                trainer.model(torch.tensor(window)[None]).logits[0].softmax(dim=0)
                for window in windows
            ]
        shares = torch.tensor([len(window) / len(store[row]) for window in windows])
        assert_near(softmax(clip_logits), (shares[:, None] * torch.stack(alone)).sum(dim=0))


def test_notes_on_windows_and_padding(clips, store):
    whole = clip_table(clips, range(12), store)
    assert window_notes("test", whole, 16000, None) == []
    assert (
        window_notes(
            "test", clip_table(clips, range(12), store, window=20000), 16000, 20000, 20000, 400
        )
        == []
    )
    lengths = np.sort(store.lengths)
    windowed = clip_table(clips, range(12), store, window=int(lengths[-3]))
    assert window_notes("test", windowed, 16000, int(lengths[-3]), int(lengths[-3])) == [
        f"2 of 12 test clips are longer than the {lengths[-3] / 16000:.2f} s that the model can "
        "take: evaluated in windows of at most that, predictions averaged by duration; "
        "pipeline cuts them off there"
    ]
    (sentence,) = window_notes(
        "validation", clip_table(clips, range(12), store, window=8000), 16000, 8000, 9000
    )
    assert "longer than the 0.50 s of evaluation.window: " in sentence
    assert sentence.endswith("; pipeline processes them whole")
    assert window_notes("test", whole, 16000, None, shortest=int(lengths[1])) == [
        f"1 of 12 test clips are shorter than the {lengths[1] / 16:.0f} ms that the model needs: "
        "silence is added"
    ]


@pytest.mark.parametrize("kind", [("wav2vec2", "group"), ("hubert", "group")], ids="-".join)
def test_batches_of_equal_length_predict_what_single_clips_do(
    checkpoint, kind, clips, store, labels, tmp_path
):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(*kind))
    assert not plan.padding_safe
    torch.manual_seed(0)
    model = build_model(plan).eval()
    sizes = []
    model.register_forward_hook(lambda module, given, outputs: sizes.append(len(outputs.logits)))
    settings = DEFAULTS | {"per_device_eval_batch_size": 4}
    arguments = training_arguments(settings, tmp_path, 0, padding_safe=False, progress=False)
    collator = Collator(store, plan.extractor)
    validation = clip_table(clips, range(4, 12), store, window=WINDOW)
    lengths = validation["length"][:]
    trainer = EmotionTrainer(
        model, arguments, collator, clip_table(clips, [0], store), validation, None, compute_metrics
    )
    logits = window_logits(trainer, validation).logits
    batches = arguments.evaluation_batches(lengths)
    assert sizes == [len(batch) for batch in batches]
    assert 1 < max(sizes) <= 4
    assert all(len({lengths[i] for i in batch}) == 1 for batch in batches)
    with torch.no_grad():
        alone = [model(collator([clip])["input_values"]).logits[0] for clip in validation]
    assert_near(logits, torch.stack(alone).numpy())
    assert trainer.evaluate()["eval_uar"] >= 0


def test_batches_hold_similar_lengths_within_their_limits():
    lengths = [1, 1, 2, 3, 3, 3, 9, 20]
    assert list(batches(lengths, 3, True, 100)) == [(0, 3), (3, 6), (6, 8)]
    assert list(batches(lengths, 3, True, 8)) == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(batches(lengths, 2, False, 100)) == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(batches([], 2, True, 100)) == []


def test_the_longest_clips_come_first_so_that_later_batches_fit_into_their_memory():
    lengths = [1, 1, 2, 3, 3, 3, 9, 20]
    window_batches = longest_first(lengths, 3, True, 8)
    assert window_batches == [[7], [6], [5], [3, 4], [0, 1, 2]]
    outputs = np.concatenate([np.asarray(lengths)[batch] for batch in window_batches])
    assert outputs[original_positions(window_batches)].tolist() == lengths
    assert longest_first([], 2, True, 100) == []

"""Parts in order of length and batches as the network takes them; predictions stay with their
clips.
"""

import copy

import numpy as np
import pytest
import torch
import transformers
from support.close import assert_near
from support.predictions import predict
from support.testing import CHECKPOINTS, write_checkpoint

from ser_hf.loading.build import build_model
from ser_hf.loading.encoders import lengths_needed
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.trainer import EmotionTrainer

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

ROWS = [7, 2, 11, 5, 0]
TINY = {"channels": [4], "time_pooling": [4], "band_pooling": [4], "lstm_hidden": 4}


@pytest.fixture
def plan(labels):
    return blueprint("crnn", labels, options=TINY)


def test_a_part_is_its_rows_by_length(clips, store):
    table = clip_table(clips, ROWS, store)
    assert set(table["row"]) == set(ROWS)
    assert table["length"][:] == sorted(table["length"])
    for clip in table:
        assert clip["length"] == len(store[clip["row"]])
        assert clip["labels"] == clips[clip["row"]]["label"]
        assert clip["max_samples"] == 0


def test_batches_are_padded_with_zeros_under_a_mask(clips, store, plan):
    table = clip_table(clips, ROWS, store)
    batch = Collator(store, plan.extractor)(list(table))
    assert set(batch) == {"input_values", "attention_mask", "labels"}
    assert batch["labels"].tolist() == table["labels"][:]
    for i, row in enumerate(table["row"]):
        length = len(store[row])
        assert batch["attention_mask"][i].sum() == length
        np.testing.assert_array_equal(batch["input_values"][i, :length].numpy(), store[row])
        assert not batch["input_values"][i, length:].any()


def test_crops_depend_on_seed_and_epoch(clips, store, plan):
    longest = int(np.argmax(store.lengths))
    table = clip_table(clips, [longest], store, max_duration=0.5)
    pieces = np.lib.stride_tricks.sliding_window_view(store[longest], 8000)

    def start(seed, epoch):
        torch.rand(1)
        collate = Collator(store, plan.extractor, seed)
        collate.epoch.fill_(epoch)
        crop = collate(list(table))["input_values"][0].numpy()
        (places,) = np.nonzero((pieces == crop).all(axis=1))
        return places.item()

    starts = [start(seed, epoch) for seed in range(3) for epoch in range(4)]
    assert starts == [start(seed, epoch) for seed in range(3) for epoch in range(4)]
    assert len(set(starts)) > 6


def test_soft_labels_are_votes(clips, store, plan):
    shares = [[0.5, 0.25, 0.25, 0.0]] * len(clips)
    voted = clips.add_column("votes", shares)
    trained = clip_table(voted, [3, 1], store, soft_labels=True)
    assert_near(Collator(store, plan.extractor)(list(trained))["labels"], torch.tensor(shares[:2]))
    assert Collator(store, plan.extractor)(list(clip_table(voted, [3], store)))[
        "labels"
    ].tolist() == [3]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [4, 0, 5, 2, 1, 3]])
def test_predictions_follow_the_dataset(clips, store, plan, tmp_path, order):
    """The stock Trainer would evaluate shuffled groups of similar length."""
    transformers.set_seed(0)
    model = build_model(copy.deepcopy(plan)).eval()
    changes = {"per_device_eval_batch_size": 2, "train_sampling_strategy": "group_by_length"}
    arguments = training_arguments(DEFAULTS | changes, tmp_path, 0, progress=False)
    few = clip_table(clips, [0], store)
    trainer = EmotionTrainer(model, arguments, Collator(store, plan.extractor), few, few)
    table = clip_table(clips, [7, 2, 11, 5, 0, 9], store).select(order)
    rows, logits = predict(trainer, table)
    with torch.no_grad():
        alone = [
            model(torch.from_numpy(store[row].copy())[None]).logits[0].numpy()
            for row in table["row"]
        ]
    assert rows.tolist() == table["row"][:]
    assert_near(logits, alone)
    assert np.abs(np.diff(np.sort(logits[:, 0]))).min() > 1e-4, (
        "clips must differ for the order to show"
    )


def test_each_clip_is_normalized_by_itself_where_the_extractor_gives_no_mask(
    store, clips, checkpoint
):
    """In a padded batch, the stock extractor without a mask includes the padding in mean and
    variance.
    """
    plan = blueprint("encoder", list("abcd"), checkpoint=checkpoint("wav2vec2", "group"))
    assert plan.extractor.do_normalize
    assert not plan.extractor.return_attention_mask
    rows = clip_table(clips, range(len(store)), store)
    batch = Collator(store, plan.extractor)([rows[0], rows[len(rows) - 1]])
    assert "attention_mask" not in batch
    for i, row in enumerate((0, len(rows) - 1)):
        clip = batch["input_values"][i, : rows[row]["length"]]
        assert clip.mean().item() == pytest.approx(0.0, abs=1e-5)
        assert clip.std().item() == pytest.approx(1.0, abs=1e-3)


def test_windows_cover_long_clips(clips, store, plan):
    table = clip_table(clips, ROWS, store, window=5000)
    assert table["length"][:] == sorted(table["length"])
    assert max(table["length"]) <= 5000 < max(store.lengths[ROWS])
    assert table["max_samples"][:] == [0] * len(table)
    covered = {row: np.zeros(store.lengths[row], dtype=int) for row in ROWS}
    batch = Collator(store, plan.extractor)(list(table))
    for i, clip in enumerate(table):
        own_samples = slice(clip["start"], clip["start"] + clip["length"])
        covered[clip["row"]][own_samples] += 1
        assert batch["attention_mask"][i].sum() == clip["length"]
        waveform = batch["input_values"][i, : clip["length"]].numpy()
        np.testing.assert_array_equal(waveform, store[clip["row"]][own_samples])
        assert clip["labels"] == clips[clip["row"]]["label"]
    assert all((times == 1).all() for times in covered.values())


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_short_clips_are_padded_with_silence(clips, store, checkpoint, norm):
    extractor = blueprint(
        "encoder", list("abcd"), checkpoint=checkpoint("wav2vec2", norm)
    ).extractor
    table = clip_table(clips, range(len(store)), store)
    short = table[0]
    least = table[1]["length"] + 10
    batch = Collator(store, extractor, shortest=least)([short, table[1], table[5]])
    for i, clip in enumerate([short, table[1]]):
        lengthened = np.pad(store[clip["row"]], (0, least - clip["length"]))
        expected = extractor(lengthened, sampling_rate=16000, return_tensors="pt")["input_values"][
            0
        ]
        np.testing.assert_array_equal(batch["input_values"][i, :least], expected)
        assert not batch["input_values"][i, least:].any()
        assert norm == "group" or batch["attention_mask"][i].sum() == least
    assert batch["input_values"].shape[1] == table[5]["length"]


@pytest.mark.parametrize("kind", ["wav2vec2-layer", "wav2vec2", "wav2vec2-bert"])
def test_training_batches_are_long_enough_for_specaugment(clips, store, labels, tmp_path, kind):
    options = {"mask_time_length": 60, "mask_time_prob": 0.5}
    folder = write_checkpoint(tmp_path, **CHECKPOINTS[kind])
    plan = blueprint("encoder", labels, checkpoint=str(folder), options=options)
    shortest, least = lengths_needed(plan.config)
    collate = Collator(store, plan.extractor, 0, shortest, least)
    table = list(clip_table(clips, range(2), store))
    assert all(clip["length"] < least for clip in table)
    evaluated = collate(table)
    trained = collate(table, training=True)
    name = build_model(copy.deepcopy(plan)).main_input_name
    assert set(trained) == set(evaluated)
    assert len(trained[name]) == len(trained["labels"]) == 2
    frames = evaluated[name].shape[1]
    assert_near(trained[name][:, :frames], evaluated[name])
    if kind == "wav2vec2":
        assert "attention_mask" not in trained
    else:
        assert (
            trained["attention_mask"].sum(dim=1).tolist()
            == evaluated["attention_mask"].sum(dim=1).tolist()
        )
    model = build_model(plan).train()
    model(**trained)
    with pytest.raises(ValueError, match="mask_length"):
        model(**evaluated)
    long_enough = Collator(store, plan.extractor, 0, shortest, table[1]["length"])
    assert_near(long_enough(table, training=True)[name], evaluated[name])

"""Quotas of corpora and classes in each epoch."""

from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.training.balancing import ALWAYS, balanced, quotas
from ser_hf.training.clips import clip_table
from ser_hf.training.sampling import EpochSchedule, clips_by_corpus, recordings

SIZES = {("a", 0): 60, ("a", 1): 20, ("b", 0): 10, ("b", 1): 5, ("b", 2): 5}


@pytest.mark.parametrize(
    ("weights", "balance", "expected"),
    [
        ({}, None, SIZES),
        (
            {"a": 0.5, "b": 2.0},
            None,
            {("a", 0): 30, ("a", 1): 10, ("b", 0): 20, ("b", 1): 10, ("b", 2): 10},
        ),
        ({}, "corpus", {("a", 0): 38, ("a", 1): 12, ("b", 0): 25, ("b", 1): 13, ("b", 2): 12}),
        ({}, "class", {("a", 0): 29, ("a", 1): 27, ("b", 0): 5, ("b", 1): 6, ("b", 2): 33}),
        ({"a": 0.25}, "class", {("a", 0): 8, ("a", 1): 7, ("b", 0): 5, ("b", 1): 7, ("b", 2): 13}),
        (
            {},
            "corpus_and_class",
            {("a", 0): 25, ("a", 1): 25, ("b", 0): 17, ("b", 1): 17, ("b", 2): 16},
        ),
    ],
)
def test_quotas_follow_weight_and_balance(weights, balance, expected):
    found = quotas(SIZES, weights, balance)
    total = sum(count * weights.get(corpus, 1.0) for (corpus, _), count in SIZES.items())
    assert sum(found.values()) == round(total)
    for cell in SIZES:
        assert abs(found[cell] - expected[cell]) <= 1, cell
    sums = Counter()
    for (corpus, label), count in found.items():
        sums[corpus] += count
        sums[label] += count
    if balance in ("corpus", "corpus_and_class"):
        assert abs(sums["a"] - sums["b"]) <= 1
    if balance == "class":
        assert max(sums[label] for label in range(3)) - min(sums[label] for label in range(3)) <= 1


@pytest.mark.parametrize(
    ("weights", "left"), [({"a": 0.001}, (1, 1)), ({"a": 0.01, "b": 1.0}, (1, 1))]
)
def test_every_class_keeps_one_clip(weights, left):
    balanced_counts = {("a", label): count for label, count in enumerate(left)}
    assert quotas(SIZES, weights, None) == balanced_counts | {
        cell: count for cell, count in SIZES.items() if cell[0] == "b"
    }


# Twelve clips: eight of corpus a (five of class 0, of three speakers), four of corpus b.
CORPORA = ["a"] * 8 + ["b"] * 4
SPEAKERS = ["a:1", "a:2", "a:3", "a:1", "a:2", "a:1", "a:2", "a:3", "b:1", "b:1", "b:2", "b:2"]


@pytest.fixture
def mixed(store):
    dataset = Dataset.from_dict({"label": [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 2]})
    return clip_table(
        dataset.cast_column("label", ClassLabel(names=["x", "y", "z"])),
        range(12),
        store,
        max_duration=0.5,
    )


def rows_of(entries, epoch):
    rows = entries["row"][:]
    return [rows[i] for i in EpochSchedule(entries).of(epoch)]


def test_every_epoch_has_its_quota_and_each_clip_its_turn(mixed):
    entries = balanced(mixed, CORPORA, SPEAKERS, {"a": 0.5, "b": 1.5}, None, seed=0)
    assert len(EpochSchedule(entries)) == 10
    used = Counter()
    for epoch in range(20):
        rows = rows_of(entries, epoch)
        assert len(rows) == 10
        assert clips_by_corpus(entries, CORPORA) == {"a": 4, "b": 6}
        assert Counter(CORPORA[row] for row in rows) == {"a": 4, "b": 6}
        assert sum(CORPORA[row] == "a" and row < 5 for row in rows) in (2, 3)
        used.update(rows)
    assert sorted(set(used)) == list(range(12)), "nothing is left out for ever"
    cells = [range(5), range(5, 8), range(8, 10), [10], [11]]
    for cell in cells:
        assert max(used[row] for row in cell) - min(used[row] for row in cell) <= 1


def test_copies_differ_and_every_recording_is_there_once(mixed):
    entries = balanced(mixed, CORPORA, SPEAKERS, {"a": 0.5, "b": 2.5}, None, seed=0)
    pairs = list(zip(entries["row"][:], entries["copy"][:], strict=True))
    assert len(set(pairs)) == len(pairs)
    once = recordings(entries)
    assert once.select_columns(mixed.column_names).to_dict() == mixed.to_dict()
    rotations = np.asarray(entries["rotation"][:])
    assert set(np.asarray(entries["copy"][:])[rotations == ALWAYS]) == {0, 1, 2}
    assert entries["length"][:] == sorted(entries["length"])


def test_without_quotas_every_epoch_uses_every_clip_once(mixed):
    for entries in (mixed, balanced(mixed, CORPORA, SPEAKERS, {}, None, 0)):
        assert EpochSchedule(entries).of(3).tolist() == list(range(len(entries)))
    entries = balanced(mixed, CORPORA, SPEAKERS, {}, None, 0)
    assert rows_of(entries, 5) == mixed["row"][:]

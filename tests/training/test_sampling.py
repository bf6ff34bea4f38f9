"""The order of clips follows from seed and epoch alone, and every clip counts once."""

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from ser_hf.training.sampling import UNCOUNTED, EpochOrder, Repeating

LENGTHS = [5, 9, 1, 7, 3, 8, 2, 6, 4, 10, 12, 11, 13]


def order(strategy="random", seed=1, epoch=0, step=4, **more):
    sampler = EpochOrder(LENGTHS, strategy, step, seed, **more)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_each_clip_comes_once_an_epoch(strategy):
    assert sorted(order(strategy)) == list(range(13))
    assert len(EpochOrder(LENGTHS, strategy, 4, 0)) == 13


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_seed_and_epoch_decide_the_order_and_nothing_else_does(strategy):
    first = order(strategy)
    torch.manual_seed(99)
    assert order(strategy) == first
    others = [order(strategy, seed, epoch) for seed in (1, 2) for epoch in (0, 1, 2) if (seed, epoch) != (1, 0)]
    assert len({tuple(other) for other in [first, *others]}) == 6


def test_a_sequential_order_stays():
    assert order("sequential", epoch=3) == list(range(13))


def test_grouped_batches_hold_clips_of_like_length():
    """The sampler sorts stretches of some batches, each of which then spans a little of what the stretch does."""
    lengths = torch.randperm(400, generator=torch.Generator().manual_seed(0)).tolist()
    spreads = {}
    for strategy in ("random", "group_by_length"):
        batches = list(BatchSampler(EpochOrder(lengths, strategy, 8, 0), 8, False))
        spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
        spreads[strategy] = sum(spread) / len(spread)
    assert spreads["group_by_length"] < 0.2 * spreads["random"]


def test_the_clock_is_the_reader_s():
    clock = torch.zeros((), dtype=torch.int64)
    EpochOrder(LENGTHS, "random", 4, 0, clock=clock).set_epoch(7)
    assert clock == 7


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_two_processes_see_the_clips_of_one(strategy):
    """Accelerate gives processes batches in turn; two of 2 are one of 4, and the last ones are filled up."""
    alone = list(BatchSampler(EpochOrder(LENGTHS, strategy, 4, 3), 4, False))
    sampler = EpochOrder(LENGTHS, strategy, 4, 3, padded_to=4)
    shards = [list(BatchSamplerShard(BatchSampler(sampler, 2, False), 2, process)) for process in (0, 1)]
    assert [len(shard) for shard in shards] == [4, 4]
    together = [one + other for one, other in zip(*shards, strict=True)]
    assert together[:-1] == alone[:-1]
    clips = Repeating([{"labels": 1, "row": i} for i in range(13)])
    read = [clips[i] for batch in together for i in batch]
    counted = [clip["row"] for clip in read if clip["labels"] != UNCOUNTED]
    assert sorted(counted) == list(range(13))
    assert counted == [i for batch in alone for i in batch]


def test_a_corpus_smaller_than_a_batch_is_repeated_uncounted():
    sampler = EpochOrder([1, 2, 3], "sequential", 8, 0, padded_to=8)
    clips = Repeating([{"labels": i, "row": i} for i in range(3)])
    read = [clips[i] for i in sampler]
    assert [clip["row"] for clip in read] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [clip["labels"] for clip in read] == [0, 1, 2] + [UNCOUNTED] * 5
    assert len(clips) == 3

"""The order of clips depends on seed and epoch only, and every clip counts once."""

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset

from ser_hf.training.balancing import ALWAYS
from ser_hf.training.sampling import EpochBatches, EpochOrder, EpochSchedule

LENGTHS = [5, 9, 1, 7, 3, 8, 2, 6, 4, 10, 12, 11, 13]


def order(strategy="random", seed=1, epoch=0, step=4, **more):
    return list(EpochOrder(LENGTHS, strategy, step, seed, torch.tensor(epoch), **more))


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_each_clip_comes_once_an_epoch(strategy):
    assert sorted(order(strategy)) == list(range(13))
    assert len(EpochOrder(LENGTHS, strategy, 4, 0)) == 13


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_the_order_depends_on_seed_and_epoch_only(strategy):
    first = order(strategy)
    torch.manual_seed(99)
    assert order(strategy) == first
    others = [
        order(strategy, seed, epoch)
        for seed in (1, 2)
        for epoch in (0, 1, 2)
        if (seed, epoch) != (1, 0)
    ]
    assert len({tuple(other) for other in [first, *others]}) == 6


def shares(strategy, size, processes, lengths=LENGTHS):
    """The batches that each process gets of Accelerate."""
    batches = EpochBatches(EpochOrder(lengths, strategy, size * processes, 3), size, processes)
    return [list(BatchSamplerShard(batches, processes, process)) for process in range(processes)]


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
@pytest.mark.parametrize(("size", "processes"), [(2, 2), (4, 2), (1, 4), (2, 3)])
def test_several_processes_see_the_clips_of_one(strategy, size, processes):
    """13 clips leave one clip for the last turn, which joins the turn before it if there are
    several processes.
    """
    together = size * processes
    order = list(EpochOrder(LENGTHS, strategy, together, 3))
    turns = list(zip(*shares(strategy, size, processes), strict=True))
    assert len(turns) == 13 // together + (13 % together >= processes)
    for number, turn in enumerate(turns):
        sizes = [len(batch) for batch in turn]
        assert max(sizes) - min(sizes) <= 1
        end = None if number == len(turns) - 1 else (number + 1) * together
        assert [clip for batch in turn for clip in batch] == order[number * together : end]


def test_one_process_has_whole_batches_and_a_last_shorter_one():
    (batches,) = shares("sequential", 4, 1)
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]


@pytest.fixture
def turns():
    """Thirteen entries: five of every epoch, two of a rotation of six, one of a rotation of two."""
    columns = {
        "rotation": [ALWAYS] * 5 + [0] * 6 + [1] * 2,
        "position": [0] * 5 + [3, 1, 0, 2, 5, 4] + [1, 0],
        "per_epoch": [0] * 5 + [2] * 6 + [1] * 2,
    }
    return EpochSchedule(Dataset.from_dict(columns))


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_an_epoch_uses_the_entries_of_its_schedule(strategy, turns):
    assert len(EpochOrder(LENGTHS, strategy, 4, 0, schedule=turns)) == 8
    used = [sorted(order(strategy, epoch=epoch, schedule=turns)) for epoch in range(4)]
    always = [0, 1, 2, 3, 4]
    assert used == [
        [*always, 6, 7, 12],
        [*always, 5, 8, 11],
        [*always, 9, 10, 12],
        [*always, 6, 7, 11],
    ]

"""Which clips make which batch: an order that seed and epoch decide, alike for any number of processes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from .balancing import Turns

# What torch's and transformers' losses call a target that does not count.
UNCOUNTED = -100


class EpochOrder(Sampler[int]):
    """The order of the training clips in each epoch: drawn anew from seed and epoch, and from nothing else.

    Args:
        lengths: samples of each clip.
        strategy: ``random``, ``sequential``, or ``group_by_length``: batches of similar length, in random order.
        step_batch_size: clips of one optimiser step, over all processes and accumulated batches.
        clock: the epoch, noted by the Trainer and read by all who need it, in whatever process.
        turns: which clips an epoch meets; None for all of them.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        strategy: str,
        step_batch_size: int,
        seed: int,
        clock: torch.Tensor | None = None,
        turns: Turns | None = None,
    ):
        self.lengths, self.strategy, self.step_batch_size = list(lengths), strategy, step_batch_size
        self.seed = seed
        self.clock = torch.zeros((), dtype=torch.int64) if clock is None else clock
        self.turns = turns

    def __len__(self) -> int:
        return len(self.lengths) if self.turns is None else len(self.turns)

    def __iter__(self) -> Iterator[int]:
        if self.turns is None:
            return iter(self._order(self.lengths))
        met = self.turns.of(int(self.clock)).tolist()
        return iter([met[i] for i in self._order([self.lengths[clip] for clip in met])])

    def _order(self, lengths: list[int]) -> list[int]:
        if self.strategy == "sequential":
            return list(range(len(lengths)))
        # Seeds of neighbouring epochs and runs must not meet: seed 1 in epoch 2 is not seed 2 in epoch 1.
        drawn = np.random.SeedSequence((self.seed, int(self.clock))).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        if self.strategy == "group_by_length":
            return get_length_grouped_indices(lengths, self.step_batch_size, generator=generator)
        return torch.randperm(len(lengths), generator=generator).tolist()


class EpochBatches(Sampler[list[int]]):
    """Batches for several processes, which take turns at them (Accelerate's way), from one order of the clips.

    The batches of a turn together hold the clips that one process would have in one batch. Those of the last turn,
    where clips run out, are of equal size to a clip; Accelerate would fill them up with clips of other steps, which
    would then count twice. Only where there are fewer clips than processes are some repeated (see `Repeating`).

    Args:
        size: clips of a batch, of one process.
        drop_last: leaves the last turn out if it is not full.
    """

    def __init__(self, order: EpochOrder, size: int, processes: int = 1, drop_last: bool = False):
        # Not called batch_size, by which Accelerate would tell batches that it must fill up.
        self.order, self.size, self.processes, self.drop_last = order, size, processes, drop_last

    def __len__(self) -> int:
        turns = len(self.order) / (self.size * self.processes)
        return self.processes * (math.floor(turns) if self.drop_last else math.ceil(turns))

    def __iter__(self) -> Iterator[list[int]]:
        together = self.size * self.processes
        order = list(self.order)
        for begin in range(0, len(order), together):
            turn = order[begin : begin + together]
            if self.drop_last and len(turn) < together:
                return
            beyond = len(self.order.lengths)
            repeated = [beyond + order[i % len(order)] for i in range(self.processes - len(turn))]
            for piece in np.array_split(turn + repeated, self.processes):
                yield piece.tolist()


class Repeating(Dataset):
    """`clips`, which numbers beyond the last begin again, labelled `UNCOUNTED` from there on."""

    def __init__(self, clips: Dataset):
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> dict:
        clip = self.clips[number % len(self.clips)]
        return clip if number < len(self.clips) else clip | {"labels": UNCOUNTED}

"""Which clips make which batch: an order that seed and epoch decide, alike for any number of processes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

# What torch's and transformers' losses call a target that does not count.
UNCOUNTED = -100


class EpochOrder(Sampler[int]):
    """The order of the training clips in each epoch: drawn anew from seed and epoch, and from nothing else.

    So an interrupted epoch goes on with the clips that were to come, and several processes, which take turns at
    batches, together see the same clips in every step as one process with their batches in one.

    Args:
        lengths: samples of each clip.
        strategy: ``random``, ``sequential``, or ``group_by_length``: batches of similar length, in random order.
        step_batch_size: clips of one optimiser step, over all processes and accumulated batches.
        padded_to: the last batches are filled up to a multiple of this with clips from the epoch's beginning, numbered
            on behind the last (see `Repeating`); 1 fills nothing.
        clock: where the epoch is noted for those who read the clips, in whatever process, and crop them by it.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        strategy: str,
        step_batch_size: int,
        seed: int,
        padded_to: int = 1,
        clock: torch.Tensor | None = None,
    ):
        self.lengths, self.strategy, self.step_batch_size = list(lengths), strategy, step_batch_size
        self.seed, self.padded_to = seed, padded_to
        self.clock = torch.zeros((), dtype=torch.int64) if clock is None else clock

    def set_epoch(self, epoch: int) -> None:
        """The Trainer says which epoch comes."""
        self.clock.fill_(epoch)

    def __len__(self) -> int:
        return self.padded_to * math.ceil(len(self.lengths) / self.padded_to)

    def __iter__(self) -> Iterator[int]:
        clips = len(self.lengths)
        order = self._order()
        yield from order
        for i in range(len(self) - clips):
            yield clips + order[i % clips]

    def _order(self) -> list[int]:
        if self.strategy == "sequential":
            return list(range(len(self.lengths)))
        # Seeds of neighbouring epochs and runs must not meet: seed 1 in epoch 2 is not seed 2 in epoch 1.
        drawn = np.random.SeedSequence((self.seed, int(self.clock))).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        if self.strategy == "group_by_length":
            return get_length_grouped_indices(self.lengths, self.step_batch_size, generator=generator)
        return torch.randperm(len(self.lengths), generator=generator).tolist()


class Repeating(Dataset):
    """`clips`, which numbers beyond the last begin again, labelled `UNCOUNTED` from there on.

    Accelerate would give the last batches of an epoch repeated clips where they do not come out even, and those would
    count twice. Here every process gets its share of the batch, and no clip counts but once.
    """

    def __init__(self, clips: Dataset):
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> dict:
        clip = self.clips[number % len(self.clips)]
        return clip if number < len(self.clips) else clip | {"labels": UNCOUNTED}

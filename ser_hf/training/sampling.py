"""Selects the clips of each epoch, and their order and batches."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from .balancing import ALWAYS


class EpochSchedule:
    """Selects the entries of each epoch from those of `clip_table` or `balanced`."""

    def __init__(self, clips: Dataset):
        self.entries = len(clips)
        self._rotations = None
        if "rotation" in clips.column_names:
            self._rotations = np.asarray(clips["rotation"][:])
            self._positions = np.asarray(clips["position"][:])
            self._per_epoch = np.asarray(clips["per_epoch"][:])
            # The number of entries in the rotation of each entry.
            self._sizes = np.bincount(self._rotations - ALWAYS)[self._rotations - ALWAYS]

    def __len__(self) -> int:
        """The number of entries in an epoch, which is the same for all epochs."""
        return len(self.of(0))

    def of(self, epoch: int) -> np.ndarray:
        """Indices of the entries of this epoch, ascending."""
        if self._rotations is None:
            return np.arange(self.entries)
        # Positions after the first entry of this epoch.
        after_first = (self._positions - epoch * self._per_epoch) % self._sizes
        return np.flatnonzero((self._rotations == ALWAYS) | (after_first < self._per_epoch))


def clips_by_corpus(entries: Dataset, corpora: Sequence[str]) -> dict[str, int]:
    """Clips of each corpus in an epoch."""
    rows = np.asarray(entries["row"][:])[EpochSchedule(entries).of(0)]
    return dict(sorted(Counter(corpora[row] for row in rows.tolist()).items()))


def epoch_labels(entries: Dataset) -> list[int]:
    """The labels of the entries of an epoch; all epochs have the same labels in another order."""
    return np.asarray(entries["labels"][:])[EpochSchedule(entries).of(0)].tolist()


def recordings(clips: Dataset) -> Dataset:
    """Each recording once, without repetitions; for statistics."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))


class EpochOrder(Sampler[int]):
    """The order of the training clips in each epoch, which depends only on seed and epoch.

    Args:
        lengths: samples of each clip.
        strategy: ``random``, ``sequential``, or ``group_by_length`` (batches of similar length, in
            random order).
        step_batch_size: clips of one optimizer step.
        clock: the current epoch, in memory that the Trainer and the workers share.
        schedule: selects the clips of each epoch; None to use all clips.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        strategy: str,
        step_batch_size: int,
        seed: int,
        clock: torch.Tensor | None = None,
        schedule: EpochSchedule | None = None,
    ):
        self.lengths = list(lengths)
        self.strategy = strategy
        self.step_batch_size = step_batch_size
        self.seed = seed
        self.schedule = schedule
        self.clock = torch.zeros((), dtype=torch.int64) if clock is None else clock

    def __len__(self) -> int:
        return len(self.lengths) if self.schedule is None else len(self.schedule)

    def __iter__(self) -> Iterator[int]:
        epoch = int(self.clock)
        if self.schedule is None:
            clips = list(range(len(self.lengths)))
        else:
            clips = self.schedule.of(epoch).tolist()
        if self.strategy == "sequential":
            return iter(clips)

        # Seed 1 in epoch 2 must differ from seed 2 in epoch 1.
        mixed_seed = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(mixed_seed[0] >> 1))
        if self.strategy == "group_by_length":
            lengths = [self.lengths[clip] for clip in clips]
            order = get_length_grouped_indices(lengths, self.step_batch_size, generator=generator)
        else:
            order = torch.randperm(len(clips), generator=generator).tolist()
        return iter([clips[i] for i in order])


class EpochBatches(Sampler[list[int]]):
    """Divides one order of the clips into batches of `size` clips for several processes.

    In each round, every process gets one batch. The batches of the last round differ in size by at
    most one clip; Accelerate would repeat clips there. If fewer clips than processes are left for
    the last round, they are added to the round before.
    """

    def __init__(self, order: EpochOrder, size: int, processes: int = 1):
        # Not called batch_size: Accelerate would fill up batches of a sampler with that attribute.
        self.order = order
        self.processes = processes
        self.clips_per_round = size * processes
        self.rounds, remainder = divmod(len(order), self.clips_per_round)
        if remainder >= processes:
            self.rounds += 1

    def __len__(self) -> int:
        return self.rounds * self.processes

    def __iter__(self) -> Iterator[list[int]]:
        clips = list(self.order)
        for number in range(1, self.rounds + 1):
            begin = (number - 1) * self.clips_per_round
            end = len(clips) if number == self.rounds else number * self.clips_per_round
            for batch in np.array_split(clips[begin:end], self.processes):
                yield batch.tolist()

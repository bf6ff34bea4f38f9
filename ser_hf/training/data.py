"""Training data: balancing, and which clips each epoch has in which order."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..utils.order import apportion, interleave


def window_notes(
    name: str,
    part: Dataset,
    sampling_rate: int,
    window: int | None,
    longest: int | None = None,
    shortest: int = 0,
) -> list[str]:
    """Describe how many clips of a split are evaluated in windows or padded, for the report;
    lengths in samples.
    """
    rows = np.asarray(part["row"][:])
    clips, counts = np.unique(rows, return_counts=True)
    sentences = []
    if cut := int((counts > 1).sum()):
        limit = window == longest
        why = "that the model can take" if limit else "of evaluation.window"
        sentences.append(
            f"{cut} of {len(clips)} {name} clips are longer than the {window / sampling_rate:.2f} s {why}: evaluated "
            "in windows of at most that, predictions averaged by duration; "
            f"pipeline {'cuts them off there' if limit else 'processes them whole'}"
        )
    if padded := int((np.asarray(part["length"][:]) < shortest).sum()):
        sentences.append(
            f"{padded} of {len(clips)} {name} clips are shorter than the {1000 * shortest / sampling_rate:.0f} ms "
            "that the model needs: silence is added"
        )
    return sentences


Balance = Literal["corpus", "class", "corpus_and_class"]
ALWAYS = -1  # the lot of entries that every epoch uses


def balanced(
    clips: Dataset,
    corpora: Sequence[str],
    speakers: Sequence[str],
    weights: Mapping[str, float],
    balance: Balance | None,
    seed: int,
) -> Dataset:
    """Make entries of `clips` from which every epoch takes as many of each corpus and class as
    `quotas` gives.

    Entries beyond one per clip and epoch have a `copy` number. If an epoch uses only some entries
    of a corpus and class, these share a number `lot` (else `ALWAYS`) and have a position `turn` in
    it, of which an epoch uses the next `take`: epochs continue where the last one stopped
    (`EpochSchedule`).

    Args:
        clips: from `clip_table`.
        corpora, speakers: of each row of the corpus; the order keeps speakers in proportion.
        weights: {corpus: clips per epoch, relative to its number of clips}; 1 if missing.
        balance: what is equally frequent in an epoch; None for the natural frequencies.
        seed: of the order.
    """
    rows = np.asarray(clips["row"][:])
    labels = np.asarray(clips["labels"][:])
    cells: dict[tuple[str, int], list[int]] = {}
    for place in np.argsort(rows, kind="stable").tolist():  # the draw must not depend on lengths
        cells.setdefault((corpora[rows[place]], int(labels[place])), []).append(place)
    generator = np.random.default_rng(seed)
    counts = quotas({cell: len(own) for cell, own in cells.items()}, weights, balance)
    entries: list[tuple[int, ...]] = []
    for number, (cell, own) in enumerate(sorted(cells.items())):
        rounds, lacking = divmod(counts[cell], len(own))
        entries += [(place, copy, ALWAYS, 0, 0) for copy in range(rounds) for place in own]
        turns = interleave([(speakers[rows[place]],) for place in own], generator)
        if lacking:
            entries += [(own[i], rounds, number, turn, lacking) for turn, i in enumerate(turns)]
    places, *columns = np.asarray(entries, dtype=np.int64).reshape(-1, 5).T
    # by length as a part is
    order = np.lexsort((columns[0], places, np.asarray(clips["length"][:])[places]))
    names = ("copy", "lot", "turn", "take")
    added = {name: values[order] for name, values in zip(names, columns, strict=True)}
    return Dataset.from_dict(clips.select(places[order]).to_dict() | added)


def quotas(
    sizes: Mapping[tuple[str, int], int], weights: Mapping[str, float], balance: Balance | None
) -> dict[tuple[str, int], int]:
    """Compute the clips per epoch of each (corpus, class): the same total, corpora by weight, none
    left out.

    ``corpus`` gives corpora equal shares and keeps their class ratios, ``class`` the reverse;
    ``corpus_and_class`` gives corpora equal shares, and the classes of each corpus too.
    """
    cells = sorted(sizes)
    mass = np.asarray([sizes[cell] * weights.get(cell[0], 1.0) for cell in cells])
    corpora, classes = (np.asarray([cell[i] for cell in cells]) for i in (0, 1))
    for corpus in np.unique(corpora):
        own = corpora == corpus
        mass[own] *= max(1.0, own.sum() / mass[own].sum())
    total = round(mass.sum())
    if balance == "corpus_and_class":
        mass = np.ones(len(cells))
    outer = classes if balance == "class" else corpora  # whose sums are to be right, to a clip
    members = [np.flatnonzero(outer == group) for group in np.unique(outer)]
    if balance:
        for own in members:
            mass[own] /= mass[own].sum()
    sums = apportion(
        total, [mass[own].sum() for own in members], least=[len(own) for own in members]
    )
    shares = np.zeros(len(cells), dtype=int)
    for own, count in zip(members, sums, strict=True):
        shares[own] = apportion(count, mass[own], least=1)
    return dict(zip(cells, shares.tolist(), strict=True))


class EpochSchedule:
    """Selects the entries of each epoch from those of `clip_table` or `balanced`."""

    def __init__(self, clips: Dataset):
        self.entries = len(clips)
        self._lots = None
        if "lot" in clips.column_names:
            self._lots, self._turns, self._takes = (
                np.asarray(clips[name][:]) for name in ("lot", "turn", "take")
            )
            self._sizes = np.bincount(self._lots - ALWAYS)[self._lots - ALWAYS]

    def __len__(self) -> int:
        """Entries per epoch, the same in each."""
        return len(self.of(0))

    def of(self, epoch: int) -> np.ndarray:
        """Indices of the entries of this epoch, ascending."""
        if self._lots is None:
            return np.arange(self.entries)
        since = (self._turns - epoch * self._takes) % self._sizes
        return np.flatnonzero((self._lots == ALWAYS) | (since < self._takes))


def clips_by_corpus(entries: Dataset, corpora: Sequence[str]) -> dict[str, int]:
    """Clips of each corpus in an epoch."""
    rows = np.asarray(entries["row"][:])[EpochSchedule(entries).of(0)]
    return dict(sorted(Counter(corpora[row] for row in rows.tolist()).items()))


def epoch_labels(entries: Dataset) -> list[int]:
    """Labels of an epoch, which differ between epochs in order only."""
    return np.asarray(entries["labels"][:])[EpochSchedule(entries).of(0)].tolist()


def recordings(clips: Dataset) -> Dataset:
    """Each recording once, without repetitions; for statistics."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))


class EpochOrder(Sampler[int]):
    """Order of the training clips in each epoch, a function of seed and epoch alone: ``random``,
    ``sequential``, or ``group_by_length`` (batches of similar length, in random order). `clock` is
    the epoch, shared with the Trainer and workers; without a `schedule` an epoch uses all clips."""

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
        clips = (
            list(range(len(self.lengths)))
            if self.schedule is None
            else self.schedule.of(epoch).tolist()
        )
        if self.strategy == "sequential":
            return iter(clips)
        # Seed 1 in epoch 2 must differ from seed 2 in epoch 1.
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        if self.strategy == "group_by_length":
            lengths = [self.lengths[clip] for clip in clips]
            order = get_length_grouped_indices(lengths, self.step_batch_size, generator=generator)
        else:
            order = torch.randperm(len(clips), generator=generator).tolist()
        return iter([clips[i] for i in order])


class EpochBatches(Sampler[list[int]]):
    """Batches of `size` clips for several processes in turn, from one order of the clips.

    The batches of one turn hold the clips that a single process would have in one batch; in the
    last turn their sizes differ by at most one, where Accelerate would repeat clips. A last turn
    with fewer clips than processes joins the one before it.
    """

    def __init__(self, order: EpochOrder, size: int, processes: int = 1):
        # Not called batch_size: Accelerate would fill up batches of a sampler with that attribute.
        self.order = order
        self.processes = processes
        self.together = size * processes
        whole, rest = divmod(len(order), self.together)
        self.turns = whole + (rest >= processes)

    def __len__(self) -> int:
        return self.turns * self.processes

    def __iter__(self) -> Iterator[list[int]]:
        clips = list(self.order)
        for turn in range(1, self.turns + 1):
            end = len(clips) if turn == self.turns else turn * self.together
            for batch in np.array_split(clips[(turn - 1) * self.together : end], self.processes):
                yield batch.tolist()

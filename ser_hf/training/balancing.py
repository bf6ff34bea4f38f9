"""Balances corpora and classes: computes quotas per epoch, and repeats or leaves out clips."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from datasets import Dataset

from ..utils.order import apportion, interleave

Balance = Literal["corpus", "class", "corpus_and_class"]
Cell = tuple[str, int]  # corpus and class
ALWAYS = -1  # in place of the number of a rotation: every epoch uses the entry


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One use of a clip: the index of the clip, and the columns that `balanced` adds."""

    clip: int
    copy: int
    rotation: int = ALWAYS
    position: int = 0
    per_epoch: int = 0


def balanced(
    clips: Dataset,
    corpora: Sequence[str],
    speakers: Sequence[str],
    weights: Mapping[str, float],
    balance: Balance | None,
    seed: int,
) -> Dataset:
    """Make a table of entries, in which a clip may have several entries.

    Every epoch has the same number of entries of each corpus and class. The columns are those of
    `clips` and four more:

    - `copy` is 0 for the first entry of a clip, 1 for its second entry, and so on.
    - `rotation` is `ALWAYS` for entries that every epoch uses. Other entries are in rotations: an
      epoch uses only some entries of a rotation, and all entries of a rotation have the same corpus
      and class.
    - `position` is the position of an entry in its rotation.
    - `per_epoch` is the number of entries of the rotation that an epoch uses. The next epoch
      continues after the last entry that was used (`EpochSchedule`).

    Args:
        clips: from `clip_table`.
        corpora, speakers: the corpus and the speaker of each row of the corpus. In a rotation,
            speakers alternate in proportion to their numbers of clips.
        weights: {corpus: clips per epoch, relative to its number of clips}; 1 if missing.
        balance: what is equally frequent in an epoch; None for the natural frequencies.
        seed: seed of the random order.
    """
    rows = np.asarray(clips["row"][:])
    labels = np.asarray(clips["labels"][:])
    clips_of_cell: dict[Cell, list[int]] = {}
    # Use the order of the corpus, so that the random order does not depend on lengths.
    for clip in np.argsort(rows, kind="stable").tolist():
        cell = (corpora[rows[clip]], int(labels[clip]))
        clips_of_cell.setdefault(cell, []).append(clip)
    sizes = {cell: len(members) for cell, members in clips_of_cell.items()}
    counts = quotas(sizes, weights, balance)

    generator = np.random.default_rng(seed)
    entries: list[_Entry] = []
    for rotation, (cell, members) in enumerate(sorted(clips_of_cell.items())):
        repetitions, remainder = divmod(counts[cell], len(members))
        for copy in range(repetitions):
            entries += [_Entry(clip, copy) for clip in members]
        speaker_order = interleave([(speakers[rows[clip]],) for clip in members], generator)
        if remainder:
            for position, i in enumerate(speaker_order):
                entry = _Entry(
                    clip=members[i],
                    copy=repetitions,
                    rotation=rotation,
                    position=position,
                    per_epoch=remainder,
                )
                entries.append(entry)

    indices = np.asarray([entry.clip for entry in entries], dtype=np.int64)
    copies = np.asarray([entry.copy for entry in entries], dtype=np.int64)
    # Sort the entries by length, as the clips of a split are sorted.
    order = np.lexsort((copies, indices, np.asarray(clips["length"][:])[indices]))
    columns = clips.select(indices[order]).to_dict()
    for name in ("copy", "rotation", "position", "per_epoch"):
        values = np.asarray([getattr(entry, name) for entry in entries], dtype=np.int64)
        columns[name] = values[order]
    return Dataset.from_dict(columns)


def quotas(
    sizes: Mapping[Cell, int], weights: Mapping[str, float], balance: Balance | None
) -> dict[Cell, int]:
    """Compute the number of clips per epoch of each (corpus, class).

    The total number of clips does not depend on `balance`, and each (corpus, class) has at least
    one clip. Without a balance, the number of clips of a corpus is proportional to its weight.
    ``corpus`` gives all corpora equal shares and keeps the class ratios of each corpus. ``class``
    gives all classes equal shares and keeps the corpus ratios of each class. ``corpus_and_class``
    gives all corpora equal shares, and all classes of a corpus equal shares too.
    """
    cells = sorted(sizes)
    corpora = np.asarray([corpus for corpus, _ in cells])
    classes = np.asarray([label for _, label in cells])
    mass = np.asarray([sizes[cell] * weights.get(cell[0], 1.0) for cell in cells])
    for corpus in np.unique(corpora):
        # A corpus needs at least one clip of each of its classes.
        in_corpus = corpora == corpus
        mass[in_corpus] *= max(1.0, in_corpus.sum() / mass[in_corpus].sum())
    total = round(mass.sum())

    if balance == "corpus_and_class":
        mass = np.ones(len(cells))
    # The number of clips of each group is exact up to one clip.
    group_of_cell = classes if balance == "class" else corpora
    groups = [np.flatnonzero(group_of_cell == group) for group in np.unique(group_of_cell)]
    if balance:
        for members in groups:
            mass[members] /= mass[members].sum()
    sums = apportion(
        total,
        [mass[members].sum() for members in groups],
        least=[len(members) for members in groups],
    )
    counts = np.zeros(len(cells), dtype=int)
    for members, count in zip(groups, sums, strict=True):
        counts[members] = apportion(count, mass[members], least=1)
    return dict(zip(cells, counts.tolist(), strict=True))

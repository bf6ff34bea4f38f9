"""How often each corpus and class is in an epoch: quotas, and entries of clips that meet them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from datasets import Dataset

from ..utils.order import apportion, interleave

Balance = Literal["corpus", "class", "corpus_and_class"]
Cell = tuple[str, int]  # corpus and class
ALWAYS = -1  # the lot of entries that every epoch uses


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One use of a clip: its index, and the columns of `balanced`."""

    clip: int
    copy: int
    lot: int = ALWAYS
    turn: int = 0
    take: int = 0


def balanced(
    clips: Dataset,
    corpora: Sequence[str],
    speakers: Sequence[str],
    weights: Mapping[str, float],
    balance: Balance | None,
    seed: int,
) -> Dataset:
    """Make entries of clips, from which every epoch takes as many of each corpus and class.

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
    clips_of_cell: dict[Cell, list[int]] = {}
    # In the order of the corpus: the draw must not depend on lengths.
    for clip in np.argsort(rows, kind="stable").tolist():
        cell = (corpora[rows[clip]], int(labels[clip]))
        clips_of_cell.setdefault(cell, []).append(clip)
    sizes = {cell: len(members) for cell, members in clips_of_cell.items()}
    counts = quotas(sizes, weights, balance)

    generator = np.random.default_rng(seed)
    entries: list[_Entry] = []
    for lot, (cell, members) in enumerate(sorted(clips_of_cell.items())):
        rounds, lacking = divmod(counts[cell], len(members))
        for copy in range(rounds):
            entries += [_Entry(clip, copy) for clip in members]
        turns = interleave([(speakers[rows[clip]],) for clip in members], generator)
        if lacking:
            for turn, i in enumerate(turns):
                entries.append(_Entry(members[i], rounds, lot, turn, lacking))

    indices = np.asarray([entry.clip for entry in entries], dtype=np.int64)
    copies = np.asarray([entry.copy for entry in entries], dtype=np.int64)
    # By length, as the clips of a split are.
    order = np.lexsort((copies, indices, np.asarray(clips["length"][:])[indices]))
    columns = clips.select(indices[order]).to_dict()
    for name in ("copy", "lot", "turn", "take"):
        values = np.asarray([getattr(entry, name) for entry in entries], dtype=np.int64)
        columns[name] = values[order]
    return Dataset.from_dict(columns)


def quotas(
    sizes: Mapping[Cell, int], weights: Mapping[str, float], balance: Balance | None
) -> dict[Cell, int]:
    """Compute the clips per epoch of each (corpus, class): the same total, and none left out.

    Without a balance, corpora have clips by weight. ``corpus`` gives corpora equal shares and keeps
    their class ratios, ``class`` the reverse; ``corpus_and_class`` gives corpora equal shares, and
    the classes of each corpus too.
    """
    cells = sorted(sizes)
    corpora = np.asarray([corpus for corpus, _ in cells])
    classes = np.asarray([label for _, label in cells])
    mass = np.asarray([sizes[cell] * weights.get(cell[0], 1.0) for cell in cells])
    for corpus in np.unique(corpora):
        # At least one clip of each class.
        of_corpus = corpora == corpus
        mass[of_corpus] *= max(1.0, of_corpus.sum() / mass[of_corpus].sum())
    total = round(mass.sum())

    if balance == "corpus_and_class":
        mass = np.ones(len(cells))
    # The groups whose sums are to be right, to a clip.
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

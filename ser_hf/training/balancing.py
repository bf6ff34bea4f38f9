"""How often each corpus and class is in an epoch: quotas, and entries of clips that meet them."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from datasets import Dataset

from ..utils.order import apportion, interleave

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

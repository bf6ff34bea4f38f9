"""Which training clips each epoch uses: over-sampling of rare classes, or quotas of corpora and classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from datasets import Dataset

from ..utils.proportions import apportion, in_turns

Balance = Literal["corpus", "class", "corpus_and_class"]

# The lot of entries that every epoch meets.
ALWAYS = -1


def oversampled(clips: Dataset, seed: int) -> Dataset:
    """Repeats clips of rarer classes until every class has as many as the most frequent one.

    The remainder is drawn without replacement. The column `copy` numbers the repetitions from 0; each is augmented and
    cropped differently. With soft labels the majority class counts.

    Args:
        clips: from `ser_hf.training.data.part`.
    """
    labels, rows, lengths = (np.asarray(clips[name][:]) for name in ("labels", "row", "length"))
    generator = np.random.default_rng(seed)
    most = int(np.bincount(labels).max(initial=0))
    entries = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        own = own[np.argsort(rows[own], kind="stable")]  # the draw must not depend on lengths
        rounds, lacking = divmod(most, len(own))
        entries += [(place, copy) for copy in range(rounds) for place in own]
        entries += [(place, rounds) for place in generator.choice(own, lacking, replace=False)]
    places, copies = np.asarray(entries, dtype=np.int64).reshape(-1, 2).T
    order = np.lexsort((copies, places, lengths[places]))  # by length, as a part is
    columns = {name: clips[name][:] for name in clips.column_names}
    repeated = {name: [values[place] for place in places[order]] for name, values in columns.items()}
    return Dataset.from_dict(repeated | {"copy": copies[order]})


def balanced(
    clips: Dataset,
    corpora: Sequence[str],
    speakers: Sequence[str],
    weights: Mapping[str, float],
    balance: Balance | None,
    seed: int,
) -> Dataset:
    """Entries from which every epoch takes as many clips of each corpus and class as `quotas` says.

    Clips used more than once per epoch have several entries with different `copy`. If an epoch uses only some entries
    of a corpus and class, these form a lot with the columns `lot` (its number, or `ALWAYS`), `turn` (position in the
    lot) and `take` (entries per epoch). Epochs continue where the last one stopped (`EpochSchedule`), and the order
    keeps speakers in proportion.

    Args:
        clips: from `ser_hf.training.data.part`.
        corpora, speakers: of each row of the corpus.
        weights: corpus -> factor of its clips in an epoch, by default 1.
        balance: what else is to be equally frequent.
    """
    rows, labels = np.asarray(clips["row"][:]), np.asarray(clips["labels"][:])
    order = np.argsort(rows, kind="stable")  # the draw must not depend on lengths
    cells: dict[tuple[str, int], list[int]] = {}
    for place in order.tolist():
        cells.setdefault((corpora[rows[place]], int(labels[place])), []).append(place)
    generator = np.random.default_rng(seed)
    met = quotas({cell: len(own) for cell, own in cells.items()}, weights, balance)
    entries = []
    for number, cell in enumerate(sorted(cells)):
        own = cells[cell]
        rounds, lacking = divmod(met[cell], len(own))
        entries += [(place, copy, ALWAYS, 0, 0) for copy in range(rounds) for place in own]
        turns = in_turns([(speakers[rows[place]],) for place in own], generator)
        if lacking:
            entries += [(own[i], rounds, number, turn, lacking) for turn, i in enumerate(turns)]
    places, copies, lots, turns, takes = np.asarray(entries, dtype=np.int64).reshape(-1, 5).T
    order = np.lexsort((copies, places, np.asarray(clips["length"][:])[places]))  # by length, as a part is
    columns = {name: clips[name][:] for name in clips.column_names}
    repeated = {name: [values[place] for place in places[order]] for name, values in columns.items()}
    added = {"copy": copies, "lot": lots, "turn": turns, "take": takes}
    return Dataset.from_dict(repeated | {name: values[order] for name, values in added.items()})


def quotas(
    sizes: Mapping[tuple[str, int], int], weights: Mapping[str, float], balance: Balance | None
) -> dict[tuple[str, int], int]:
    """Clips per epoch of each (corpus, class), from how many there are: the same total, each corpus times its weight,
    and at least one clip of each.

    ``corpus`` gives corpora equal shares and keeps their class ratios; ``class`` gives classes equal shares and keeps
    their corpus ratios; ``corpus_and_class`` gives corpora equal shares, and the classes of each corpus too.
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
    if balance in ("corpus", "corpus_and_class"):
        mass = _levelled(mass, corpora)
    elif balance == "class":
        mass = _levelled(mass, classes)
    outer = classes if balance == "class" else corpora  # whose sums are to be right, to a clip
    members = [np.flatnonzero(outer == group) for group in np.unique(outer)]
    sums = apportion(total, [mass[own].sum() for own in members], least=[len(own) for own in members])
    shares = [apportion(count, mass[own], least=1) for own, count in zip(members, sums, strict=True)]
    return {
        cells[i]: count
        for own, each in zip(members, shares, strict=True)
        for i, count in zip(own.tolist(), each, strict=True)
    }


def _levelled(mass: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Scales the masses so that all groups have the same sum."""
    _, of = np.unique(groups, return_inverse=True)
    return mass / np.bincount(of, mass)[of]


class EpochSchedule:
    """Selects the entries of each epoch.

    Args:
        clips: from `ser_hf.training.data.part`, `oversampled` or `balanced`.
    """

    def __init__(self, clips: Dataset):
        self.entries = len(clips)
        self._lots = None
        if "lot" in clips.column_names:
            self._lots, self._turns, self._takes = (np.asarray(clips[name][:]) for name in ("lot", "turn", "take"))
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


def balance_table(clips: Dataset, entries: Dataset, corpora: Sequence[str], names: Sequence[str]) -> str:
    """Clips of each corpus and class, and how many an epoch uses, as lines to print."""
    lines = [f"{'clips -> an epoch':<18} " + " ".join(f"{name:>14}" for name in names)]
    counts = [
        _by_cell(own, corpora, rows)
        for own, rows in ((clips, np.arange(len(clips))), (entries, EpochSchedule(entries).of(0)))
    ]
    for corpus in sorted({cell[0] for cell in counts[0]}):
        cells = [[own.get((corpus, label), 0) for own in counts] for label in range(len(names))]
        words = [f"{there} -> {met}" if there else "" for there, met in cells]
        lines.append(f"{corpus:<18} " + " ".join(f"{word:>14}" for word in words))
    return "\n".join(lines)


def met_by_corpus(entries: Dataset, corpora: Sequence[str]) -> dict[str, int]:
    """Clips of each corpus in an epoch."""
    met: dict[str, int] = {}
    for (corpus, _), count in sorted(_by_cell(entries, corpora, EpochSchedule(entries).of(0)).items()):
        met[corpus] = met.get(corpus, 0) + count
    return met


def met_labels(entries: Dataset) -> list[int]:
    """Labels of an epoch, which differ between epochs in order only."""
    return np.asarray(entries["labels"][:])[EpochSchedule(entries).of(0)].tolist()


def _by_cell(entries: Dataset, corpora: Sequence[str], places: np.ndarray) -> Counter:
    rows, labels = np.asarray(entries["row"][:])[places], np.asarray(entries["labels"][:])[places]
    return Counter((corpora[row], label) for row, label in zip(rows.tolist(), labels.tolist(), strict=True))


def recordings(clips: Dataset) -> Dataset:
    """Each recording once, without repetitions; for statistics."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))

"""How often an epoch meets which training clips: by over-sampling of rare classes, each time augmented anew, or by
quotas of corpora and classes."""

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
    """The training clips with those of rarer classes repeated until each class has as many as the most frequent one.

    Every clip of a class comes equally often, and what is then lacking is drawn without replacement, by `seed` alone.
    The column `copy` numbers the times that a clip comes, from 0: each copy is augmented and cropped otherwise. Copy 0
    of all clips is the part as it was. Classes are those of `labels`, the majority where labels are soft.

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
    """The training clips as entries of which every epoch meets as many of each corpus and class as `quotas` says.

    What is met more than once has several entries, told apart by `copy` as in `oversampled`. Where an epoch does not
    meet all entries of a corpus and class they make a lot: the columns `lot`, its number (`ALWAYS` for entries that
    are met in every epoch), `turn`, an entry's place in the lot, and `take`, how many of it an epoch meets. Epochs go
    on where the last one left off (`Turns`), so that every clip has its turn before one comes again, and the order of
    the turns keeps speakers in proportion.

    Args:
        clips: from `ser_hf.training.data.part`.
        corpora, speakers: of each row of the corpus.
        weights: corpus -> how often an epoch meets its clips; 1 where nothing is said.
        balance: what is to come equally often besides.
        seed: of the order of the turns.
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
    """Clips that an epoch meets of each (corpus, class), from how many there are: as many in all as there are, each
    corpus times its weight, but a clip of each of its classes at least, which no other corpus is met less for.

    ``corpus`` shares them out equally among corpora, each with its classes as they are; ``class`` equally among
    classes, each with its corpora as they are; ``corpus_and_class`` equally among corpora, and each corpus's equally
    among the classes that it has, so that to know a corpus by its sound tells nothing of the class but which there
    are.
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
    """The masses scaled so that every group has as much as any other."""
    _, of = np.unique(groups, return_inverse=True)
    return mass / np.bincount(of, mass)[of]


class Turns:
    """Which entries of a part each epoch meets.

    Args:
        clips: from `ser_hf.training.data.part`, `oversampled` or `balanced`; of the first two every epoch meets
            all.
    """

    def __init__(self, clips: Dataset):
        self.entries = len(clips)
        self._lots = None
        if "lot" in clips.column_names:
            self._lots, self._turns, self._takes = (np.asarray(clips[name][:]) for name in ("lot", "turn", "take"))
            self._sizes = np.bincount(self._lots - ALWAYS)[self._lots - ALWAYS]

    def __len__(self) -> int:
        """Entries that an epoch meets: as many in each."""
        return len(self.of(0))

    def of(self, epoch: int) -> np.ndarray:
        """Numbers of the entries that this epoch meets, rising."""
        if self._lots is None:
            return np.arange(self.entries)
        since = (self._turns - epoch * self._takes) % self._sizes
        return np.flatnonzero((self._lots == ALWAYS) | (since < self._takes))


def balance_table(clips: Dataset, entries: Dataset, corpora: Sequence[str], names: Sequence[str]) -> str:
    """Clips of each corpus and class, and how many of them an epoch meets, as lines to print."""
    lines = [f"{'clips -> an epoch':<18} " + " ".join(f"{name:>14}" for name in names)]
    counts = [
        _by_cell(own, corpora, rows) for own, rows in ((clips, np.arange(len(clips))), (entries, Turns(entries).of(0)))
    ]
    for corpus in sorted({cell[0] for cell in counts[0]}):
        cells = [[own.get((corpus, label), 0) for own in counts] for label in range(len(names))]
        words = [f"{there} -> {met}" if there else "" for there, met in cells]
        lines.append(f"{corpus:<18} " + " ".join(f"{word:>14}" for word in words))
    return "\n".join(lines)


def met_by_corpus(entries: Dataset, corpora: Sequence[str]) -> dict[str, int]:
    """Clips that an epoch meets of each corpus."""
    met: dict[str, int] = {}
    for (corpus, _), count in sorted(_by_cell(entries, corpora, Turns(entries).of(0)).items()):
        met[corpus] = met.get(corpus, 0) + count
    return met


def met_labels(entries: Dataset) -> list[int]:
    """The classes of what an epoch meets: the same in every epoch, but for their order."""
    return np.asarray(entries["labels"][:])[Turns(entries).of(0)].tolist()


def _by_cell(entries: Dataset, corpora: Sequence[str], places: np.ndarray) -> Counter:
    rows, labels = np.asarray(entries["row"][:])[places], np.asarray(entries["labels"][:])[places]
    return Counter((corpora[row], label) for row, label in zip(rows.tolist(), labels.tolist(), strict=True))


def recordings(clips: Dataset) -> Dataset:
    """Each clip of a part once, however often it is learnt from: what statistics are taken of."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))

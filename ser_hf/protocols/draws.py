"""Drawing whole groups (speakers, sentences, sessions) so that labels, sexes and corpora come out in proportion."""

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset
from sklearn.model_selection import ShuffleSplit

from ..errors import UserError
from ..proportions import apportion
from .split import read_column

_DRAWS = 256


def draw_groups(dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int) -> list[str]:
    """`count` of the values that `column` has in `rows`.

    Of `_DRAWS` random draws the one is taken whose labels and sexes come nearest to those of all `rows`, among those
    that leave every class on both sides where any does.

    Of several corpora each is drawn from by itself, in proportion to its groups, so that none is missing: one group at
    the least, which may make them more than `count`, and not the last one, which may make them fewer.
    """
    pools = _by_corpus(dataset, rows, column)
    sizes = [len(set(_values(dataset, own, column))) for own in pools]
    if len(pools) > 1 and max(sizes) > 1:
        least, most = [min(1, size - 1) for size in sizes], [size - 1 for size in sizes]
        counts = apportion(count, sizes, least, most)
    else:
        pools, counts = [rows], [count]
    drawn = [_nearest(dataset, own, column, n, seed) for own, n in zip(pools, counts, strict=True) if n]
    return sorted(group for own in drawn for group in own)


def _nearest(dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int) -> list[str]:
    groups = sorted(set(_values(dataset, rows, column)))
    profiles = _profiles(dataset, rows, column, groups)
    classes = len(dataset.features["label"].names)
    draws = ShuffleSplit(n_splits=_DRAWS, test_size=count, random_state=seed).split(groups)
    chosen = np.zeros((_DRAWS, len(groups)))
    for i, (_, drawn) in enumerate(draws):
        chosen[i, drawn] = 1
    clips = profiles[:, :classes]
    lacking = sum(((side @ clips == 0) & (clips.sum(axis=0) > 0)).sum(axis=1) for side in (chosen, 1 - chosen))
    unlike = np.abs(chosen @ profiles / count - profiles.mean(axis=0)).sum(axis=1)
    best = np.lexsort((unlike, lacking))[0]
    return [group for group, drawn in zip(groups, chosen[best], strict=True) if drawn]


def _by_corpus(dataset: Dataset, rows: Sequence[int], column: str) -> list[Sequence[int]]:
    """The rows of each corpus; all together where a group stands in several, as sentences may."""
    pools: dict[str, list[int]] = {}
    home: dict[str, str] = {}
    columns = (_values(dataset, rows, name) for name in (column, "corpus"))
    for row, group, corpus in zip(rows, *columns, strict=True):
        if home.setdefault(group, corpus) != corpus:
            return [rows]
        pools.setdefault(corpus, []).append(row)
    return [pools[corpus] for corpus in sorted(pools)]


def absent_corpora(dataset: Dataset, parts: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Notes on the corpora of which a part has no clip, where there are several corpora in `parts`."""
    found = {part: set(_values(dataset, rows, "corpus")) for part, rows in parts.items()}
    missing: dict[str, list[str]] = {}
    for corpus in sorted(set().union(*found.values())):
        lacking = [part for part in found if corpus not in found[part]]
        if lacking:
            missing.setdefault(" and ".join(lacking), []).append(corpus)
    return tuple(f"No clip of {', '.join(corpora)} in {where}." for where, corpora in missing.items())


def hold_out(
    dataset: Dataset, rows: Sequence[int], share: float, seed: int, by: str = "speaker"
) -> tuple[list[int], list[int], tuple[str, ...], tuple[str, ...]]:
    """Divides the rows that are not tested into train and validation.

    Validation takes a share of the groups (speakers, or `by`), of several corpora each in proportion; where only one
    is left, as with TESS's two speakers, a share of its sentences.

    Returns:
        train rows, validation rows, the columns that they keep apart, and notes for the report.

    Raises:
        UserError: if the share is none, or neither speakers nor sentences can be divided.
    """
    check_share("protocol.validation", share)
    column, apart, notes = by, ("speaker",), ()
    groups = set(_values(dataset, rows, by))
    if len(groups) < 2:
        sentences = set(_values(dataset, rows, "sentence"))
        if len(sentences) < 2 or None in sentences:
            raise UserError(
                f"protocol.validation: only {by} {', '.join(sorted(groups))} is left to learn from, and its clips "
                "have no sentences to hold out; choose fewer test speakers"
            )
        column, groups, apart = "sentence", sentences, ("sentence",)
        notes = (
            f"Validation is held-out sentences of the training speakers, as only one {by} is left to learn from: it "
            "says how well new sentences are recognised, not new speakers.",
        )
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    drawn = set(draw_groups(dataset, rows, column, count, seed))
    values = _values(dataset, rows, column)
    train = [row for row, value in zip(rows, values, strict=True) if value not in drawn]
    validation = [row for row, value in zip(rows, values, strict=True) if value in drawn]
    notes += absent_corpora(dataset, {"train": train, "validation": validation})
    return train, validation, apart, notes


def check_share(key: str, share: float) -> None:
    if not 0 < share < 1:
        raise UserError(f"{key}: a share lies between 0 and 1, got {share}")


def _values(dataset: Dataset, rows: Sequence[int], column: str) -> list:
    values = read_column(dataset, column)
    return [values[row] for row in rows]


def _profiles(dataset: Dataset, rows: Sequence[int], column: str, groups: Sequence[str]) -> np.ndarray:
    """(groups, classes + 2): clips per label, and sex, of each; labels together weigh as much as sex."""
    index = {group: i for i, group in enumerate(groups)}
    labels = np.zeros((len(groups), len(dataset.features["label"].names)))
    sexes = np.zeros((len(groups), 2))
    columns = (_values(dataset, rows, name) for name in (column, "label", "sex"))
    for group, label, sex in zip(*columns, strict=True):
        labels[index[group], label] += 1
        if sex in ("female", "male"):
            sexes[index[group]] += [sex == "female", sex == "male"]
    sexes /= np.maximum(sexes.sum(axis=1, keepdims=True), 1)
    return np.hstack([labels / max(labels.sum(axis=1).mean(), 1), sexes])

"""Drawing whole groups (speakers, sentences, sessions) so that labels and sexes come out in proportion."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from sklearn.model_selection import ShuffleSplit

from ..errors import UserError
from .split import read_column

_DRAWS = 256


def draw_groups(dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int) -> list[str]:
    """`count` of the values that `column` has in `rows`.

    Of `_DRAWS` random draws the one is taken whose labels and sexes come nearest to those of all `rows`, among those
    that leave every class on both sides where any does.
    """
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


def hold_out(
    dataset: Dataset, rows: Sequence[int], share: float, seed: int, by: str = "speaker"
) -> tuple[list[int], list[int], tuple[str, ...], tuple[str, ...]]:
    """Divides the rows that are not tested into train and validation.

    Validation takes a share of the groups (speakers, or `by`); where only one is left, as with TESS's two speakers, a
    share of its sentences.

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
    return train, [row for row, value in zip(rows, values, strict=True) if value in drawn], apart, notes


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

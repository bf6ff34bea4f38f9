"""Random splits of clips: every speaker stands in every part. Leaky, and named so in every report; for comparison."""

import numpy as np
from datasets import Dataset
from sklearn.model_selection import train_test_split

from ..errors import UserError
from .draws import check_share
from .split import Split, make_split, read_column


def random(dataset: Dataset, validation: float = 0.2, test: float = 0.1, seed: int = 0) -> Split:
    """Clips drawn at random, 70/20/10 by default: **leaky**, the test speakers are heard in training.

    Raises:
        UserError: for shares that leave no clip to learn from, or a part without a class.
    """
    return _split("random", dataset, validation, test, seed, stratified=False)


def random_stratified(dataset: Dataset, validation: float = 0.2, test: float = 0.1, seed: int = 0) -> Split:
    """As `random`, with each label in proportion in each part: **leaky** all the same.

    Raises:
        UserError: for shares that leave no clip to learn from, or a class with fewer than three clips.
    """
    return _split("random_stratified", dataset, validation, test, seed, stratified=True)


def _split(name: str, dataset: Dataset, validation: float, test: float, seed: int, stratified: bool) -> Split:
    check_share("protocol.validation", validation)
    check_share("protocol.test", test)
    if validation + test >= 1:
        raise UserError(f"protocol.test: {validation} and {test} leave no clip to learn from")
    rest, tested = draw_clips(dataset, np.arange(len(dataset)), test, seed, stratified, "protocol.test")
    train, validated = draw_clips(dataset, rest, validation / (1 - test), seed, stratified, "protocol.validation")
    rows = {"train": train.tolist(), "validation": validated.tolist(), "test": tested.tolist()}
    return make_split(name, dataset, rows, test_apart=(), validation_apart=())


def draw_clips(
    dataset: Dataset, rows: np.ndarray, share: float, seed: int, stratified: bool, key: str
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay, and a share of them drawn at random, by label in proportion where `stratified`."""
    labels = np.asarray(read_column(dataset, "label"))[rows] if stratified else None
    try:
        return train_test_split(rows, test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(f"{key}: {len(rows)} clips cannot be divided by {share:g}: {error}") from None

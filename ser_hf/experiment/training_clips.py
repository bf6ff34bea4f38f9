"""The recordings that a model was trained on, as hashes in the model's folder.

With them an evaluation recognizes the same audio under another name of file, speaker or corpus.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..loading.files import find_file
from ..protocols import Split
from ..utils.errors import UserError
from ..utils.tables import decoded_text

TRAINING_CLIPS = "training_clips.txt"
# Digits of a hash that are kept: 64 bits, so that two of 100,000 recordings are confused with a
# probability of 3e-10.
_DIGITS = 16
_LINE = re.compile(f"[0-9a-f]{{{_DIGITS}}}")
_MOST_BYTES = 2**28


def short_hash(content_hash: str) -> str:
    """The first digits of the hash of the decoded samples of a recording."""
    return content_hash[:_DIGITS]


def save_training_clips(
    folder: Path, hashes: Sequence[str], splits: Iterable[Split], inherited: Iterable[str]
) -> None:
    """Write the short hashes of the training and validation clips of a model, one a line.

    Args:
        folder: the model's folder.
        hashes: the hash of each row of the dataset.
        splits: the splits that the model was trained on.
        inherited: short hashes of the clips that its initial checkpoint was trained on.
    """
    trained = set(inherited)
    for split in splits:
        for part in ("train", "validation"):
            trained.update(short_hash(hashes[row]) for row in split.rows[part])
    text = "".join(f"{line}\n" for line in sorted(trained))
    (folder / TRAINING_CLIPS).write_text(text, encoding="ascii")


def read_training_clips(source: str, revision: str | None = None) -> frozenset[str]:
    """The short hashes of the recordings that a model was trained on; empty if not documented.

    Args:
        source: folder or Hub id of the model.
        revision: branch, tag or commit on the Hub.

    Raises:
        UserError: for a file with anything but hashes.
    """
    path = find_file(source, TRAINING_CLIPS, revision, required=False)
    if path is None:
        return frozenset()
    lines = decoded_text(path, _MOST_BYTES).split()
    if any(_LINE.fullmatch(line) is None for line in lines):
        raise UserError(f"{path}: expected a hash of {_DIGITS} digits in each line; remove it")
    return frozenset(lines)


def among(hashes: Iterable[str], trained: frozenset[str]) -> list[bool]:
    """For each hash of decoded samples, whether the recording is among the trained ones."""
    return [short_hash(content_hash) in trained for content_hash in hashes]

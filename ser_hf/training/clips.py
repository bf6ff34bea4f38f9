"""Makes the table of the clips of a split, and notes on how these clips are evaluated."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

from ..audio import WaveformStore
from ..corpora.targets import positives_of, targets_of
from ..loading.batches import window_bounds
from ..utils.errors import UserError


def clip_table(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
    targets: np.ndarray | None = None,
) -> Dataset:
    """Make the table of the clips of one split for the Trainer, sorted by length.

    Columns are `row`, `labels`, `start`, `length` and `max_samples`. A further column `shares`
    replaces `labels` for dimensions, whose targets it has, for sets of classes, with 0 or 1 for
    each class, and for `soft_labels`: then it has the votes of raters, one value per class.

    Example: `clips = ser_hf.clip_table(dataset, split.rows["train"], store, max_duration=3.0)`

    Args:
        max_duration: length in seconds; longer clips are cropped at random in each epoch. Column
            `max_samples` has this length in samples, or 0 for whole clips.
        window: length in samples; longer clips become several entries with the same `row`. It
            cannot be used together with `max_duration`.
        targets: of a model with several targets: packed targets of all rows of the dataset, (rows,
            columns), see `ser_hf.training.targets`. They become `shares`.
    """
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    entries = []
    for row, samples in zip(rows, store.lengths[rows].tolist(), strict=True):
        for start, length in window_bounds(samples, window or samples or 1):
            entries.append((row, start, length))
    entries.sort(key=lambda entry: entry[2])

    rows, starts, lengths = np.asarray(entries, dtype=np.int64).reshape(-1, 3).T
    columns = {
        "row": rows,
        "labels": np.asarray(dataset["label"][:])[rows],
        "start": starts,
        "length": np.minimum(lengths, limit) if limit else lengths,
        "max_samples": np.full(len(rows), limit),
    }
    ratings = targets_of(dataset, rows)
    positives = positives_of(dataset, rows)
    if targets is not None:
        columns["shares"] = targets[rows].tolist()
    elif ratings is not None:
        columns["shares"] = ratings.tolist()
    elif positives is not None:
        columns["shares"] = positives.astype(float).tolist()
    elif soft_labels:
        columns["shares"] = votes_of(dataset, rows)
    # The fingerprint is random: computing one from the content takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def votes_of(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    """The votes of the raters of each clip, one share per class.

    Raises:
        UserError: if a clip has no votes.
    """
    if "votes" in dataset.column_names:
        votes = dataset["votes"][:]
    else:
        votes = [None] * len(dataset)
    without = [int(row) for row in rows if votes[row] is None]
    if without:
        raise UserError(
            f"training.loss.soft_labels: {dataset['id'][without[0]]} has no votes, which every "
            "clip needs (CREMA-D: corpus.target and corpus.soft: true)"
        )
    return [votes[row] for row in rows]


def window_notes(
    name: str,
    clips: Dataset,
    sampling_rate: int,
    window: int | None,
    longest: int | None = None,
    shortest: int = 0,
) -> list[str]:
    """Sentences for the report: how many clips of a split are evaluated in windows or padded.

    Args:
        name: name of the split.
        clips: from `clip_table`.
        window: number of samples of a window.
        longest, shortest: numbers of samples of the longest and of the shortest clip that the model
            can process.
    """
    windows_of_row = np.unique(np.asarray(clips["row"][:]), return_counts=True)[1]
    count = len(windows_of_row)
    sentences = []
    divided = int((windows_of_row > 1).sum())
    if divided:
        if window == longest:
            reason = "that the model can take"
            pipeline = "cuts them off there"
        else:
            reason = "of evaluation.window"
            pipeline = "processes them whole"
        sentences.append(
            f"{divided} of {count} {name} clips are longer than the "
            f"{window / sampling_rate:.2f} s {reason}: evaluated in windows of at most that, "
            f"predictions averaged by duration; pipeline {pipeline}"
        )
    padded = int((np.asarray(clips["length"][:]) < shortest).sum())
    if padded:
        sentences.append(
            f"{padded} of {count} {name} clips are shorter than the "
            f"{1000 * shortest / sampling_rate:.0f} ms that the model needs: silence is added"
        )
    return sentences

"""Tables of the clips of a split, and notes on how they are evaluated."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

from ..audio import WaveformStore
from ..corpora.targets import targets_of
from ..loading.batches import pieces
from ..utils.errors import UserError


def clip_table(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
) -> Dataset:
    """The clips of one split for the Trainer: `row`, `labels`, `start`, `length` and `max_samples`,
    sorted by length.

    A column `shares` holds the targets of dimensions, or with `soft_labels` the votes, one value
    per class, which are used as labels in place of `labels`. Example: `clips =
    ser_hf.clip_table(dataset, split.rows["train"], store, max_duration=3.0)`

    Args:
        max_duration: seconds; longer clips are cropped at random in each epoch (`max_samples`; 0
            for whole clips).
        window: samples; longer clips become several entries of one `row`. Not together with
            `max_duration`.
    """
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    rows, lengths = np.asarray(rows, dtype=np.int64), store.lengths[rows]
    entries = [
        (row, start, length)
        for row, whole in zip(rows.tolist(), lengths.tolist(), strict=True)
        for start, length in pieces(whole, window or whole or 1)
    ]
    entries.sort(key=lambda entry: entry[2])
    rows, starts, lengths = np.asarray(entries, dtype=np.int64).reshape(-1, 3).T
    columns = {
        "row": rows,
        "labels": np.asarray(dataset["label"][:])[rows],
        "start": starts,
        "length": np.minimum(lengths, limit) if limit else lengths,
        "max_samples": np.full(len(rows), limit),
    }
    targets = targets_of(dataset, rows)
    if targets is not None or soft_labels:
        columns["shares"] = _votes(dataset, rows) if targets is None else targets.tolist()
    # A random fingerprint, since computing one from the content takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    without = [int(row) for row in rows if votes[row] is None]
    if without:
        raise UserError(
            f"training.loss.soft_labels: {dataset['id'][without[0]]} has no votes, which every clip needs "
            "(CREMA-D: corpus.target and corpus.soft: true)"
        )
    return [votes[row] for row in rows]


def window_notes(
    name: str,
    part: Dataset,
    sampling_rate: int,
    window: int | None,
    longest: int | None = None,
    shortest: int = 0,
) -> list[str]:
    """Describe how many clips of a split are evaluated in windows or padded, for the report;
    lengths in samples.
    """
    rows = np.asarray(part["row"][:])
    clips, counts = np.unique(rows, return_counts=True)
    sentences = []
    if cut := int((counts > 1).sum()):
        limit = window == longest
        why = "that the model can take" if limit else "of evaluation.window"
        sentences.append(
            f"{cut} of {len(clips)} {name} clips are longer than the {window / sampling_rate:.2f} s {why}: evaluated "
            "in windows of at most that, predictions averaged by duration; "
            f"pipeline {'cuts them off there' if limit else 'processes them whole'}"
        )
    if padded := int((np.asarray(part["length"][:]) < shortest).sum()):
        sentences.append(
            f"{padded} of {len(clips)} {name} clips are shorter than the {1000 * shortest / sampling_rate:.0f} ms "
            "that the model needs: silence is added"
        )
    return sentences

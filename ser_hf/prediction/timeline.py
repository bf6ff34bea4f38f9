"""Emotion over time: the mean of overlapping windows, and stretches with the same answer."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax

from .tables import matrix, of_lists, probabilities, read_facts


class Segment(NamedTuple):
    """A stretch of a recording with one answer: from `start` to `end`, in seconds of its file, and the mean
    probability of the label."""

    id: str
    start: float
    end: float
    predicted: str
    probability: float


def smooth(table: pa.Table) -> pa.Table:
    """Rows that do not overlap: for each stretch between bounds of windows, the mean of the windows that hear it.

    Probabilities and embeddings are means, logits those of the mean probabilities; that is how windows of speaker
    diarisation are put together too (Bredin et al., pyannote.audio, ICASSP 2020). Where one window alone hears a
    stretch, its answer stays, so that a smooth table stays as it is.

    Args:
        table: of windows of whole recordings, as `ser_hf.prediction.tables.table` makes it.
    """
    facts = read_facts(table.schema)
    starts, ends, indices, offsets, bounds = table["start"].to_numpy(), table["end"].to_numpy(), [], [], []
    for begin, end in _recordings(table):
        own = np.unique(np.concatenate([starts[begin:end], ends[begin:end]]))
        first = begin + np.searchsorted(ends[begin:end], own[:-1], side="right")
        last = begin + np.searchsorted(starts[begin:end], own[:-1], side="right")
        bounds += zip(own[:-1], own[1:], strict=True)
        for one, beyond in zip(first, last, strict=True):
            offsets.append(len(indices))
            indices += range(one, beyond)
    counts = np.diff([*offsets, len(indices)])[:, None]

    def mean_of_logs(values: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduceat(values[indices], offsets, axis=0) - np.log(counts)

    windows = matrix(table, "logits")
    exact = windows.astype(np.float64)
    if facts["multi_label"]:  # each label against its absence
        logits = mean_of_logs(-np.logaddexp(0, -exact)) - mean_of_logs(-np.logaddexp(0, exact))
    else:
        logits = mean_of_logs(log_softmax(exact, axis=1))
    heard_once = counts[:, 0] == 1
    rows = np.asarray(indices)[offsets]
    logits = np.where(heard_once[:, None], windows[rows], logits).astype(np.float32)
    columns = {name: table[name].combine_chunks().take(pa.array(rows)) for name in table.column_names}
    columns |= {
        "window": pa.nulls(len(rows), pa.int32()),
        "start": pa.array([start for start, _ in bounds], pa.float64()),
        "end": pa.array([end for _, end in bounds], pa.float64()),
        "predicted": pa.array([facts["labels"][i] for i in logits.argmax(axis=1)], pa.string()),
        "probabilities": of_lists(probabilities(logits, facts["multi_label"])),
        "logits": of_lists(logits),
    }
    if "embedding" in columns:
        columns["embedding"] = of_lists(np.add.reduceat(matrix(table, "embedding")[indices], offsets) / counts)
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def segments(table: pa.Table) -> Iterator[Segment]:
    """What the smoothed windows of whole recordings answer, stretches with the same answer as one."""
    table = smooth(table)
    best = matrix(table, "probabilities").max(axis=1)
    starts, ends, predicted = (table[name].to_pylist() for name in ("start", "end", "predicted"))
    seconds = np.subtract(ends, starts)
    for begin, end in _recordings(table):
        changes = [i for i in range(begin + 1, end) if predicted[i] != predicted[i - 1]]
        for first, beyond in zip([begin, *changes], [*changes, end], strict=True):
            probability = np.average(best[first:beyond], weights=seconds[first:beyond])
            name = table["id"][first].as_py()
            yield Segment(name, starts[first], ends[beyond - 1], predicted[first], float(probability))


def whole_recordings(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables that never end within a recording."""
    held: list[pa.Table] = []
    for table in tables:
        complete, rest = split_unfinished(pa.concat_tables([*held, table]))
        if len(complete):
            yield complete
        held = [rest]


def split_unfinished(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The recordings whose last window is there, and the windows of one whose last is yet to come."""
    window, windows = table["window"][-1].as_py(), table["windows"][-1].as_py()
    unfinished = 0 if window is None or window == windows - 1 else window + 1
    return table.slice(0, len(table) - unfinished), table.slice(len(table) - unfinished)


def _recordings(table: pa.Table) -> list[tuple[int, int]]:
    """(begin, end) of the rows of each recording."""
    ids = table["id"].to_pylist()
    begins = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    return list(zip(begins, [*begins[1:], len(ids)], strict=True))

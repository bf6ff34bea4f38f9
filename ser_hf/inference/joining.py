"""Smooths the predictions of segments over time, joins equal neighbors, and sums up their time."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ..utils.errors import UserError
from .outputs import TableMetadata, matrix, of_lists, predicted_columns, with_metadata

# Neighbors with a longer pause between them, in seconds, are not joined.
JOINED_PAUSE = 2.0


@dataclasses.dataclass(frozen=True)
class Lane:
    """The rows of one speaker in one recording, in the order of time.

    Attributes:
        path: the recording.
        speaker: None if unknown.
        rows: row numbers in the table.
    """

    path: str
    speaker: str | None
    rows: list[int]


def lanes(table: pa.Table) -> Iterator[Lane]:
    """Divide the rows of a table by recording and speaker."""
    paths = table["path"].to_pylist()
    speakers = table["speaker"].to_pylist()
    starts = table["start"].to_pylist()
    rows_of_lane: dict[tuple[str, str | None], list[int]] = {}
    for row, lane in enumerate(zip(paths, speakers, strict=True)):
        rows_of_lane.setdefault(lane, []).append(row)
    for (path, speaker), rows in rows_of_lane.items():
        yield Lane(path, speaker, sorted(rows, key=lambda row: starts[row]))


def over_time(
    table: pa.Table, metadata: TableMetadata, *, smooth: int | None = None, join: bool = False
) -> pa.Table:
    """Smooth the predictions of a table if `smooth` is a number, and join them if `join`."""
    if smooth is not None:
        table = smoothed(table, metadata, smooth)
    return joined(table, metadata) if join else table


def smoothed(table: pa.Table, metadata: TableMetadata, width: int) -> pa.Table:
    """Replace each prediction by the median of `width` segments of the same speaker around it.

    At the beginning and the end of a recording the median is of fewer segments. Probabilities are
    scaled to the sum 1 again.

    Raises:
        UserError: if the width is not an odd number.
    """
    if width < 1 or width % 2 == 0:
        raise UserError(f"--smooth: expected an odd number of segments such as 3, got {width}")
    values = matrix(table, metadata.predicted_column).copy()
    half = width // 2
    for lane in lanes(table):
        in_time = values[lane.rows]
        for position, row in enumerate(lane.rows):
            window = in_time[max(0, position - half) : position + half + 1]
            values[row] = np.median(window, axis=0)
    if metadata.problem_type is None:
        values /= values.sum(axis=1, keepdims=True)
    return _with_predictions(table, metadata, values)


def joined(table: pa.Table, metadata: TableMetadata, pause: float = JOINED_PAUSE) -> pa.Table:
    """Join neighbors of the same speaker with the same predicted label.

    The probabilities of the result are means, weighted by the seconds of the parts; its logits too.

    Args:
        pause: the longest pause between neighbors, in seconds.

    Raises:
        UserError: if the model predicts dimensions.
    """
    if metadata.ranges:
        raise UserError("--join: the model predicts dimensions, and only labels can be equal")
    predicted = table["predicted"].to_pylist()
    starts = np.array(table["start"].to_pylist())
    ends = np.array(table["end"].to_pylist())
    groups = []
    for lane in lanes(table):
        group: list[int] = []
        for row in lane.rows:
            if group:
                same_label = predicted[row] == predicted[group[-1]]
                if not same_label or starts[row] - ends[group].max() > pause:
                    groups.append(group)
                    group = []
            group.append(row)
        groups.append(group)
    order = {path: i for i, path in enumerate(dict.fromkeys(table["path"].to_pylist()))}
    paths = table["path"].to_pylist()
    groups.sort(key=lambda group: (order[paths[group[0]]], starts[group[0]]))

    merged = table.take([group[0] for group in groups])
    columns = {name: merged[name] for name in merged.column_names if name != "embedding"}
    columns["end"] = pa.array([float(ends[group].max()) for group in groups], pa.float64())
    counts = table["windows"].to_pylist()
    columns["windows"] = pa.array(
        [sum(counts[row] for row in group) for group in groups], pa.int32()
    )
    for name in metadata.number_columns:
        values = matrix(table, name)
        means = [
            np.average(values[group], axis=0, weights=ends[group] - starts[group])
            for group in groups
        ]
        columns[name] = of_lists(np.array(means))
    return with_metadata(pa.table(columns), metadata)


def _with_predictions(table: pa.Table, metadata: TableMetadata, values: np.ndarray) -> pa.Table:
    """The table with other probabilities or values, and the labels that follow from them."""
    columns = {name: table[name] for name in table.column_names}
    columns[metadata.predicted_column] = of_lists(values)
    if not metadata.ranges:
        columns |= predicted_columns(values, metadata)
    return with_metadata(pa.table(columns), metadata)


def seconds_by_speaker(table: pa.Table) -> dict[str | None, dict[str, float]]:
    """The seconds of each predicted label, by speaker."""
    seconds: dict[str | None, dict[str, float]] = {}
    columns = (table[name].to_pylist() for name in ("speaker", "predicted", "start", "end"))
    for speaker, label, start, end in zip(*columns, strict=True):
        of_speaker = seconds.setdefault(speaker, {})
        of_speaker[label] = of_speaker.get(label, 0.0) + end - start
    return seconds

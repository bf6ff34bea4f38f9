"""What a picture of predictions over time shows: the waveform, turns and probabilities."""

import dataclasses

import numpy as np
import pyarrow as pa

from ..audio.envelope import Envelope, envelope
from ..utils.errors import UserError
from .joining import lanes
from .outputs import TableMetadata, matrix


@dataclasses.dataclass(frozen=True)
class Lane:
    """The segments of one speaker.

    Attributes:
        speaker: None if unknown.
        starts, ends: in seconds, (segments,).
        labels: the predicted label of each segment; empty for a model of dimensions.
        probabilities: of each label, or values of each dimension, (segments, labels).
    """

    speaker: str | None
    starts: np.ndarray
    ends: np.ndarray
    labels: list[str]
    probabilities: np.ndarray


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Predictions for one recording over time.

    Attributes:
        names: the labels, or the dimensions.
        ranges: the lowest and highest rating of each dimension; empty for labels.
    """

    title: str
    envelope: Envelope
    lanes: list[Lane]
    names: list[str]
    ranges: dict[str, list[float]]


def timeline_of(table: pa.Table, metadata: TableMetadata) -> Timeline:
    """The timeline of a table of predictions for one recording.

    Raises:
        UserError: if there are several recordings.
    """
    paths = list(dict.fromkeys(table["path"].to_pylist()))
    if len(paths) > 1:
        raise UserError(
            f"--picture: shows one recording, and there are {len(paths)}; predict one at a time"
        )
    starts = np.array(table["start"].to_pylist())
    ends = np.array(table["end"].to_pylist())
    values = matrix(table, metadata.predicted_column)
    predicted = None if metadata.ranges else table["predicted"].to_pylist()
    drawn = []
    for lane in lanes(table):
        labels = [] if predicted is None else [predicted[row] for row in lane.rows]
        drawn.append(
            Lane(lane.speaker, starts[lane.rows], ends[lane.rows], labels, values[lane.rows])
        )
    return Timeline(paths[0], envelope(paths[0]), drawn, metadata.labels, metadata.ranges)

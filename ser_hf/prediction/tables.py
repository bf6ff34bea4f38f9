"""Rows of what was heard, one a clip or one a window, and what their file says of where they come from."""

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .. import __version__
from ..evaluation.report import softmax
from .expert import Expert
from .hearing import Heard
from .reading import Chunk

METADATA = b"ser_hf"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a table says of itself, as JSON under the key ``ser_hf`` of its schema.

    Args:
        model: as the user named it; `revision`: the commit on the Hub, or ``sha256:...`` of a folder's weights.
        sampling_rate: Hz that the model hears.
        labels: the names of the entries of probabilities and logits.
        window: seconds beyond which clips were heard in pieces, None if they never are.
        hop: seconds from one window to the next, where they overlap; None where they follow each other.
        multi_label: each label has a probability of its own, which do not add up to one.
        layer: the hidden state that embeddings are the mean of; None is what the classifier's last layer is given.
        embedding: what that is, in words; None without embeddings.
        version: of ser_hf.
    """

    model: str
    revision: str | None
    sampling_rate: int
    labels: list[str]
    window: float | None
    hop: float | None
    multi_label: bool
    layer: int | None
    embedding: str | None
    version: str = __version__

    def to_metadata(self) -> dict[bytes, bytes]:
        return {METADATA: json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode()}


def read_facts(schema: pa.Schema) -> dict[str, Any]:
    """The facts in the schema of a table that was written here: ``read_facts(pyarrow.parquet.read_schema(path))``."""
    return json.loads(schema.metadata[METADATA])


def table(chunk: Chunk, heard: Heard, expert: Expert, by_window: bool, facts: Facts) -> pa.Table:
    """The rows of a chunk.

    Columns: `id`, `path`, `speaker` and `label` (null where unknown); `window`, its number from 0 (null where a row is
    several windows in one), and `windows`, how many the clip was heard in; `start` and `end`, seconds of the file
    (where silence is trimmed off or added to clips, counted on from where each begins); `predicted`; `probabilities`
    and `logits`, float32 (labels,) each; `embedding`, float32 (size,), where there are any. Lists are of one fixed
    size, so that they read as matrices.
    """
    counts = np.bincount(heard.rows, minlength=len(chunk))
    rows = heard if by_window else heard.by_clip(expert.multi_label)
    own = [chunk.recordings[row] for row in rows.rows]
    windows = counts[rows.rows]
    if by_window:
        # Windows of a clip follow each other.
        numbers = np.arange(len(rows.rows)) - (np.cumsum(counts) - counts)[rows.rows]
    else:
        numbers = np.where(windows == 1, 0, -1)
    begins = np.array([recording.start for recording in own])  # of what was asked about, in its file
    starts = begins + rows.starts / chunk.sampling_rate
    ends = begins + (rows.starts + rows.lengths) / chunk.sampling_rate
    if chunk.places is not None:  # each entry of the chunk is a window
        numbers, windows, starts, ends = (np.array(values) for values in zip(*chunk.places, strict=True))
    shares = probabilities(rows.logits, expert.multi_label)
    columns = {
        "id": pa.array([recording.id for recording in own], pa.string()),
        "path": pa.array([recording.path for recording in own], pa.string()),
        "speaker": pa.array([recording.speaker for recording in own], pa.string()),
        "label": pa.array([recording.label for recording in own], pa.string()),
        "window": pa.array(numbers, pa.int32(), mask=numbers < 0),
        "windows": pa.array(windows, pa.int32()),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(ends, pa.float64()),
        "predicted": pa.array([facts.labels[i] for i in rows.logits.argmax(axis=1)], pa.string()),
        "probabilities": of_lists(shares),
        "logits": of_lists(rows.logits),
    }
    if rows.vectors is not None:
        columns["embedding"] = of_lists(rows.vectors)
    return pa.table(columns).replace_schema_metadata(facts.to_metadata())


def probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """(rows, labels) of logits, as `pipeline` makes them: their softmax, or of models that give several labels at once
    each one's sigmoid."""
    return torch.from_numpy(logits).sigmoid().numpy() if multi_label else softmax(logits)


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of lists as float32 (rows, size)."""
    lists = table[column].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1)


def of_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """(rows, size) as a column of float32 lists."""
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])

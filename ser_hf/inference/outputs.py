"""Tables of predictions, one row per clip or window."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ..evaluation.label_sets import set_text
from ..evaluation.probabilities import activated
from ..evaluation.rating_scale import outside_scale
from ..utils.environment import __version__
from .batches import ModelOutputs, bounded_ratings
from .chunks import Chunk
from .decisions import UNKNOWN, Decision

METADATA = b"ser_hf"  # the key of the schema's metadata
COLUMNS = (
    "id",
    "path",
    "speaker",
    "label",
    "original_label",
    "window",
    "windows",
    "start",
    "end",
    "predicted",
)
_OF_RECORDING = ("id", "path", "speaker")
VALUES = "values"  # the column of dimensions, on the scale of the ratings


@dataclasses.dataclass(frozen=True)
class TableMetadata:
    """The metadata of a table; the table's schema holds them as JSON under the key ``ser_hf``.

    Args:
        model: the name of the model, as the user wrote it.
        revision: the commit on the Hub, or ``sha256:...`` of a folder's weights.
        labels: the names of the entries of probabilities and logits.
        window: seconds beyond which clips are split into windows, None if they never are.
        hop: seconds from one window to the next if windows overlap, otherwise None.
        problem_type: the kind of the outputs: null for classes, ``multi_label_classification`` for
            labels with separate probabilities, which do not add up to one, ``regression`` for
            dimensions.
        label_threshold: the probability above which a label is predicted, for labels with separate
            probabilities; otherwise None.
        ranges: for each dimension, the ratings that the values 0 and 1 stand for; empty for
            classes.
        bounded: whether the values of dimensions are clamped to these ratings.
        rating_ranges: the same for dimensions that the model predicts beside its labels.
        embedding: a description of the embeddings in words; None if there are no embeddings.
        threshold: the least probability of a prediction; below it the prediction is ``unknown``.
            None if every clip gets a label.
        adapt: how clips are grouped for an adaptation to each group; None without adaptation.
        segments: how recordings were divided: ``windows``, ``speech`` or a file of turns; None if
            they were not.
    """

    model: str
    revision: str | None
    sampling_rate: int
    labels: list[str]
    window: float | None
    hop: float | None
    problem_type: str | None
    ranges: dict[str, list[float]]
    embedding: str | None
    threshold: float | None = None
    adapt: str | None = None
    segments: str | None = None
    bounded: bool = False
    label_threshold: float | None = None
    rating_ranges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    version: str = __version__

    @property
    def predicted_column(self) -> str:
        """The name of the column with the predictions."""
        return VALUES if self.ranges else "probabilities"

    @property
    def number_columns(self) -> dict[str, list[str]]:
        """{column of lists: the names of its numbers}, without embeddings."""
        names = {self.predicted_column: self.labels, "logits": self.labels}
        if self.rating_ranges:
            names[VALUES] = list(self.rating_ranges)
        return names

    @property
    def columns(self) -> list[str]:
        """The names of the columns that every format has: names, labels, windows and times."""
        names = [name for name in COLUMNS if name != "predicted" or not self.ranges]
        if self.threshold is not None:
            names.append("most_probable")
        if self.adapt is not None:
            names.append("adapted")
        return names

    def to_json(self) -> str:
        """Return one JSON object with all fields."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def table(
    chunk: Chunk, outputs: ModelOutputs, metadata: TableMetadata, decision: Decision
) -> pa.Table:
    """Return the predictions for a chunk as a table.

    Its columns are:

    - `id`, `path` and `speaker` (null if unknown);
    - `label` in the words of the model, and `original_label` as the input has it (both are null if
      unknown);
    - `window`, the number of the window from 0 (null if a row is the mean of several windows), and
      `windows`, the number of windows of the clip;
    - `start` and `end`, seconds in the file (if silence was trimmed off or added: seconds from the
      beginning of the prepared clip). A segment has its own times;
    - `predicted`; `probabilities` and `logits`, float32 (labels,) each. If a clip may have several
      labels, `predicted` has those above the threshold, such as ``angry+sad``, or ``none``. For a
      model of dimensions, `values` on the scale of the ratings replace `predicted` and
      `probabilities`; a model of both labels and dimensions has all of them;
    - with a threshold, `most_probable`, the most probable label; `predicted` is the same, or
      ``unknown``;
    - with adaptation, `adapted`, whether the group of the clip is large enough for it;
    - `embedding`, float32 (size,), if requested.

    Lists have a fixed size, so that a column of lists can be read as a matrix.
    """
    clips = outputs.by_clip(metadata.problem_type)
    recordings = [chunk.recordings[row] for row in clips.rows]
    columns = {}
    for name in _OF_RECORDING:
        texts = [getattr(recording, name) for recording in recordings]
        columns[name] = pa.array(texts, pa.string())
    original = [recording.label for recording in recordings]
    columns["label"] = pa.array(labels_of_model(original, metadata.labels), pa.string())
    columns["original_label"] = pa.array(original, pa.string())
    if chunk.positions is None:
        columns |= _columns_of_clips(chunk, outputs, clips)
    else:
        columns |= _columns_of_positions(chunk)

    columns |= prediction_columns(clips.logits, metadata, decision)
    if clips.ratings is not None:
        bounded = bounded_ratings(clips.ratings)
        columns[VALUES] = of_lists(on_scale(bounded, metadata.rating_ranges))
    if clips.vectors is not None:
        columns["embedding"] = of_lists(clips.vectors)
    return with_metadata(pa.table(columns), metadata)


def labels_of_model(
    original: Sequence[str | None], model_labels: Sequence[str]
) -> list[str | None]:
    """Labels of a table in the words of a model, so that they can be compared with predictions.

    A word for an emotion becomes the model's word for it, or else the canonical one. Other words
    stay as they are.
    """
    # Only tables with labels need the words of corpora; most predictions are of plain recordings.
    from ..corpora.row_labels import LabelReader
    from ..corpora.schema import EMOTIONS

    reader = LabelReader({}, EMOTIONS)
    word_of_emotion = {}
    for word in model_labels:
        word_of_emotion.setdefault(reader.emotion(word), word)
    labels = []
    for label in original:
        emotion = reader.emotion(label)
        if emotion is None or label in model_labels:
            labels.append(label)
        else:
            labels.append(word_of_emotion.get(emotion, emotion))
    return labels


def with_metadata(predictions: pa.Table, metadata: TableMetadata) -> pa.Table:
    """Return a table whose schema holds the metadata."""
    return predictions.replace_schema_metadata({METADATA: metadata.to_json()})


def prediction_columns(
    logits: np.ndarray, metadata: TableMetadata, decision: Decision
) -> dict[str, pa.Array]:
    """Return the columns of predictions.

    Args:
        logits: the logits of all labels of the model, float32 (clips, labels).
    """
    logits = decision.logits(logits)
    predicted = activated(logits, metadata.problem_type, bounded=metadata.bounded)
    columns: dict[str, pa.Array] = {}
    if metadata.ranges:
        ranges = {name: metadata.ranges[name] for name in metadata.labels}
        predicted = on_scale(predicted, ranges)
    else:
        columns = predicted_columns(predicted, metadata)
    columns[metadata.predicted_column] = of_lists(predicted)
    columns["logits"] = of_lists(logits)
    return columns


def on_scale(values: np.ndarray, ranges: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Convert values from 0 to 1, (clips, dimensions), to the scale of the ratings."""
    low, high = np.transpose(list(ranges.values()))
    return low + values * (high - low)


def predicted_columns(probabilities: np.ndarray, metadata: TableMetadata) -> dict[str, pa.Array]:
    """Return the column `predicted`, and with a threshold `most_probable`.

    Args:
        probabilities: float32 (clips, labels).
    """
    if metadata.label_threshold is None:
        names = [metadata.labels[i] for i in probabilities.argmax(axis=1)]
    else:
        decided = probabilities > metadata.label_threshold
        names = [set_text(metadata.labels, chosen) for chosen in decided]
    columns = {"predicted": pa.array(names, pa.string())}
    if metadata.threshold is not None:
        columns["most_probable"] = columns["predicted"]
        for i in np.flatnonzero(probabilities.max(axis=1) < metadata.threshold):
            names[i] = UNKNOWN
        columns["predicted"] = pa.array(names, pa.string())
    return columns


def _columns_of_clips(
    chunk: Chunk, outputs: ModelOutputs, clips: ModelOutputs
) -> dict[str, pa.Array]:
    """Return the columns of windows and times, if a row is a whole clip."""
    windows = np.bincount(outputs.rows, minlength=len(chunk))[clips.rows]
    numbers = np.zeros(len(windows), dtype=np.int32)
    starts = clips.starts / chunk.sampling_rate
    ends = (clips.starts + clips.lengths) / chunk.sampling_rate
    for i, row in enumerate(clips.rows):
        segment = chunk.recordings[row].segment
        if segment is not None:
            ends[i] = segment.start + ends[i] if segment.end is None else segment.end
            starts[i] = segment.start
    return {
        "window": pa.array(numbers, pa.int32(), mask=windows > 1),
        "windows": pa.array(windows, pa.int32()),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(ends, pa.float64()),
    }


def _columns_of_positions(chunk: Chunk) -> dict[str, pa.Array]:
    """Return the columns of windows and times, if a row is one window of a recording."""
    positions = chunk.positions
    offsets = []
    for recording in chunk.recordings:
        offsets.append(0.0 if recording.segment is None else recording.segment.start)
    starts = [position.start + offset for position, offset in zip(positions, offsets, strict=True)]
    ends = [position.end + offset for position, offset in zip(positions, offsets, strict=True)]
    return {
        "window": pa.array([position.number for position in positions], pa.int32()),
        "windows": pa.array([position.windows for position in positions], pa.int32()),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(ends, pa.float64()),
    }


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """Convert a column of lists to an array, float32 (rows, size)."""
    lists = table[column].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1)


def clamped_rows(table: pa.Table, metadata: TableMetadata) -> int:
    """The number of rows with a value that was outside of the scale of the ratings."""
    if not metadata.bounded:
        return 0
    return int(outside_scale(matrix(table, "logits")).any(axis=1).sum())


def of_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """Convert an array (rows, size) to a column of float32 lists."""
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])

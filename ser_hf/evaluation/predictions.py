"""The table of predictions: clips, their columns of the corpus, and predictions for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..corpora.schema import EMOTIONS
from ..corpora.targets import names_of, targets_of
from .groups import grouped_columns
from .metrics import outputs_of
from .outputs import Outputs
from .ratings import Ratings
from .tasks import Task, task_of

# The columns of a corpus that predictions keep; a clip without a value has None.
CLIP_COLUMNS = tuple(grouped_columns())
# Columns of a second label, in a corpus with both the intended and the perceived emotion.
OTHER_LABELS = ("intended", "perceived")
# The times of segments in their recordings, if the corpus has segments.
TIMES = ("start", "end")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Clips of one split and the predictions for them.

    Args:
        names: names of the classes or of the dimensions.
        labels: class ids, (clips,), or targets, (clips, dimensions).
        probabilities: probabilities, (runs, clips, classes), or predicted values, (runs, clips,
            dimensions), float32. Runs are seeds on the same clips.
        columns: {column: values}, with a value or None for each clip. They are `CLIP_COLUMNS`, and
            `OTHER_LABELS` and `TIMES` if the corpus has them.
        votes: shares of the raters' votes, (clips, classes), nan for clips that nobody rated.
    """

    names: list[str]
    ids: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    columns: Mapping[str, list[Any]]
    votes: np.ndarray | None = None
    paths: list[str | None] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class ids, (runs, clips)."""
        return self.probabilities.argmax(axis=2)

    @property
    def task(self) -> Task:
        return task_of(self.labels)

    @property
    def outputs(self) -> list[Outputs] | list[Ratings]:
        return [outputs_of(self.labels, run, self.votes) for run in self.probabilities]

    @property
    def speakers(self) -> list[str]:
        return self.columns["speaker"]

    def only(self, chosen: np.ndarray) -> "Predictions":
        """Select clips by their positions (int) or by a mask (clips,) bool."""
        places = np.arange(len(self))[chosen]
        return dataclasses.replace(
            self,
            ids=[self.ids[i] for i in places],
            labels=self.labels[places],
            probabilities=self.probabilities[:, places],
            columns={name: [values[i] for i in places] for name, values in self.columns.items()},
            votes=None if self.votes is None else self.votes[places],
            paths=[self.paths[i] for i in places] if self.paths else [],
        )


def of_rows(dataset: Dataset, rows: Sequence[int], probabilities: np.ndarray) -> Predictions:
    """Combine rows of a corpus with probabilities in the same order.

    Args:
        probabilities: (clips, classes) or (runs, clips, classes).
    """
    names = names_of(dataset)
    wanted = {"id", "label", "targets", "votes", "audio", *CLIP_COLUMNS, *OTHER_LABELS, *TIMES}
    # All columns at once: `datasets` copies a table's description for each column read by name.
    kept = [name for name in dataset.column_names if name in wanted]
    cells = dataset.select_columns(kept)[list(rows)]
    columns = {name: cells.get(name, [None] * len(rows)) for name in CLIP_COLUMNS}
    if any(start is not None for start in cells.get("start", [])):
        columns |= {name: cells[name] for name in TIMES}

    labels = targets_of(dataset, rows)
    votes = None
    if labels is None:
        labels = np.asarray(cells["label"])
        columns |= _other_labels(cells)
        votes = _votes(cells, len(names))
    return Predictions(
        names=names,
        ids=cells["id"],
        labels=labels,
        probabilities=probabilities.reshape(-1, *probabilities.shape[-2:]),
        columns=columns,
        votes=votes,
        paths=[audio["path"] for audio in cells.get("audio", [])],
    )


def _other_labels(cells: Mapping[str, list[Any]]) -> dict[str, list[str | None]]:
    """The columns of `OTHER_LABELS`, if their values are emotions.

    A user's table may have columns of these names with other content.
    """
    emotions = {None, *EMOTIONS}
    return {
        name: cells[name] for name in OTHER_LABELS if name in cells and {*cells[name]} <= emotions
    }


def _votes(cells: Mapping[str, list[Any]], classes: int) -> np.ndarray | None:
    """Shares of the raters' votes, (clips, classes); None if there is no column of votes.

    The shares are nan for clips that nobody rated.
    """
    if "votes" not in cells:
        return None
    nothing = [np.nan] * classes
    return np.asarray(
        [nothing if shares is None else shares for shares in cells["votes"]], np.float32
    )


def to_table(part: str, predictions: Predictions) -> pa.Table:
    """Convert the predictions of one run to a table, with one row per clip.

    Columns are id, part, `CLIP_COLUMNS`, `TIMES` of segments, path, label, predicted, the
    probability of each class (`p_LABEL`) and, with votes, their shares (`vote_LABEL`). For
    dimensions, the columns label and predicted are replaced by the target (`true_NAME`) of each
    dimension, and its predicted value is `p_NAME`, both from 0 to 1.
    """
    (probabilities,) = predictions.probabilities
    names = predictions.names
    columns = {
        "id": pa.array(predictions.ids, pa.string()),
        "part": pa.array([part] * len(predictions), pa.string()),
    }
    for name, values in _text_or_numbers(predictions).items():
        columns[name] = values
    columns["path"] = pa.array(predictions.paths or [None] * len(predictions), pa.string())
    if predictions.labels.ndim == 2:
        for i, name in enumerate(names):
            columns[f"true_{name}"] = pa.array(predictions.labels[:, i])
    else:
        labels = [names[label] for label in predictions.labels]
        predicted = [names[label] for label in probabilities.argmax(axis=1)]
        columns["label"] = pa.array(labels, pa.string())
        columns["predicted"] = pa.array(predicted, pa.string())
    for i, name in enumerate(names):
        columns[f"p_{name}"] = pa.array(probabilities[:, i])
    if predictions.votes is not None:
        for i, name in enumerate(names):
            columns[f"vote_{name}"] = pa.array(predictions.votes[:, i], from_pandas=True)
    return pa.table(columns)


def _text_or_numbers(predictions: Predictions) -> dict[str, pa.Array]:
    """The columns of the corpus, as float64 or as text."""
    columns = {}
    has_numbers = grouped_columns() | dict.fromkeys(TIMES, True)
    for name in (*CLIP_COLUMNS, *OTHER_LABELS, *TIMES):
        if name not in predictions.columns:
            continue
        values = predictions.columns[name]
        if has_numbers.get(name):
            columns[name] = pa.array(values, pa.float64())
        else:
            texts = [None if value is None else str(value) for value in values]
            columns[name] = pa.array(texts, pa.string())
    return columns


def from_table(table: pa.Table, part: str, names: Sequence[str]) -> Predictions:
    """Read predictions from a table of `to_table`.

    A table with a column `seed` has several runs, on the same clips.

    Raises:
        ValueError: if the seeds predicted different clips.
    """
    table = table.filter(pa.compute.equal(table["part"], part))
    runs = _rows_of_runs(table)
    columns = [table[f"p_{name}"].to_numpy() for name in names]
    probabilities = np.stack(columns, axis=1).astype(np.float32)
    clips = table.take(runs[0])
    votes = None
    if all(f"vote_{name}" in clips.column_names for name in names):
        votes = np.stack([clips[f"vote_{name}"].to_numpy() for name in names], axis=1)
    if "label" in clips.column_names:
        class_ids = {name: i for i, name in enumerate(names)}
        labels = np.asarray([class_ids[label] for label in clips["label"].to_pylist()])
    else:
        labels = np.stack([clips[f"true_{name}"].to_numpy() for name in names], axis=1)
    possible = (*CLIP_COLUMNS, *OTHER_LABELS, *TIMES)
    kept = [name for name in possible if name in clips.column_names]
    return Predictions(
        names=list(names),
        ids=clips["id"].to_pylist(),
        labels=labels,
        probabilities=np.stack([probabilities[rows] for rows in runs]),
        columns={name: clips[name].to_pylist() for name in kept},
        votes=votes,
        paths=clips["path"].to_pylist(),
    )


def values_of_runs(table: pa.Table, part: str, columns: Sequence[str]) -> np.ndarray:
    """The cells of columns for each prediction, as text joined by a slash, (runs, clips).

    Runs and clips are in the order of `from_table`.
    """
    table = table.filter(pa.compute.equal(table["part"], part))
    cells = [map(str, table[column].to_pylist()) for column in columns]
    texts = np.array(["/".join(row) for row in zip(*cells, strict=True)])
    return texts[np.stack(_rows_of_runs(table))]


def _rows_of_runs(table: pa.Table) -> list[np.ndarray]:
    """The row numbers of each seed, (clips,); all in the clip order of the first seed."""
    keys = [name for name in ("seed", "fold", "id") if name in table.column_names]
    rows = table.select(keys).to_pandas()
    seed_of_row = rows.pop("seed") if "seed" in rows else np.zeros(len(rows))
    runs = []
    first_clips = None
    for seed in dict.fromkeys(seed_of_row):
        row_of_clip = rows[seed_of_row == seed].reset_index().set_index(list(rows.columns))["index"]
        clips = row_of_clip.index
        if first_clips is None:
            first_clips = clips
        same = len(clips) == len(first_clips) and first_clips.isin(clips).all()
        if not same or not clips.is_unique:
            raise ValueError("the seeds are of different clips")
        runs.append(row_of_clip[first_clips].to_numpy())
    return runs

"""The table of predictions: clips, their columns of the corpus, and predictions for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..corpora.schema import EMOTIONS as CANONICAL_EMOTIONS
from ..corpora.targets import dimension_names, positives_of, targets_of
from .groups import grouped_columns
from .label_sets import DEFAULT_THRESHOLD
from .metrics import AnyOutputs, outputs_of
from .tasks import DIMENSIONS, EMOTIONS, MULTI_LABEL, Task, task_of

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
        labels: class ids, (clips,), sets of classes, bool (clips, classes), or targets, (clips,
            dimensions).
        probabilities: probabilities, (runs, clips, classes), or predicted values, (runs, clips,
            dimensions), float32. Runs are seeds on the same clips.
        columns: {column: values}, with a value or None for each clip. They are `CLIP_COLUMNS`, and
            `OTHER_LABELS` and `TIMES` if the corpus has them.
        votes: shares of the raters' votes, (clips, classes), nan for clips that nobody rated.
        thresholds: for sets of classes: the probability above which a class is predicted, (runs,
            clips). 0.5 by default.
        ratings: for a model of both classes and dimensions: the predicted ratings, for the clips
            that are rated. The other fields are about the clips with a label.
    """

    names: list[str]
    ids: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    columns: Mapping[str, list[Any]]
    votes: np.ndarray | None = None
    paths: list[str | None] = dataclasses.field(default_factory=list)
    thresholds: np.ndarray | None = None
    ratings: "Predictions | None" = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class ids, (runs, clips); for sets of classes the most probable ones."""
        return self.probabilities.argmax(axis=2)

    @property
    def task(self) -> Task:
        return task_of(self.labels)

    @property
    def outputs(self) -> list[AnyOutputs]:
        outputs = []
        for i, run in enumerate(self.probabilities):
            thresholds = None if self.thresholds is None else self.thresholds[i]
            outputs.append(outputs_of(self.labels, run, self.votes, thresholds))
        return outputs

    @property
    def all_thresholds(self) -> np.ndarray:
        """The thresholds of sets of classes, (runs, clips), also if they are the default."""
        if self.thresholds is not None:
            return self.thresholds
        return np.full(self.probabilities.shape[:2], DEFAULT_THRESHOLD)

    def with_probabilities(self, probabilities: np.ndarray) -> "Predictions":
        """The same clips with other predictions of one run, (clips, outputs)."""
        return dataclasses.replace(self, probabilities=probabilities[None])

    def with_threshold(self, threshold: float) -> "Predictions":
        """The same predictions of sets of classes, decided with this threshold."""
        return dataclasses.replace(
            self, thresholds=np.full(self.probabilities.shape[:2], threshold)
        )

    @property
    def speakers(self) -> list[str]:
        return self.columns["speaker"]

    def only(self, chosen: np.ndarray) -> "Predictions":
        """Select clips by their positions (int) or by a mask (clips,) bool, without `ratings`."""
        places = np.arange(len(self))[chosen]
        return dataclasses.replace(
            self,
            ids=[self.ids[i] for i in places],
            labels=self.labels[places],
            probabilities=self.probabilities[:, places],
            columns={name: [values[i] for i in places] for name, values in self.columns.items()},
            votes=None if self.votes is None else self.votes[places],
            paths=[self.paths[i] for i in places] if self.paths else [],
            thresholds=None if self.thresholds is None else self.thresholds[:, places],
            ratings=None,
        )


def of_rows(
    dataset: Dataset, rows: Sequence[int], probabilities: np.ndarray, task: Task | None = None
) -> Predictions:
    """Combine rows of a corpus with probabilities in the same order.

    Args:
        probabilities: (clips, classes) or (runs, clips, classes).
        task: what is predicted; None for what the columns of the corpus say.
    """
    if task is None:
        has_sets = "positives" in dataset.features
        task = MULTI_LABEL if has_sets else EMOTIONS
        if "targets" in dataset.features:
            task = DIMENSIONS
    names = dimension_names(dataset)
    if task is not DIMENSIONS:
        names = list(dataset.features["label"].names)
    wanted = {"id", "label", "targets", "votes", "audio", *CLIP_COLUMNS, *OTHER_LABELS, *TIMES}
    # All columns at once: `datasets` copies a table's description for each column read by name.
    kept = [name for name in dataset.column_names if name in wanted]
    cells = dataset.select_columns(kept)[list(rows)]
    columns = {name: cells.get(name, [None] * len(rows)) for name in CLIP_COLUMNS}
    if any(start is not None for start in cells.get("start", [])):
        columns |= {name: cells[name] for name in TIMES}

    votes = None
    if task is DIMENSIONS:
        labels = targets_of(dataset, rows)
    elif task is MULTI_LABEL:
        labels = positives_of(dataset, rows)
    else:
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
    emotions = {None, *CANONICAL_EMOTIONS}
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
    dimension, and its predicted value is `p_NAME`, both from 0 to 1. For sets of classes, they are
    replaced by a column for each class (`true_LABEL`, true or false), and by `threshold`, the
    probability above which a class is predicted. Of a model of both classes and dimensions the
    table has the columns of both; a clip without a label, or without ratings, has null in theirs.
    """
    if predictions.ratings is not None:
        return _table_of_both(part, predictions)
    (probabilities,) = predictions.probabilities
    names = predictions.names
    columns = {
        "id": pa.array(predictions.ids, pa.string()),
        "part": pa.array([part] * len(predictions), pa.string()),
    }
    for name, values in _text_or_numbers(predictions).items():
        columns[name] = values
    columns["path"] = pa.array(predictions.paths or [None] * len(predictions), pa.string())
    if predictions.task is not EMOTIONS:
        for i, name in enumerate(names):
            columns[f"true_{name}"] = pa.array(predictions.labels[:, i])
        if predictions.task is MULTI_LABEL:
            (thresholds,) = predictions.all_thresholds
            columns["threshold"] = pa.array(thresholds)
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


def _table_of_both(part: str, predictions: Predictions) -> pa.Table:
    """The table of predictions with ratings: first the clips with a label."""
    of_classes = to_table(part, dataclasses.replace(predictions, ratings=None))
    of_ratings = to_table(part, predictions.ratings)
    keys = ["id", "part"]
    columns = [name for name in of_ratings.column_names if name not in of_classes.column_names]
    joined = of_classes.join(of_ratings.select([*keys, *columns]), keys, join_type="left outer")
    labeled = pa.array(predictions.ids)
    has_label = pa.compute.is_in(of_ratings["id"], value_set=labeled)
    rest = of_ratings.filter(pa.compute.invert(has_label))
    table = pa.concat_tables([joined, rest], promote_options="default")
    # A join does not keep the order of the clips.
    position = {clip: i for i, clip in enumerate([*predictions.ids, *rest["id"].to_pylist()])}
    order = np.argsort([position[clip] for clip in table["id"].to_pylist()])
    return table.take(order).combine_chunks()


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


def from_table(
    table: pa.Table, part: str, names: Sequence[str], dimensions: Sequence[str] = ()
) -> Predictions:
    """Read predictions from a table of `to_table`.

    A table with a column `seed` has several runs, on the same clips.

    Args:
        names: the classes, or the dimensions of a model without classes.
        dimensions: the dimensions of a model of both, whose predictions become `ratings`.

    Raises:
        ValueError: if the seeds predicted different clips.
    """
    if dimensions:
        ratings = from_table(_without_null(table, f"true_{dimensions[0]}"), part, dimensions)
        classes = from_table(_without_null(table, "label"), part, names)
        return dataclasses.replace(classes, ratings=ratings)
    table = table.filter(pa.compute.equal(table["part"], part))
    runs = _rows_of_runs(table)
    columns = [table[f"p_{name}"].to_numpy() for name in names]
    probabilities = np.stack(columns, axis=1).astype(np.float32)
    clips = table.take(runs[0])
    votes = None
    if all(f"vote_{name}" in clips.column_names for name in names):
        votes = np.stack([clips[f"vote_{name}"].to_numpy() for name in names], axis=1)
    if f"true_{names[0]}" not in clips.column_names:
        class_ids = {name: i for i, name in enumerate(names)}
        labels = np.asarray([class_ids[label] for label in clips["label"].to_pylist()])
    else:
        targets = [clips[f"true_{name}"].to_numpy(zero_copy_only=False) for name in names]
        labels = np.stack(targets, axis=1)
    thresholds = None
    if "threshold" in table.column_names:
        of_predictions = table["threshold"].to_numpy()
        thresholds = np.stack([of_predictions[rows] for rows in runs])
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
        thresholds=thresholds,
    )


def _without_null(table: pa.Table, column: str) -> pa.Table:
    """The rows of a table with a value in a column."""
    return table.filter(pa.compute.is_valid(table[column]))


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

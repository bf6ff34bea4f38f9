"""The table of clips, what is known about them, and predictions for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..corpora.schema import EMOTIONS
from ..corpora.targets import names_of, targets_of
from .metrics import outputs_of
from .outputs import Outputs
from .ratings import Ratings
from .tasks import Task, task_of

# What a corpus knows about its clips; None where it does not.
KNOWN = ("corpus", "speaker", "sex", "age", "language", "sentence", "intensity", "duration")
# Another label of the same clip, where a corpus has both the intended and the perceived emotion.
OTHER_LABELS = ("intended", "perceived")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Clips of one split and the predictions for them.

    Args:
        labels: class ids, (clips,), with the `names` of the classes; or targets, (clips,
            dimensions), with theirs.
        probabilities: (runs, clips, classes), float32; runs are seeds on the same clips. Of
            dimensions the values.
        columns: `KNOWN`, and those of `OTHER_LABELS` that there are: a value for each clip, or
            None.
        votes: shares of raters for each class, (clips, classes), nan for clips without.
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
        """Class ids, (runs, clips)."""
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
    """Combine rows of a corpus with probabilities in the same order, (clips, classes) or (runs,
    clips, classes).
    """
    names = names_of(dataset)
    kept = {"id", "label", "targets", "votes", "audio", *KNOWN, *OTHER_LABELS}
    # All columns at once: `datasets` copies a table's description for each column read by name.
    own = dataset.select_columns([name for name in dataset.column_names if name in kept])[
        list(rows)
    ]
    columns = {name: own.get(name, [None] * len(rows)) for name in KNOWN}
    others = {name: own[name] for name in OTHER_LABELS if name in own}
    # A user's table may use these names for anything.
    columns |= {name: values for name, values in others.items() if {*values} <= {None, *EMOTIONS}}
    votes = None
    nothing = [np.nan] * len(names)
    labels = targets_of(dataset, rows)
    if labels is None:
        labels = np.asarray(own["label"])
    elif others:
        columns = {name: values for name, values in columns.items() if name not in others}
    if "votes" in own and "targets" not in own:
        votes = np.asarray(
            [nothing if shares is None else shares for shares in own["votes"]], np.float32
        )
    probabilities = probabilities.reshape(-1, *probabilities.shape[-2:])
    paths = [audio["path"] for audio in own.get("audio", [])]
    return Predictions(names, own["id"], labels, probabilities, columns, votes, paths)


def to_table(part: str, predictions: Predictions) -> pa.Table:
    """One row per clip, of one run: id, part, `KNOWN`, path, label, predicted, the probability of
    each class (`p_LABEL`) and, with votes, their shares (`vote_LABEL`). Of dimensions the target
    (`true_NAME`) and the predicted value (`p_NAME`) of each, 0 to 1, in place of label and
    predicted."""
    (probabilities,), names = predictions.probabilities, predictions.names
    text = {"id": predictions.ids, "part": [part] * len(predictions)}
    text |= {
        name: predictions.columns[name]
        for name in (*KNOWN, *OTHER_LABELS)
        if name in predictions.columns
    }
    text["path"] = predictions.paths or [None] * len(predictions)
    rated = predictions.labels.T if predictions.labels.ndim == 2 else ()
    if not len(rated):
        text["label"] = [names[i] for i in predictions.labels]
        text["predicted"] = [names[i] for i in probabilities.argmax(axis=1)]
    numbers = {"age": pa.float64(), "duration": pa.float64()}
    columns = {
        name: pa.array(values, numbers.get(name, pa.string())) for name, values in text.items()
    }
    columns |= {f"true_{name}": pa.array(own) for name, own in zip(names, rated, strict=False)}
    columns |= {f"p_{name}": pa.array(probabilities[:, i]) for i, name in enumerate(names)}
    for name, shares in zip(
        names, () if predictions.votes is None else predictions.votes.T, strict=False
    ):
        columns[f"vote_{name}"] = pa.array(shares, from_pandas=True)
    return pa.table(columns)


def from_table(table: pa.Table, part: str, names: Sequence[str]) -> Predictions:
    """The predictions in a table of `to_table`, of one run or, with a column `seed`, of several on
    the same clips.
    """
    table = table.filter(pa.compute.equal(table["part"], part))
    rows = table.select(
        [name for name in ("seed", "fold", "id") if name in table.column_names]
    ).to_pandas()
    seeds = rows.pop("seed") if "seed" in rows else np.zeros(len(rows))
    probabilities = np.stack([table[f"p_{name}"].to_numpy() for name in names], axis=1).astype(
        np.float32
    )
    runs = []
    first = None
    for seed in dict.fromkeys(seeds):
        run = rows[seeds == seed].reset_index().set_index(list(rows.columns))["index"]
        first = run if first is None else first
        if (
            len(run) != len(first)
            or not run.index.is_unique
            or not first.index.isin(run.index).all()
        ):
            raise ValueError("the seeds are of different clips")
        runs.append(probabilities[run[first.index].to_numpy()])
    clips = table.take(first.to_numpy())
    votes = None
    if all(f"vote_{name}" in clips.column_names for name in names):
        votes = np.stack([clips[f"vote_{name}"].to_numpy() for name in names], axis=1)
    if "label" in clips.column_names:
        number = {name: i for i, name in enumerate(names)}
        labels = np.asarray([number[label] for label in clips["label"].to_pylist()])
    else:
        labels = np.stack([clips[f"true_{name}"].to_numpy() for name in names], axis=1)
    return Predictions(
        list(names),
        clips["id"].to_pylist(),
        labels,
        np.stack(runs),
        {
            name: clips[name].to_pylist()
            for name in (*KNOWN, *OTHER_LABELS)
            if name in clips.column_names
        },
        votes,
        clips["path"].to_pylist(),
    )

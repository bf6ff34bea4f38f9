"""What is judged: clips, what is known of them, and what was answered."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..corpora.schema import EMOTIONS

# What a corpus knows of its clips; None stands for what it does not.
KNOWN = ("corpus", "speaker", "sex", "age", "language", "sentence", "intensity", "duration")
# Another label of the same clip, where a corpus has both what the speaker meant and what raters heard.
OTHER_LABELS = ("intended", "perceived")


@dataclasses.dataclass(frozen=True)
class Judged:
    """The clips of one part and the answers to them.

    Args:
        names: the classes.
        ids: of each clip, (clips,).
        labels: class ids, (clips,).
        probabilities: (runs, clips, classes), float32; runs are seeds that answered the same clips.
        columns: of each of `KNOWN`, and of those of `OTHER_LABELS` that there are, a value for each clip or None.
        votes: shares of raters for each class, (clips, classes), nan for clips without; None where nobody voted.
        paths: of each clip's file, None for audio that is in none.
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
    def predictions(self) -> np.ndarray:
        """Class ids, (runs, clips)."""
        return self.probabilities.argmax(axis=2)

    @property
    def speakers(self) -> list[str]:
        return self.columns["speaker"]

    def only(self, chosen: np.ndarray) -> "Judged":
        """Some of the clips, by their places or as a mask."""
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


def of_rows(dataset: Dataset, rows: Sequence[int], probabilities: np.ndarray) -> Judged:
    """Rows of a corpus with (clips, classes) or (runs, clips, classes) probabilities in the same order."""
    names, kept = dataset.features["label"].names, {"id", "label", "votes", "audio", *KNOWN, *OTHER_LABELS}
    # All columns at once: `datasets` copies a table's description for each that is asked for by its name.
    own = dataset.select_columns([name for name in dataset.column_names if name in kept])[list(rows)]
    columns = {name: own.get(name, [None] * len(rows)) for name in KNOWN}
    others = {name: own[name] for name in OTHER_LABELS if name in own}
    # A table may call anything so.
    columns |= {name: values for name, values in others.items() if {*values} <= {None, *EMOTIONS}}
    votes = None
    if "votes" in own:
        nothing = [np.nan] * len(names)
        votes = np.asarray([nothing if shares is None else shares for shares in own["votes"]], np.float32)
    if probabilities.ndim == 2:
        probabilities = probabilities[None]
    paths = [audio["path"] for audio in own.get("audio", [])]
    return Judged(names, own["id"], np.asarray(own["label"]), probabilities, columns, votes, paths)


def to_table(part: str, judged: Judged) -> pa.Table:
    """One row a clip: id, part, `KNOWN`, path, label, predicted, the probability of each class (`p_LABEL`), and where
    raters voted their share (`vote_LABEL`). Of one run."""
    (probabilities,), names = judged.probabilities, judged.names
    columns = {
        "id": pa.array(judged.ids, pa.string()),
        "part": pa.array([part] * len(judged), pa.string()),
        **{name: _column(name, judged.columns[name]) for name in (*KNOWN, *OTHER_LABELS) if name in judged.columns},
        "path": pa.array(judged.paths or [None] * len(judged), pa.string()),
        "label": pa.array([names[i] for i in judged.labels], pa.string()),
        "predicted": pa.array([names[i] for i in probabilities.argmax(axis=1)], pa.string()),
        **{f"p_{name}": pa.array(probabilities[:, i]) for i, name in enumerate(names)},
    }
    if judged.votes is not None:
        columns |= {f"vote_{name}": pa.array(judged.votes[:, i], from_pandas=True) for i, name in enumerate(names)}
    return pa.table(columns)


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    kinds = {"age": pa.float64(), "duration": pa.float64()}
    return pa.array(values, kinds.get(name, pa.string()))


def from_table(table: pa.Table, part: str, names: Sequence[str]) -> Judged:
    """The judged clips of a table that `to_table` made, of one run or, by its column `seed`, of several on the same
    clips; what older tables lack counts as unknown.

    Raises:
        ValueError: where seeds judged other clips than each other.
    """
    table = table.filter(pa.compute.equal(table["part"], part))
    runs = [table]
    if "seed" in table.column_names:
        seeds = dict.fromkeys(table["seed"].to_pylist())
        runs = [table.filter(pa.compute.equal(table["seed"], seed)) for seed in seeds]
    first = runs[0]
    keys = [key for key in ("fold", "id") if key in first.column_names]
    order = _clips(first, keys)
    probabilities = []
    for run in runs:
        place = {clip: i for i, clip in enumerate(_clips(run, keys))}
        if place.keys() != set(order) or len(place) != len(run):
            raise ValueError("seeds that judged other clips than each other cannot be taken together")
        own = np.stack([run[f"p_{name}"].to_numpy() for name in names], axis=1).astype(np.float32)
        probabilities.append(own[[place[clip] for clip in order]])
    unknown = [None] * len(first)
    columns = {name: first[name].to_pylist() if name in first.column_names else unknown for name in KNOWN}
    columns |= {name: first[name].to_pylist() for name in OTHER_LABELS if name in first.column_names}
    votes = None
    if all(f"vote_{name}" in first.column_names for name in names):
        votes = np.stack([first[f"vote_{name}"].to_numpy() for name in names], axis=1)
    number = {name: i for i, name in enumerate(names)}
    return Judged(
        list(names),
        first["id"].to_pylist(),
        np.asarray([number[label] for label in first["label"].to_pylist()]),
        np.stack(probabilities),
        columns,
        votes,
        first["path"].to_pylist() if "path" in first.column_names else [],
    )


def _clips(table: pa.Table, keys: Sequence[str]) -> list[tuple]:
    return list(zip(*(table[key].to_pylist() for key in keys), strict=True))

"""Slices: metrics of groups of the test clips and the gaps between them, other labels, corpora by
themselves; and how much of the variance of a measure groups explain."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .bootstrap import Measure, is_unknown, percentile
from .metrics import confusion, mean_metrics, per_class, values
from .predictions import Predictions


@dataclasses.dataclass(frozen=True)
class Slicing:
    """How a column groups clips: by value, of at most `most_values`, or by number, each bound
    beginning a group.
    """

    column: str
    bounds: tuple[float, ...] = ()
    unit: str = ""
    most_values: float = 50

    @property
    def groups(self) -> list[str]:
        """The names of the groups between bounds."""
        between = [
            f"{low} to {high} {self.unit}"
            for low, high in zip(self.bounds, self.bounds[1:], strict=False)
        ]
        return [
            f"under {self.bounds[0]} {self.unit}",
            *between,
            f"{self.bounds[-1]} {self.unit} and more",
        ]

    def group(self, value: Any) -> str | None:
        """The group of one clip; None if its value is unknown."""
        if not self.bounds:
            return None if value is None or not str(value).strip() else str(value)
        try:
            number = math.nan if value is None else float(value)
        except ValueError:  # an age such as "26-35"
            return None
        return (
            None
            if math.isnan(number)
            else self.groups[np.searchsorted(self.bounds, number, side="right")]
        )

    def in_order(self, found: set[str]) -> list[str]:
        """The groups that occur: between bounds by size, numbers by size before words by letters."""
        if self.bounds:
            return sorted(found, key=self.groups.index)
        return sorted(
            found,
            key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name),
        )


# A new slice is one entry here.
SLICES = {
    "corpus": Slicing("corpus"),
    "speaker": Slicing("speaker", most_values=math.inf),
    "sex": Slicing("sex"),
    "age_group": Slicing("age", (18, 30, 45, 60), "years"),
    "language": Slicing("language"),
    "sentence": Slicing("sentence"),
    "intensity": Slicing("intensity"),
    "duration": Slicing("duration", (1, 2, 3, 5, 10), "s"),
}
# With fewer clips a slice is listed, but neither best nor worst: chance alone may make it so.
_FEWEST_CLIPS = 5
# With fewer speakers there is no interval either: one or two speakers say nothing about others.
_FEWEST_SPEAKERS = 3
# A class is named with the other class that takes at least this share of its clips.
NAMED = 0.2
Places = dict[str, dict[str, np.ndarray]]


def slice_places(predictions: Predictions) -> Places:
    """{slice: {value: places of its clips}} of those of `SLICES` that divide the clips."""
    found: Places = {}
    for name, slicing in SLICES.items():
        groups = [slicing.group(value) for value in predictions.columns.get(slicing.column, [])]
        present = set(groups) - {None}
        if 1 < len(present) <= slicing.most_values:
            number = {group: i for i, group in enumerate(slicing.in_order(present))}
            of = np.asarray([number.get(group, -1) for group in groups])
            found[name] = {group: np.flatnonzero(of == i) for group, i in number.items()}
    return found


def measure_slices(predictions: Predictions) -> tuple[Measure, Measure]:
    """Give two measures for the bootstrap: the main score of each group of clips, whose resamples
    draw speakers, and that of each speaker, whose resamples draw clips. Each is {slice: (resamples,
    values)}, the mean over runs."""
    places = slice_places(predictions)
    speakers = {"speaker": places.pop("speaker")} if "speaker" in places else {}
    return _measure(predictions, places), _measure(predictions, speakers)


def _measure(predictions: Predictions, places: Places) -> Measure:
    slices = {}
    for name, groups in places.items():
        group = np.full(len(predictions), -1)
        for i, own in enumerate(groups.values()):
            group[own] = i
        slices[name] = [run.main_by_group(group, len(groups)) for run in predictions.outputs]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):  # groups without clips in a resample
            return {
                name: np.mean([run(weights) for run in runs], axis=0)
                for name, runs in slices.items()
            }

    return measured


def slices_and_gaps(
    predictions: Predictions, resampled: Mapping[str, np.ndarray], confidence: float
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]:
    """The report's `slices` {slice: {value: scores}}, and `gaps` {slice: gap} between the values
    with the highest and the lowest main score, from {slice: (resamples, values)} of
    `measure_slices`.

    The UAR of a slice is the mean over the classes in it; `interval` is over speakers and their
    clips, for a single speaker over clips. Best and worst are selected on the same clips: on new
    ones the gap would be smaller.
    """
    slices: dict[str, dict[str, dict[str, Any]]] = {}
    gaps = {}
    main = predictions.task.main
    for name, places in slice_places(predictions).items():
        rows = {}
        comparable = {}
        for i, (value, own) in enumerate(places.items()):
            names = {predictions.speakers[place] for place in own}
            speakers = None if any(map(is_unknown, names)) else len(names)
            enough = name == "speaker" or speakers is None or speakers >= _FEWEST_SPEAKERS
            interval = percentile(resampled[name][:, i], confidence) if enough else None
            rows[value] = {
                "clips": len(own),
                "speakers": speakers,
                **_scores(predictions, own),
                "interval": interval,
            }
            if enough and len(own) >= _FEWEST_CLIPS and rows[value][main] is not None:
                comparable[value] = resampled[name][:, i]
        slices[name] = rows
        if len(comparable) > 1:
            best, worst = (
                pick(comparable, key=lambda value: rows[value][main]) for pick in (max, min)
            )
            gaps[name] = {
                "metric": main,
                "best": best,
                "worst": worst,
                "gap": rows[best][main] - rows[worst][main],
                "interval": percentile(comparable[best] - comparable[worst], confidence),
            }
    return slices, gaps


def _scores(
    predictions: Predictions, places: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, float]:
    """The headline metrics of some clips, mean over runs, by other `labels` if given."""
    if labels is not None:
        predictions = dataclasses.replace(predictions, labels=labels)
    return mean_metrics(
        [values(run.only(places), predictions.task.headline) for run in predictions.outputs]
    )


def other_label(predictions: Predictions) -> dict[str, Any] | None:
    """Evaluate the same predictions against the clips' other label: the perceived emotion if the
    corpus is labeled by the intended one, and the other way round; None without one. `agreement` is
    the share of clips on which both agree, `same_clips` their metrics against the report's labels,
    which are the rows of `counts`."""
    known = {label: i for i, label in enumerate(predictions.names)}
    for name in ("perceived", "intended"):
        others = np.asarray(
            [known.get(value, -1) for value in predictions.columns.get(name, [])], int
        )
        places = np.flatnonzero(others >= 0)
        if not len(places):
            continue
        own = predictions.labels[places]
        other = others[places]
        return {
            "by": name,
            "clips": len(places),
            "agreement": float((own == other).mean()),
            "metrics": _scores(predictions, places, others),
            "same_clips": _scores(predictions, places),
            "counts": confusion(own, other, len(known)),
        }
    return None


def by_corpus(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """{corpus: {clips, speakers, metrics, per_class, confusion, collisions}}; empty with one
    corpus.

    Metrics are over the classes that a corpus has, mean over runs; its confusion is over all
    classes, summed over runs. `collisions` names, for each class, the class that is predicted
    instead for a share of `NAMED` or more of its clips, the largest share first; `foreign` if the
    corpus lacks that class.
    """
    corpora = np.asarray(predictions.columns["corpus"])
    found = sorted(set(corpora.tolist()))
    corpus_scores = {}
    for corpus in found if len(found) > 1 else ():
        some = predictions.only(corpora == corpus)
        classes, counts = pooled_classes(some)
        corpus_scores[corpus] = {
            "clips": len(some),
            "speakers": len({name for name in some.speakers if not is_unknown(name)}),
            "metrics": _scores(some, np.arange(len(some))),
            "per_class": {name: row for name, row in classes.items() if row["support"]},
            "confusion": counts,
            "collisions": _collisions(np.asarray(counts), some.names),
        }
    return corpus_scores


def pooled_classes(predictions: Predictions) -> tuple[dict[str, dict[str, Any]], list[list[int]]]:
    """`per_class` and `confusion` over all runs; supports count each clip once."""
    runs = len(predictions.probabilities)
    names = predictions.names
    pooled = np.tile(predictions.labels, runs), predictions.predicted.ravel()
    classes = {
        name: row | {"support": row["support"] // runs}
        for name, row in per_class(*pooled, names).items()
    }
    return classes, confusion(*pooled, len(names))


def _collisions(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    clips = counts.sum(axis=1)
    others = counts * (1 - np.eye(len(counts), dtype=int))
    found = [
        {
            "label": names[label],
            "taken_for": names[taken],
            "share": float(others[label, taken] / clips[label]),
            "foreign": not clips[taken],
        }
        for label, taken in enumerate(others.argmax(axis=1))
        if clips[label] and others[label, taken] >= NAMED * clips[label]
    ]
    return sorted(found, key=lambda one: -one["share"])


def explained_variance(table: pd.DataFrame, measure: str, column: str) -> float | None:
    """Share of a measure's variance between the groups of a column: epsilon squared (Kelley, 1935),
    at least 0.

    None where it is undefined: fewer than two groups, as many groups as clips, or no variance.
    """
    values = table[[column, measure]].dropna()
    groups = values.groupby(column)[measure]
    if groups.ngroups < 2 or len(values) <= groups.ngroups or values[measure].var() <= 1e-20:
        return None
    within = ((values[measure] - groups.transform("mean")) ** 2).sum() / (
        len(values) - groups.ngroups
    )
    return max(0.0, float(1 - within / values[measure].var()))

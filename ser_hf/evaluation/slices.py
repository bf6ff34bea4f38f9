"""Slices: the same judgement for parts of the test clips, so that a good average hides nobody."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import Measure, groups, is_unknown, mean_of_known, percentile, recalls
from .metrics import classification_metrics, confusion, per_class
from .predictions import Judged

COLUMNS = ("corpus", "speaker", "sex", "age_group", "language", "sentence", "intensity", "duration")
# Upper bounds, each beginning the next group.
_AGES = (18, 30, 45, 60)
_SECONDS = (1, 2, 3, 5, 10)
# A column with more values than this tells of clips, not of kinds of them; speakers are all listed.
_MOST_VALUES = 50
# Of fewer clips a slice is listed, but no best or worst: chance alone makes it either.
_FEWEST_CLIPS = 5
# Of fewer speakers no interval is told: what one or two people do says nothing about others.
_FEWEST_SPEAKERS = 3
_GROUPS_AT_ONCE = 2**20


def slice_values(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[str | None]]:
    """{column: each clip's value} for those of `COLUMNS` that tell clips apart; ages (years) and durations (seconds)
    in groups."""
    ages, seconds = columns.get("age", []), columns.get("duration", [])
    grouped = {
        **columns,
        "age_group": [None if _unknown(own) else _group(float(own), _AGES, "years") for own in ages],
        "duration": [None if _unknown(own) else _group(float(own), _SECONDS, "s") for own in seconds],
    }
    found = {}
    for column in COLUMNS:
        values = [None if value is None or not str(value).strip() else str(value) for value in grouped.get(column, [])]
        present = set(values) - {None}
        if len(present) > 1 and (column == "speaker" or len(present) <= _MOST_VALUES):
            found[column] = values
    return found


def _unknown(value: Any) -> bool:
    return value is None or value != value or not _is_number(value)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:  # an age such as "26-35"
        return False
    return True


def _group(value: float, bounds: Sequence[int], unit: str) -> str:
    place = int(np.searchsorted(bounds, value, side="right"))
    if place == 0:
        return f"under {bounds[0]} {unit}"
    if place == len(bounds):
        return f"{bounds[-1]} {unit} and more"
    return f"{bounds[place - 1]} to {bounds[place]} {unit}"


def uars_of(judged: Judged) -> tuple[Measure, Measure]:
    """What measures the UAR of every slice, mean over runs, {column: (resamples, values)}: of kinds of clips, to be
    drawn by speakers, and of speakers, to be drawn by clips."""
    places = _places(judged)
    kinds = {column: own for column, own in places.items() if column != "speaker"}
    speakers = {column: own for column, own in places.items() if column == "speaker"}
    return _uars(judged, kinds), _uars(judged, speakers)


def slices_and_gaps(
    judged: Judged, resampled: Mapping[str, np.ndarray], confidence: float
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]:
    """The report's `slices` {column: {value: scores}}, and `gaps` {column: gap} between the values with the highest
    and the lowest UAR.

    The UAR of a slice is the mean over the classes in it; `interval` is over speakers and their clips, for a single
    speaker over clips. A slice with fewer than `_FEWEST_SPEAKERS` speakers has no interval and is neither best nor
    worst; nor is one with fewer than `_FEWEST_CLIPS` clips. Best and worst are selected on the same clips: of many
    values, the gap is larger than on new clips.

    Args:
        resampled: {column: (resamples, values)} of the measures of `uars_of`.
    """
    slices: dict[str, dict[str, dict[str, Any]]] = {}
    gaps = {}
    for column, places in _places(judged).items():
        rows, judgeable = {}, []
        for i, (value, own) in enumerate(places.items()):
            runs = [
                classification_metrics(judged.labels[own], run[own], len(judged.names)) for run in judged.predictions
            ]
            mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
            speaking = {judged.speakers[place] for place in own}
            speakers = None if any(is_unknown(name) for name in speaking) else len(speaking)
            enough = column == "speaker" or speakers is None or speakers >= _FEWEST_SPEAKERS
            interval = percentile(resampled[column][:, i], confidence) if enough else None
            rows[value] = {"clips": len(own), "speakers": speakers, **mean, "interval": interval}
            if enough and len(own) >= _FEWEST_CLIPS:
                judgeable.append(value)
        slices[column] = rows
        if len(judgeable) > 1:
            present = list(places)
            best, worst = (pick(judgeable, key=lambda value: rows[value]["uar"]) for pick in (max, min))
            difference = resampled[column][:, present.index(best)] - resampled[column][:, present.index(worst)]
            gaps[column] = {
                "metric": "uar",
                "best": best,
                "worst": worst,
                "gap": rows[best]["uar"] - rows[worst]["uar"],
                "interval": percentile(difference, confidence),
            }
    return slices, gaps


def _places(judged: Judged) -> dict[str, dict[str, np.ndarray]]:
    """Where the clips of each slice stand, {column: {value: places}}."""
    found = {}
    for column, values in slice_values(judged.columns).items():
        places: dict[str, list[int]] = {}
        for place, value in enumerate(values):
            if value is not None:
                places.setdefault(value, []).append(place)
        found[column] = {value: np.asarray(places[value]) for value in sorted(places, key=_in_order)}
    return found


def _uars(judged: Judged, places: Mapping[str, Mapping[str, np.ndarray]]) -> Measure:
    present, label = np.unique(judged.labels, return_inverse=True)
    right, columns = judged.predictions == judged.labels, {}
    for column, values in places.items():
        # Of each slice and class a group, (slices * classes,).
        shape = len(values), len(present)
        group, known = np.zeros(len(judged), int), np.zeros(len(judged), bool)
        for i, own in enumerate(values.values()):
            group[own], known[own] = i * len(present) + label[own], True
        hits = [groups(group, math.prod(shape), known & own) for own in right]
        columns[column] = shape, groups(group, math.prod(shape), known), hits

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for column, (shape, support, hits) in columns.items():
            means = []
            # So many resamples at once that memory stays flat, whatever the number of slices and classes.
            rows = max(1, _GROUPS_AT_ONCE // math.prod(shape))
            for start in range(0, len(weights), rows):
                some = weights[start : start + rows]
                clips = (some @ support).reshape(-1, *shape)
                uars = [mean_of_known(recalls(clips, (some @ own).reshape(-1, *shape))) for own in hits]
                means.append(np.mean(uars, axis=0))
            found[column] = np.concatenate(means)
        return found

    return measured


def _in_order(value: str) -> tuple:
    """Groups by their bounds, numbers by size, words by letters."""
    first = value.partition(" ")[0]
    if first == "under":
        return (0, -1.0, value)
    try:
        return (0, float(first), value) if first[:1].isdecimal() else (1, 0.0, value)
    except ValueError:
        return (1, 0.0, value)


def other_label(judged: Judged) -> dict[str, Any] | None:
    """The same answers held against the other label that a corpus knows of its clips: where it was labelled by what
    the speaker meant, what most raters perceived, and the other way round; None where there is none.

    {by, clips, agreement (the share of clips on which both labels are one), metrics, same_clips (the metrics of these
    clips against the report's own labels), counts}: in `counts` the report's labels are rows, those of `by` columns.
    """
    for name in ("perceived", "intended"):
        values = judged.columns.get(name, [])
        known = np.asarray([value in judged.names for value in values], dtype=bool)
        if not known.any():
            continue
        some = judged.only(known)
        others = np.asarray([judged.names.index(value) for value in some.columns[name]])
        return {
            "by": name,
            "clips": len(some),
            "agreement": float((others == some.labels).mean()),
            "metrics": _mean_metrics(others, some.predictions, len(judged.names)),
            "same_clips": _mean_metrics(some.labels, some.predictions, len(judged.names)),
            "counts": confusion(some.labels, others, len(judged.names)),
        }
    return None


def _mean_metrics(labels: np.ndarray, runs: np.ndarray, classes: int) -> dict[str, float]:
    measured = [classification_metrics(labels, run, classes) for run in runs]
    return {name: float(np.mean([own[name] for own in measured])) for name in measured[0]}


# Of a class's clips, the share that another class must take to be named.
NAMED = 0.2


def by_corpus(
    corpora: Sequence[str],
    speakers: Sequence[str],
    labels: np.ndarray,
    predictions: np.ndarray,
    names: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """{corpus: {clips, speakers, metrics, per_class, confusion, collisions}}; empty where there is one corpus only.

    Metrics run over the classes that a corpus has. Its confusion is over all classes, counts as `confusion` gives
    them: what is called by a label that the corpus does not know stands in that column. `collisions` names, of each
    class, the other one that most of its clips are taken for, where those are a share of `NAMED` or more:
    {label, taken_for, share, foreign}, `foreign` where the corpus has no such label; the largest share first.

    Args:
        corpora, speakers, labels: of each clip, (clips,).
        predictions: (runs, clips) for several runs on the same clips: metrics are their mean, confusions their sum.
    """
    of, spoken = np.asarray(corpora), np.asarray(speakers, object)
    found = sorted(set(corpora))
    judged = {}
    for corpus in found if len(found) > 1 else ():
        own = of == corpus
        true, runs = labels[own], predictions[:, own]
        measured = [classification_metrics(true, run, len(names)) for run in runs]
        pooled = np.tile(true, len(runs)), runs.ravel()
        classes = per_class(*pooled, names)
        counts = confusion(*pooled, len(names))
        judged[corpus] = {
            "clips": int(own.sum()),
            "speakers": len({name for name in spoken[own].tolist() if not is_unknown(name)}),
            "metrics": {name: float(np.mean([one[name] for one in measured])) for name in measured[0]},
            # Pooling the runs repeats each clip; what is reported is how many there are.
            "per_class": {
                name: row | {"support": row["support"] // len(runs)} for name, row in classes.items() if row["support"]
            },
            "confusion": counts,
            "collisions": _collisions(np.asarray(counts), names),
        }
    return judged


def _collisions(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    clips = counts.sum(axis=1)
    found = []
    for label in np.flatnonzero(clips):
        others = counts[label].copy()
        others[label] = 0
        taken = int(others.argmax())
        share = float(others[taken] / clips[label])
        if share >= NAMED:
            foreign = not clips[taken]
            found.append({"label": names[label], "taken_for": names[taken], "share": share, "foreign": foreign})
    return sorted(found, key=lambda one: -one["share"])

"""Slices: the same judgement for parts of the test clips, so that a good average hides nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .intervals import draws, percentile
from .judged import Judged
from .metrics import classification_metrics, confusion
from .weighted import from_confusions

COLUMNS = ("corpus", "speaker", "sex", "age_group", "language", "sentence", "intensity", "duration")
# Upper bounds, each beginning the next group.
_AGES = (18, 30, 45, 60)
_SECONDS = (1, 2, 3, 5, 10)
# A column with more values than this tells of clips, not of kinds of them; speakers are all listed.
_MOST_VALUES = 50
# Of fewer clips a slice is listed, but no best or worst: chance alone makes it either.
_FEWEST_CLIPS = 5


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
        values = [None if value is None else str(value) for value in grouped.get(column, [])]
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


def slice_metrics(
    judged: Judged, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Slices {column: {value: {clips, uar, wa, macro_f1, weighted_f1, interval}}}, and gaps {column: {metric, best,
    worst, gap, interval}} between the values of highest and lowest UAR, of `_FEWEST_CLIPS` or more.

    A slice's UAR runs over the classes that it has. `interval` is that of its UAR, over speakers and their clips, and
    for a single speaker over its clips. Best and worst were picked by the clips that measure them: of many values, the
    gap between them is larger than it would be on new clips.
    """
    slices: dict[str, dict[str, dict[str, Any]]] = {}
    gaps = {}
    for column, values in slice_values(judged.columns).items():
        of = np.asarray([value or "" for value in values])
        present = sorted(set(of.tolist()) - {""}, key=_in_order)
        places = {value: np.flatnonzero(of == value) for value in present}
        speakers = None if column == "speaker" else judged.speakers
        resampled = _uars(judged, list(places.values()), speakers, resamples, np.random.default_rng(seed))
        rows = {}
        for i, (value, own) in enumerate(places.items()):
            runs = [
                classification_metrics(judged.labels[own], run[own], len(judged.names)) for run in judged.predictions
            ]
            mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
            rows[value] = {"clips": len(own), **mean, "interval": percentile(resampled[:, i], confidence)}
        slices[column] = rows
        judgeable = [value for value in present if rows[value]["clips"] >= _FEWEST_CLIPS]
        if len(judgeable) > 1:
            best, worst = (pick(judgeable, key=lambda value: rows[value]["uar"]) for pick in (max, min))
            difference = resampled[:, present.index(best)] - resampled[:, present.index(worst)]
            gaps[column] = {
                "metric": "uar",
                "best": best,
                "worst": worst,
                "gap": rows[best]["uar"] - rows[worst]["uar"],
                "interval": percentile(difference, confidence),
            }
    return slices, gaps


def _in_order(value: str) -> tuple:
    """Groups by their bounds, numbers by size, words by letters."""
    words = value.split()
    number = next((word for word in words if word.replace(".", "", 1).isdigit()), None)
    if words[0] == "under":
        return (0, -1.0, value)
    return (0, float(number), value) if number is not None and words[0] == number else (1, 0.0, value)


def _uars(
    judged: Judged,
    places: Sequence[np.ndarray],
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """UAR of each slice in each resample, mean over runs, (resamples, slices)."""
    classes, runs = len(judged.names), judged.predictions
    pairs = [np.eye(classes * classes)[judged.labels * classes + run] for run in runs]
    blocks = []
    for weights in draws(len(judged), speakers, resamples, generator):
        found = np.empty((len(weights), len(places)))
        for i, own in enumerate(places):
            drawn = weights[:, own].astype(np.float64)
            counts = [(drawn @ pair[own]).reshape(-1, classes, classes) for pair in pairs]
            found[:, i] = np.mean([from_confusions(each)["uar"] for each in counts], axis=0)
        blocks.append(found)
    return np.concatenate(blocks)


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

"""Slices: metrics of groups of test clips, and the gaps between groups.

The module also evaluates against a second label and by corpus, and computes the share of the
variance of a measure that groups explain.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .bootstrap import Measure, is_unknown, percentile
from .classes import confusion, pooled_classes
from .groups import SLICES
from .metrics import mean_metrics, values
from .predictions import Predictions
from .sections import Collision, CorpusScores, Gap, Perceived, Slice

# A group with fewer clips is listed, but is not compared as best or worst: its score is too random.
_FEWEST_CLIPS = 5
# A group with fewer speakers is not compared either and has no interval: one or two speakers do not
# represent others.
_FEWEST_SPEAKERS = 3
# Two classes are reported as confused if at least this share of the clips of the first is predicted
# as the second.
NAMED = 0.2
Places = dict[str, dict[str, np.ndarray]]


def slice_places(predictions: Predictions) -> Places:
    """The positions of the clips of each group: {slice: {group: positions}}.

    A slice of `SLICES` is left out if it does not divide the clips, or has too many groups.
    """
    places: Places = {}
    for name, slicing in SLICES.items():
        groups = [slicing.group(value) for value in predictions.columns.get(slicing.column, [])]
        present = set(groups) - {None}
        if 1 < len(present) <= slicing.most_values:
            number = {group: i for i, group in enumerate(slicing.in_order(present))}
            number_of_clip = np.asarray([number.get(group, -1) for group in groups])
            places[name] = {
                group: np.flatnonzero(number_of_clip == i) for group, i in number.items()
            }
    return places


def measure_slices(predictions: Predictions) -> tuple[Measure, Measure]:
    """Make two measures for the bootstrap: the main metric of each group, and of each speaker.

    The first needs resamples that draw speakers, the second resamples that draw clips. Both return
    {slice: (resamples, groups)}, the means over runs.
    """
    places = slice_places(predictions)
    speakers = {"speaker": places.pop("speaker")} if "speaker" in places else {}
    return _measure(predictions, places), _measure(predictions, speakers)


def _measure(predictions: Predictions, places: Places) -> Measure:
    slices = {}
    for name, groups in places.items():
        group = np.full(len(predictions), -1)
        for i, places_of_group in enumerate(groups.values()):
            group[places_of_group] = i
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
) -> tuple[dict[str, dict[str, Slice]], dict[str, Gap]]:
    """The scores of each group, and the gap between the best and the worst group of each slice.

    The UAR of a group is the mean over the classes that it has. `interval` is over speakers and
    their clips; for a single speaker it is over clips. The best and the worst group are selected on
    the same clips that the gap is computed on, so the gap would be smaller on new clips.

    Args:
        resampled: {slice: (resamples, groups)}, computed by the measures of `measure_slices`.
        confidence: confidence level of the intervals, between 0 and 1.

    Returns:
        {slice: {group: scores}}, and {slice: gap}.
    """
    slices: dict[str, dict[str, Slice]] = {}
    gaps: dict[str, Gap] = {}
    main = predictions.task.main
    for name, places in slice_places(predictions).items():
        rows: dict[str, Slice] = {}
        comparable: dict[str, np.ndarray] = {}
        for i, (value, clips) in enumerate(places.items()):
            drawn = resampled[name][:, i]
            speakers = _count_speakers(predictions, clips)
            enough = name == "speaker" or speakers is None or speakers >= _FEWEST_SPEAKERS
            rows[value] = Slice(
                clips=len(clips),
                speakers=speakers,
                interval=percentile(drawn, confidence) if enough else None,
                **_scores(predictions, clips),
            )
            defined = getattr(rows[value], main) is not None
            if enough and defined and len(clips) >= _FEWEST_CLIPS:
                comparable[value] = drawn
        slices[name] = rows
        if len(comparable) > 1:
            gaps[name] = _gap(rows, comparable, main, confidence)
    return slices, gaps


def _count_speakers(predictions: Predictions, places: np.ndarray) -> int | None:
    """The number of speakers of the clips at some positions; None if a speaker is unknown."""
    names = {predictions.speakers[place] for place in places}
    return None if any(map(is_unknown, names)) else len(names)


def _gap(
    rows: Mapping[str, Slice], comparable: Mapping[str, np.ndarray], main: str, confidence: float
) -> Gap:
    """The gap between the best and the worst group.

    Args:
        comparable: the main metric of the groups to compare, {group: (resamples,)}.
    """

    def score(value: str) -> float:
        return getattr(rows[value], main)

    best = max(comparable, key=score)
    worst = min(comparable, key=score)
    return Gap(
        metric=main,
        best=best,
        worst=worst,
        gap=score(best) - score(worst),
        interval=percentile(comparable[best] - comparable[worst], confidence),
    )


def _scores(
    predictions: Predictions, places: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, float]:
    """The headline metrics of the clips at some positions, means over runs.

    Args:
        labels: labels to use in place of those of the predictions, (clips,).
    """
    if labels is not None:
        predictions = dataclasses.replace(predictions, labels=labels)
    return mean_metrics(
        [values(run.only(places), predictions.task.headline) for run in predictions.outputs]
    )


def other_label(predictions: Predictions) -> Perceived | None:
    """Evaluate the same predictions against a second label of the clips; None without such a label.

    The second label is the perceived emotion if the corpus is labeled by the intended emotion, and
    the intended emotion otherwise. `agreement` is the share of clips on which both labels agree.
    `same_clips` has the metrics of the same clips against the labels of the report, which are the
    rows of `counts`.
    """
    class_ids = {label: i for i, label in enumerate(predictions.names)}
    for name in ("perceived", "intended"):
        others = np.asarray(
            [class_ids.get(value, -1) for value in predictions.columns.get(name, [])], int
        )
        places = np.flatnonzero(others >= 0)
        if not len(places):
            continue
        labels = predictions.labels[places]
        other_labels = others[places]
        return Perceived(
            by=name,
            clips=len(places),
            agreement=float((labels == other_labels).mean()),
            metrics=_scores(predictions, places, others),
            same_clips=_scores(predictions, places),
            counts=confusion(labels, other_labels, len(class_ids)),
        )
    return None


def by_corpus(predictions: Predictions) -> dict[str, CorpusScores]:
    """The results of each corpus; empty if there is only one corpus.

    Metrics are over the classes of the corpus, means over runs. The confusion matrix has all
    classes, and is summed over runs.
    """
    corpus_of_clip = np.asarray(predictions.columns["corpus"])
    corpora = sorted(set(corpus_of_clip.tolist()))
    if len(corpora) == 1:
        return {}
    return {name: _corpus_scores(predictions.only(corpus_of_clip == name)) for name in corpora}


def _corpus_scores(predictions: Predictions) -> CorpusScores:
    classes, counts = pooled_classes(predictions)
    return CorpusScores(
        clips=len(predictions),
        speakers=len({name for name in predictions.speakers if not is_unknown(name)}),
        metrics=_scores(predictions, np.arange(len(predictions))),
        per_class={name: scores for name, scores in classes.items() if scores.support},
        confusion=counts,
        collisions=_collisions(np.asarray(counts), predictions.names),
    )


def _collisions(counts: np.ndarray, names: Sequence[str]) -> list[Collision]:
    """The pairs of a class and another class that is often predicted for its clips.

    The share of these clips is at least `NAMED`; the largest share is first. `foreign` is true if
    the corpus has no clips of the predicted class.
    """
    clips = counts.sum(axis=1)
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    collisions = []
    for label, predicted in enumerate(wrong.argmax(axis=1)):
        confused = wrong[label, predicted]
        if clips[label] and confused >= NAMED * clips[label]:
            collisions.append(
                Collision(
                    label=names[label],
                    taken_for=names[predicted],
                    share=float(confused / clips[label]),
                    foreign=not clips[predicted],
                )
            )
    return sorted(collisions, key=lambda collision: -collision.share)


def explained_variance(table: pd.DataFrame, measure: str, column: str) -> float | None:
    """The share of the variance of a measure that the groups of a column explain.

    It is epsilon squared (Kelley 1935), at least 0. It is None if undefined: with fewer than two
    groups, as many groups as clips, or no variance.
    """
    values = table[[column, measure]].dropna()
    groups = values.groupby(column)[measure]
    if groups.ngroups < 2 or len(values) <= groups.ngroups or values[measure].var() <= 1e-20:
        return None
    within = ((values[measure] - groups.transform("mean")) ** 2).sum() / (
        len(values) - groups.ngroups
    )
    return max(0.0, float(1 - within / values[measure].var()))

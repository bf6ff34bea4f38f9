"""Bootstrap intervals: how far a metric moves with other speakers and other clips of them.

The hierarchical bootstrap draws speakers with replacement, then clips of each drawn speaker with replacement (Davison
and Hinkley 1997, section 3.8). With few speakers its intervals are too narrow (with four, a nominal 95 % covers about
81 %), so reports with fewer than ten say so and show the interval over clips alone beside it.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..corpora.schema import UNNAMED
from .metrics import HEADLINE, RESAMPLED, Outputs, compute, mean_of_known, recalls
from .predictions import Predictions

FEW_SPEAKERS = 10
# Counts that are drawn at once: memory stays flat however many clips there are.
_DRAWN_AT_ONCE = 4_000_000
# Of these, counts that are measured at once: what a processor's cache holds.
_MEASURED_AT_ONCE = 2**17

# Weights (resamples, clips) -> values of each figure, (resamples, ...), nan where a resample leaves it undefined.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
Intervals = dict[str, list[float]]


def measure(runs: Sequence[Outputs], names: Sequence[str] = RESAMPLED) -> Measure:
    """Measures metrics, mean over runs on the same clips."""
    return lambda weights: mean_of_runs([compute(run, weights, names) for run in runs])


def measure_recalls(runs: Sequence[Outputs]) -> Measure:
    """Measures `recall`, (resamples, classes), mean over runs on the same clips."""

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        support = weights @ runs[0].labeled
        return mean_of_runs([{"recall": recalls(support, weights @ run.recognized)} for run in runs])

    return measured


def mean_of_runs(values: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([own[name] for own in values], axis=0) for name in values[0]}


def bootstrap_intervals(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals {metric: [low, high]} of UAR, WA, macro-F1 and weighted F1.

    Args:
        labels: (clips,) class ids.
        predictions: (clips,), or (runs, clips) for several seeds on the same clips: the metric is then the runs' mean,
            and its interval that of the mean of these very runs, which are not drawn.
        speakers: (clips,) for the hierarchical bootstrap; None draws clips alone.
    """
    runs = [Outputs(np.asarray(labels), run, classes) for run in np.atleast_2d(predictions)]
    drawn = draws(len(runs[0].labels), speakers, resamples, np.random.default_rng(seed))
    (values,) = resample([measure(runs, HEADLINE)], drawn)
    return percentiles(values, confidence)


def fold_intervals(
    folds: Sequence[Predictions],
    draw_folds: bool,
    by_speaker: bool = True,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals of a metric's mean over folds, of every metric with an interval.

    Args:
        draw_folds: draw the folds with replacement as well. In leave-one-speaker-out they are the speakers; with
            several speakers per fold this counts their variation twice, which errs on the wide side. If folds share
            speakers or clips, those are drawn once for all folds instead, and folds are not drawn.
        by_speaker: draw speakers and their clips, otherwise clips alone.
    """
    generator = np.random.default_rng(seed)
    measures = [measure(fold.outputs) for fold in folds]
    speakers = [speaker_keys(fold) if by_speaker else None for fold in folds]
    drawn = [{*fold.ids, *(own or ())} for fold, own in zip(folds, speakers, strict=True)]
    if len(set.union(*drawn)) < sum(map(len, drawn)):
        ends = np.cumsum([len(fold) for fold in folds])[:-1]

        def mean_of_folds(weights: np.ndarray) -> dict[str, np.ndarray]:
            parts = np.split(weights, ends, axis=1)
            values = [own(part) for own, part in zip(measures, parts, strict=True)]
            return {name: mean_of_known(np.stack([own[name] for own in values], axis=1)) for name in values[0]}

        everyone = list(itertools.chain(*speakers)) if by_speaker else None
        ids = list(itertools.chain(*(fold.ids for fold in folds)))
        return percentiles(resample([mean_of_folds], clip_draws(ids, everyone, resamples, generator))[0], confidence)
    values = [
        resample([own], draws(len(fold), names, resamples, generator))[0]
        for own, fold, names in zip(measures, folds, speakers, strict=True)
    ]
    stacked = {name: np.stack([own[name] for own in values]) for name in values[0]}  # (folds, resamples) each
    if draw_folds:
        chosen = generator.integers(len(folds), size=(len(folds), resamples))
        # Each drawn fold has its own resample, so that a fold drawn twice is not the same twice.
        own = generator.integers(resamples, size=chosen.shape)
        stacked = {name: one[chosen, own] for name, one in stacked.items()}
    return percentiles({name: mean_of_known(one.T) for name, one in stacked.items()}, confidence)


def speaker_keys(predictions: Predictions) -> list[str]:
    """The speaker of each clip, (clips,); a clip with an unknown speaker gets its own key."""
    return [
        f"{name or ''} in {clip}" if is_unknown(name) else name
        for name, clip in zip(predictions.speakers, predictions.ids, strict=True)
    ]


def is_unknown(speaker: str | None) -> bool:
    return speaker is None or speaker.rpartition(":")[2] == UNNAMED


def resample(measures: Sequence[Measure], drawn: Iterator[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The values of each measure in each resample, (resamples, ...), all of the same resamples."""
    pieces: list[list[dict[str, np.ndarray]]] = [[] for _ in measures]
    for counts in drawn:
        rows = max(1, _MEASURED_AT_ONCE // max(counts.shape[1], 1))
        for start in range(0, len(counts), rows):
            weights = counts[start : start + rows].astype(np.float64)  # once, not in each measure
            for own, measured in zip(pieces, measures, strict=True):
                own.append(measured(weights))
    return [{name: np.concatenate([piece[name] for piece in own]) for name in own[0]} for own in pieces]


def percentile(values: np.ndarray, confidence: float) -> list[float] | None:
    """[low, high] of the values that are not nan; None without any."""
    known = values[np.isfinite(values)]
    tail = 100 * (1 - confidence) / 2
    return [float(end) for end in np.percentile(known, [tail, 100 - tail])] if len(known) else None


def percentiles(values: Mapping[str, np.ndarray], confidence: float) -> Intervals:
    """The interval of each figure that some resample defines."""
    found = {name: percentile(own, confidence) for name, own in values.items()}
    return {name: own for name, own in found.items() if own is not None}


def clip_draws(
    ids: Sequence[str], speakers: Sequence[str] | None, resamples: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """`draws` of clips by id: a clip with predictions of several folds is drawn once for all of them."""
    number: dict[str, int] = {}
    places = np.asarray([number.setdefault(clip, len(number)) for clip in ids])
    if speakers is not None:
        speakers = [speakers[first] for first in np.unique(places, return_index=True)[1]]
    return (counts[:, places] for counts in draws(len(number), speakers, resamples, generator))


def draws(
    clips: int, speakers: Sequence[str] | None, resamples: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """How often each resample holds each clip, in blocks of (some resamples, clips): `resamples` in all."""
    block = max(1, _DRAWN_AT_ONCE // max(clips, 1))
    for start in range(0, resamples, block):
        yield _clip_counts(clips, speakers, min(block, resamples - start), generator)


def _clip_counts(
    clips: int, speakers: Sequence[str] | None, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """How often each resample holds each clip, (resamples, clips)."""
    if speakers is None:
        return generator.multinomial(clips, np.full(clips, 1 / clips), size=resamples)
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).T
    counts = np.zeros((resamples, clips), dtype=np.int64)
    clips_of = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    for own, drawn in zip(clips_of, times, strict=True):
        if len(own) == 1:
            counts[:, own[0]] = drawn
            continue
        # A speaker drawn k times brings k times as many clips, drawn from the speaker's clips.
        counts[:, own] = generator.multinomial(drawn * len(own), np.full(len(own), 1 / len(own)))
    return counts

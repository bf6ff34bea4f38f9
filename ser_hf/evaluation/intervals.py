"""Bootstrap intervals: how far a metric would move with other speakers and other clips of them.

The hierarchical bootstrap draws speakers with replacement, then clips of each drawn speaker with replacement (Davison
and Hinkley 1997, section 3.8). With few speakers it promises too much (with four, a nominal 95 % covers about 81 %),
so reports with fewer than ten say so and show the interval over clips alone beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

FEW_SPEAKERS = 10


def bootstrap_intervals(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Percentile intervals {metric: [low, high]} of UAR, WA, macro-F1 and weighted F1.

    Args:
        labels: (clips,) class ids.
        predictions: (clips,), or (runs, clips) for several seeds on the same clips: the metric is then the runs' mean.
        speakers: (clips,) for the hierarchical bootstrap; None draws clips alone.
    """
    labels, predictions = np.asarray(labels), np.atleast_2d(predictions)
    generator = np.random.default_rng(seed)
    weights = _clip_counts(len(labels), speakers, resamples, generator)
    return _percentiles(np.mean([_metrics(weights, labels, run, classes) for run in predictions], axis=0), confidence)


def fold_intervals(
    folds: Sequence[tuple[np.ndarray, np.ndarray, Sequence[str] | None]],
    classes: int,
    draw_folds: bool,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Percentile intervals of a metric's mean over folds.

    Args:
        folds: labels (clips,), predictions (runs, clips) and speakers (clips,) or None of each fold, as
            `bootstrap_intervals` takes them.
        draw_folds: draw the folds with replacement as well. In leave-one-speaker-out they are the speakers; where a
            fold has several speakers this counts their variation twice, which errs on the wide side. Where a speaker
            stands in several folds, speakers are drawn once for all folds instead, and folds are not.
    """
    generator = np.random.default_rng(seed)
    of_fold = [sorted(set(speakers)) for _, _, speakers in folds if speakers is not None]
    everyone = sorted({speaker for own in of_fold for speaker in own})
    drawn = None
    if sum(map(len, of_fold)) > len(everyone):
        counts = generator.multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), size=resamples)
        drawn = dict(zip(everyone, counts.T, strict=True))
        draw_folds = False
    values = []  # (folds, metrics, resamples)
    for labels, predictions, speakers in folds:
        weights = _clip_counts(len(labels), speakers, resamples, generator, drawn)
        runs = [_metrics(weights, labels, run, classes) for run in np.atleast_2d(predictions)]
        values.append(np.mean(runs, axis=0))
    stacked = np.stack(values)
    if draw_folds:
        chosen = generator.integers(len(folds), size=(len(folds), resamples))
        # Each drawn fold brings a resample of its own, so that a fold drawn twice is not the same twice.
        stacked = stacked[chosen, :, generator.integers(resamples, size=chosen.shape)].transpose(0, 2, 1)
    return _percentiles(np.nanmean(stacked, axis=0), confidence)


def _percentiles(values: np.ndarray, confidence: float) -> dict[str, list[float]]:
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail], axis=1)
    names = ("uar", "wa", "macro_f1", "weighted_f1")
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(names)}


def _clip_counts(
    clips: int,
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """How often each clip stands in each resample, (resamples, clips); `drawn` says how often each speaker does,
    (resamples,), where that is settled elsewhere."""
    if speakers is None:
        return generator.multinomial(clips, np.full(clips, 1 / clips), size=resamples)
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    members = [np.flatnonzero(of == i) for i in range(len(names))]
    if drawn is None:
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).T
    else:
        times = [drawn[name] for name in names]
    counts = np.zeros((resamples, clips), dtype=np.int64)
    for i, own in enumerate(members):
        # A speaker drawn k times brings k times as many clips, drawn from its own.
        counts[:, own] = generator.multinomial(times[i] * len(own), np.full(len(own), 1 / len(own)))
    return counts


def _metrics(weights: np.ndarray, labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """UAR, WA, macro-F1, weighted F1 of every resample at once, (4, resamples)."""
    label, predicted = np.eye(classes)[labels], np.eye(classes)[predictions]
    support, called = weights @ label, weights @ predicted
    hits = weights @ (label * predicted)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample lacks has no recall; it is left out of that resample's mean. So is a fold of which no
        # speaker was drawn.
        recall = np.where(support > 0, hits / support, np.nan)
        f1 = np.where(support > 0, 2 * hits / (support + called), np.nan)
        total = weights.sum(axis=1)
        weighted = np.nansum(f1 * support, axis=1) / total
        return np.stack([_mean(recall), hits.sum(axis=1) / total, _mean(f1), weighted])


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over classes of what is known, (resamples,)."""
    return np.nansum(values, axis=1) / np.isfinite(values).sum(axis=1)

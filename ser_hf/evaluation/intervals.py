"""Bootstrap intervals: how far a metric would move with other speakers and other clips of them.

The hierarchical bootstrap draws speakers with replacement, then clips of each drawn speaker with replacement (Davison
and Hinkley 1997, section 3.8). With few speakers it promises too much (with four, a nominal 95 % covers about 81 %),
so reports with fewer than ten say so and show the interval over clips alone beside it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .judged import Judged
from .weighted import Measure, mean_of_known, measure, recalls

FEW_SPEAKERS = 10
# Counts that are drawn at once: memory stays flat however many clips there are.
_DRAWN_AT_ONCE = 4_000_000

Intervals = dict[str, list[float]]


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
        predictions: (clips,), or (runs, clips) for several seeds on the same clips: the metric is then the runs' mean.
        speakers: (clips,) for the hierarchical bootstrap; None draws clips alone.
    """
    labels = np.asarray(labels)
    runs = [measure(labels, run, classes) for run in np.atleast_2d(predictions)]
    return _percentiles(_resampled(runs, len(labels), speakers, resamples, np.random.default_rng(seed)), confidence)


def judged_intervals(
    judged: Judged, by_speaker: bool, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Intervals:
    """The same of every metric that the answers have (`ser_hf.evaluation.metrics.all_metrics`); one that no resample
    defines is left out. `by_speaker` draws speakers and their clips, otherwise clips alone are drawn."""
    speakers = judged.speakers if by_speaker else None
    generator = np.random.default_rng(seed)
    return _percentiles(_resampled(_measures(judged), len(judged), speakers, resamples, generator), confidence)


def recall_intervals(
    judged: Judged, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> list[list[float] | None]:
    """[low, high] of each class's recall over speakers and their clips; None for a class without a clip."""
    classes, generator = len(judged.names), np.random.default_rng(seed)
    pairs = [np.eye(classes * classes)[judged.labels * classes + run] for run in judged.predictions]
    blocks = []
    for weights in draws(len(judged), judged.speakers, resamples, generator):
        counts = [(weights @ pair).reshape(-1, classes, classes) for pair in pairs]
        blocks.append(np.mean([recalls(own) for own in counts], axis=0))
    return [percentile(own, confidence) for own in np.concatenate(blocks).T]


def fold_intervals(
    folds: Sequence[Judged],
    draw_folds: bool,
    by_speaker: bool = True,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals of a metric's mean over folds, of every metric that the answers have.

    Args:
        folds: the judged clips of each.
        draw_folds: draw the folds with replacement as well. In leave-one-speaker-out they are the speakers; where a
            fold has several speakers this counts their variation twice, which errs on the wide side. Where a speaker
            stands in several folds, speakers are drawn once for all folds instead, and folds are not.
        by_speaker: draw speakers and their clips, otherwise clips alone.
    """
    generator = np.random.default_rng(seed)
    of_fold = [sorted(set(fold.speakers)) for fold in folds if by_speaker]
    everyone = sorted({speaker for own in of_fold for speaker in own})
    drawn = None
    if sum(map(len, of_fold)) > len(everyone):
        counts = generator.multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), size=resamples)
        drawn = dict(zip(everyone, counts.T, strict=True))
        draw_folds = False
    values = []
    for fold in folds:
        speakers = fold.speakers if by_speaker else None
        values.append(_resampled(_measures(fold), len(fold), speakers, resamples, generator, drawn))
    stacked = {name: np.stack([own[name] for own in values]) for name in values[0]}  # (folds, resamples) each
    if draw_folds:
        chosen = generator.integers(len(folds), size=(len(folds), resamples))
        # Each drawn fold brings a resample of its own, so that a fold drawn twice is not the same twice.
        own = generator.integers(resamples, size=chosen.shape)
        stacked = {name: one[chosen, own] for name, one in stacked.items()}
    return _percentiles({name: mean_of_known(one.T) for name, one in stacked.items()}, confidence)


def percentile(values: np.ndarray, confidence: float) -> list[float] | None:
    """[low, high] of what resamples gave, nan left out; None where there is nothing else."""
    known = values[np.isfinite(values)]
    tail = 100 * (1 - confidence) / 2
    return [float(end) for end in np.percentile(known, [tail, 100 - tail])] if len(known) else None


def draws(
    clips: int,
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """How often each clip stands in each resample, in blocks of (some resamples, clips): `resamples` in all. `drawn`
    says how often each speaker does, (resamples,), where that is settled elsewhere."""
    block = max(1, _DRAWN_AT_ONCE // max(clips, 1))
    for start in range(0, resamples, block):
        end = min(start + block, resamples)
        own = None if drawn is None else {name: counts[start:end] for name, counts in drawn.items()}
        yield _clip_counts(clips, speakers, end - start, generator, own)


def _measures(judged: Judged) -> list[Measure]:
    classes = len(judged.names)
    return [measure(judged.labels, run.argmax(axis=1), classes, run, judged.votes) for run in judged.probabilities]


def _resampled(
    runs: Sequence[Measure],
    clips: int,
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Each metric's mean over the runs in each resample, (resamples,)."""
    blocks = []
    for weights in draws(clips, speakers, resamples, generator, drawn):
        measured = [run(weights) for run in runs]
        blocks.append({name: np.mean([own[name] for own in measured], axis=0) for name in measured[0]})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _percentiles(values: Mapping[str, np.ndarray], confidence: float) -> Intervals:
    found = {name: percentile(own, confidence) for name, own in values.items()}
    return {name: own for name, own in found.items() if own is not None}


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

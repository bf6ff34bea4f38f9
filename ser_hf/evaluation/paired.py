"""Paired comparison: is a difference between answers to the same clips more than the draw of clips and speakers?

Two tests that ask different things. The bootstrap draws speakers, then clips of each, the same for both sides, and
sees how the difference moves; where a side has several seeds it draws those too. Its p-value is twice the share of
resamples in which the difference is zero or of the other sign. Drawing in two stages counts the variation of clips
twice over, which errs on the wide side where speakers are many and alike; with few of them it promises too much.
McNemar's test (1947) counts the clips that one side alone gets right, as Dietterich (1998) recommends for classifiers
that were trained once. It is about WA only and takes clips for independent, which those of one speaker are not: it
finds differences more readily than there are.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2

from .bootstrap import Measure, draws, measure, percentile

METRICS = ("uar", "wa", "macro_f1")
# Fewer discordant pairs than this, and chi squared is no good approximation.
FEW_DISCORDANT = 25


def paired_comparison(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """{metric: {a, b, difference, interval, clip_interval, p}} of UAR, WA and macro-F1, a less b.

    Exchanging a and b changes signs and nothing else.

    Args:
        labels: class ids, (clips,).
        a, b: predicted class ids, (clips,), or (runs, clips) for several seeds: the metric is then the runs' mean, and
            the bootstrap draws them as well. Of sides with equally many, those of one place go together: put equal
            seeds there. A handful of seeds shows less than their whole variation.
        speakers: of each clip, (clips,); None draws clips alone, as `clip_interval` always does.
        confidence: of the percentile intervals [low, high].
    """
    return compare_answers(labels, {"a": a, "b": b}, classes, speakers, resamples, confidence, seed)["a", "b"]


def compare_answers(
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """`paired_comparison` of every two of `answers`, in their order, all on the same resamples."""
    labels = np.asarray(labels)
    measures = {name: [measure(labels, run, classes) for run in np.atleast_2d(runs)] for name, runs in answers.items()}
    plain = {name: _means(own, np.ones((1, len(labels)))) for name, own in measures.items()}
    by_speaker = clips_alone = _bootstrap(measures, len(labels), None, resamples, seed)
    if speakers is not None:
        by_speaker = _bootstrap(measures, len(labels), speakers, resamples, seed)
    compared = {}
    for a, b in itertools.combinations(answers, 2):
        compared[a, b] = {}
        for metric in METRICS:
            drawn = by_speaker[a][metric] - by_speaker[b][metric]
            own, other = float(plain[a][metric][0]), float(plain[b][metric][0])
            compared[a, b][metric] = {
                "a": own,
                "b": other,
                "difference": own - other,
                "interval": percentile(drawn, confidence),
                "clip_interval": percentile(clips_alone[a][metric] - clips_alone[b][metric], confidence),
                "p": sign_p(drawn),
            }
    return compared


def _bootstrap(
    measures: Mapping[str, Sequence[Measure]], clips: int, speakers: Sequence[str] | None, resamples: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """{name: {metric: (resamples,)}}, every name under the same draws."""
    generator = np.random.default_rng(seed)
    # Seeds are drawn by their number alone, so that no side's draw hangs on which comes first.
    of_runs = {n: np.random.default_rng([seed, n]) for n in {len(own) for own in measures.values()} if n > 1}
    blocks: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in measures}
    for weights in draws(clips, speakers, resamples, generator):
        chosen = {n: own.integers(n, size=(n, len(weights))) for n, own in of_runs.items()}
        weights = weights.astype(np.float64)  # once, not in each measure
        for name, own in measures.items():
            blocks[name].append(_means(own, weights, chosen.get(len(own))))
    return {
        name: {metric: np.concatenate([block[metric] for block in own]) for metric in METRICS}
        for name, own in blocks.items()
    }


def _means(runs: Sequence[Measure], weights: np.ndarray, chosen: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Each metric's mean over the runs, or over those that are `chosen`, (runs, resamples), under each of the weights
    (resamples, clips)."""
    measured = [run(weights) for run in runs]
    values = {metric: np.stack([own[metric] for own in measured]) for metric in METRICS}
    if chosen is not None:
        values = {metric: np.take_along_axis(own, chosen, axis=0) for metric, own in values.items()}
    return {metric: own.mean(axis=0) for metric, own in values.items()}


def sign_p(differences: np.ndarray) -> float:
    """Two-sided p-value of resampled differences: twice the share that is zero or of the rarer sign, at most 1. One is
    added to count and number, as no finite number of resamples shows that something never happens (Davison and
    Hinkley 1997, section 4.2)."""
    known = differences[np.isfinite(differences)]
    rarer = min(np.sum(known <= 0), np.sum(known >= 0))
    return float(min(1.0, 2 * (rarer + 1) / (len(known) + 1)))


def mcnemar(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """McNemar's test of whether a and b err equally often: {only_a, only_b, test, p}.

    `only_a` counts the clips that a alone gets right. Where fewer than 25 clips are one side's, `test` is "exact"
    (binomial), otherwise "chi squared" with Edwards's (1948) correction, (|only_a - only_b| - 1)^2 over their sum.

    Args:
        labels, a, b: class ids, (clips,).
    """
    right, other = np.asarray(a) == labels, np.asarray(b) == labels
    only_a, only_b = int(np.sum(right & ~other)), int(np.sum(other & ~right))
    discordant = only_a + only_b
    counts = {"only_a": only_a, "only_b": only_b}
    if discordant < FEW_DISCORDANT:
        p = binomtest(only_a, discordant).pvalue if discordant else 1.0
        return counts | {"test": "exact", "p": float(p)}
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / discordant
    return counts | {"test": "chi squared", "p": float(chi2.sf(statistic, df=1))}


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for as many tests as there are (Holm 1979): below 0.05 each, the chance of one false alarm
    among all of them is at most 5 %, whatever they have to do with each other."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected

"""Paired comparison: is a difference between predictions for the same clips more than chance?

The bootstrap draws speakers, then clips of each, the same for both sides; of a side with several seeds it draws those
too. Its p-value is twice the share of resamples in which the difference is zero or of the other sign. Drawing in two
stages counts the variation of clips twice, which errs on the wide side if speakers are many and alike; with few
speakers its intervals are too narrow. McNemar's test (1947) counts the clips that only one side recognizes, as
Dietterich (1998) recommends for classifiers that were trained once. It is about WA only and takes clips for
independent, which those of one speaker are not: it finds differences more readily than there are.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from .bootstrap import draws, percentile
from .metrics import Outputs, compute

METRICS = ("uar", "wa", "macro_f1")


def paired_comparison(
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """{(a, b): {metric: {a, b, difference, interval, clip_interval, p}}} of UAR, WA and macro-F1 of every two of
    `predictions`, a less b, all on the same resamples. Exchanging a and b changes signs and nothing else.

    Args:
        labels: class ids, (clips,).
        predictions: predicted class ids by name, (clips,), or (runs, clips) for several seeds: the metric is then the
            runs' mean, and the bootstrap draws them as well. Runs at the same place of sides with equally many are
            drawn together: put equal seeds there. A few seeds show less than their whole variation.
        speakers: (clips,); None draws clips alone, as `clip_interval` always does.
        confidence: of the percentile intervals [low, high].
    """
    sides = {
        name: [Outputs(np.asarray(labels), run, classes) for run in np.atleast_2d(runs)]
        for name, runs in predictions.items()
    }
    plain = {name: _mean(own, np.ones((1, len(labels)))) for name, own in sides.items()}
    by_speaker = by_clip = _bootstrap(sides, None, resamples, seed)
    if speakers is not None:
        by_speaker = _bootstrap(sides, speakers, resamples, seed)
    compared = {}
    for a, b in itertools.combinations(sides, 2):
        compared[a, b] = {}
        for metric in METRICS:
            drawn = by_speaker[a][metric] - by_speaker[b][metric]
            own, other = float(plain[a][metric][0]), float(plain[b][metric][0])
            compared[a, b][metric] = {
                "a": own,
                "b": other,
                "difference": own - other,
                "interval": percentile(drawn, confidence),
                "clip_interval": percentile(by_clip[a][metric] - by_clip[b][metric], confidence),
                "p": sign_p(drawn),
            }
    return compared


def _bootstrap(
    sides: Mapping[str, Sequence[Outputs]], speakers: Sequence[str] | None, resamples: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """{name: {metric: (resamples,)}}, every name under the same draws."""
    clips = len(next(iter(sides.values()))[0].labels)
    # One generator for each number of seeds, so that no side's draw depends on the order of the sides.
    of_runs = {n: np.random.default_rng([seed, n]) for n in {len(own) for own in sides.values()} if n > 1}
    blocks: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in sides}
    for weights in draws(clips, speakers, resamples, np.random.default_rng(seed)):
        chosen = {n: own.integers(n, size=(n, len(weights))) for n, own in of_runs.items()}
        for name, own in sides.items():
            blocks[name].append(_mean(own, weights, chosen.get(len(own))))
    return {
        name: {metric: np.concatenate([block[metric] for block in own]) for metric in METRICS}
        for name, own in blocks.items()
    }


def _mean(runs: Sequence[Outputs], weights: np.ndarray, chosen: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Each metric's mean over the runs, or over the `chosen` ones, (runs, resamples)."""
    measured = [compute(run, weights, METRICS) for run in runs]
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
    """McNemar's exact test (binomial) of whether class ids a and b, (clips,), err equally often: {only_a, only_b,
    p}, with the numbers of clips that only one side recognizes."""
    right, other = np.asarray(a) == labels, np.asarray(b) == labels
    only_a, only_b = int(np.sum(right & ~other)), int(np.sum(other & ~right))
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for as many tests as there are (Holm 1979): below 0.05 each, the chance of one false alarm
    among all of them is at most 5 %, whether or not they depend on each other."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected

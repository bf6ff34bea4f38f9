"""The report's section about an adaptation to groups of clips without labels."""

import dataclasses

import numpy as np

from .bootstrap import clip_draws, measure, percentile, percentiles, resample, speaker_keys
from .metrics import mean_metrics, values
from .predictions import Predictions
from .sections import Adaptation, Interval


def adaptation_section(
    predictions: Predictions,
    adapted_probabilities: np.ndarray,
    *,
    grouping: str,
    adapted: np.ndarray,
    groups: int,
    adapted_groups: int,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Adaptation:
    """Compare predictions with and without adaptation.

    Args:
        predictions: predictions without adaptation, of one run.
        adapted_probabilities: probabilities or values of the same clips with adaptation, (clips,
            classes).
        grouping: how clips are grouped.
        adapted: whether the group of each clip is large enough, (clips,).
        groups, adapted_groups: numbers of groups, and of those that are large enough.
    """
    with_adaptation = dataclasses.replace(predictions, probabilities=adapted_probabilities[None])
    metrics = mean_metrics([values(outputs) for outputs in with_adaptation.outputs])
    drawn = resample(
        [measure(with_adaptation.outputs), measure(predictions.outputs)],
        clip_draws(predictions.ids, speaker_keys(predictions), bootstrap, np.random.default_rng(0)),
    )
    intervals = {
        name: interval
        for name, interval in percentiles(drawn[0], confidence).items()
        if metrics.get(name) is not None
    }
    main = predictions.task.main
    without = mean_metrics([values(outputs, [main]) for outputs in predictions.outputs])[main]
    difference = None
    interval: Interval | None = None
    if metrics[main] is not None and without is not None:
        difference = metrics[main] - without
        interval = percentile(drawn[0][main] - drawn[1][main], confidence)
    return Adaptation(
        grouping=grouping,
        groups=groups,
        adapted_groups=adapted_groups,
        clips=int(adapted.sum()),
        metrics=metrics,
        intervals=intervals,
        difference=difference,
        difference_interval=interval,
    )


def mean_adaptation(sections: list[Adaptation]) -> Adaptation:
    """The mean over folds or seeds; without intervals."""
    differences = [section.difference for section in sections]
    mean_difference = None
    if None not in differences:
        mean_difference = float(np.mean(differences))
    return Adaptation(
        grouping=sections[0].grouping,
        groups=sum(section.groups for section in sections),
        adapted_groups=sum(section.adapted_groups for section in sections),
        clips=sum(section.clips for section in sections),
        metrics=mean_metrics([section.metrics for section in sections]),
        difference=mean_difference,
    )

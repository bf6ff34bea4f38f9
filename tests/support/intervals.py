"""Intervals and slices of predictions, as `ser_hf.evaluation.summary` computes them together."""

import numpy as np

from ser_hf.evaluation import bootstrap
from ser_hf.evaluation.outputs import Outputs
from ser_hf.evaluation.slices import measure_slices, slices_and_gaps
from ser_hf.evaluation.tasks import EMOTIONS


def _resampled(measured, predictions, by_speaker, resamples, seed=0):
    speakers = bootstrap.speaker_keys(predictions) if by_speaker else None
    generator = np.random.default_rng(seed)
    return bootstrap.resample(
        [measured], bootstrap.clip_draws(predictions.ids, speakers, resamples, generator)
    )[0]


def bootstrap_intervals(
    labels, predictions, classes, speakers=None, resamples=2000, confidence=0.95, seed=0
):
    """Of UAR, WA, macro-F1 and weighted F1 of class ids (clips,), or (runs, clips) for the mean
    over runs.
    """
    runs = [Outputs(np.asarray(labels), run, classes) for run in np.atleast_2d(predictions)]
    drawn = bootstrap.draws(len(runs[0].labels), speakers, resamples, np.random.default_rng(seed))
    (values,) = bootstrap.resample([bootstrap.measure(runs, EMOTIONS.headline)], drawn)
    return bootstrap.percentiles(values, confidence)


def metric_intervals(predictions, by_speaker, resamples=2000, confidence=0.95, seed=0):
    values = _resampled(
        bootstrap.measure(predictions.outputs), predictions, by_speaker, resamples, seed
    )
    return bootstrap.percentiles(values, confidence)


def recall_intervals(predictions, resamples=2000, confidence=0.95):
    values = _resampled(
        bootstrap.measure_recalls(predictions.outputs), predictions, True, resamples
    )
    return [bootstrap.percentile(recalls, confidence) for recalls in values["recall"].T]


def slice_metrics(predictions, resamples=2000, confidence=0.95):
    groups, speakers = measure_slices(predictions)
    values = _resampled(groups, predictions, True, resamples)
    return slices_and_gaps(
        predictions, values | _resampled(speakers, predictions, False, resamples), confidence
    )

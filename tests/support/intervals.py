"""Intervals and slices of predictions, as `ser_hf.evaluation.summary` computes them together."""

import numpy as np

from ser_hf.evaluation.bootstrap import (
    clip_draws,
    draws,
    measure,
    measure_recalls,
    percentile,
    percentiles,
    resample,
    speaker_keys,
)
from ser_hf.evaluation.metrics import Outputs
from ser_hf.evaluation.slices import measure_slices, slices_and_gaps
from ser_hf.evaluation.tasks import EMOTIONS


def _resampled(measured, predictions, by_speaker, resamples, seed=0):
    speakers = speaker_keys(predictions) if by_speaker else None
    generator = np.random.default_rng(seed)
    return resample([measured], clip_draws(predictions.ids, speakers, resamples, generator))[0]


def bootstrap_intervals(labels, predictions, classes, speakers=None, resamples=2000, confidence=0.95, seed=0):
    """Of UAR, WA, macro-F1 and weighted F1 of class ids (clips,), or (runs, clips) for the mean over runs."""
    runs = [Outputs(np.asarray(labels), run, classes) for run in np.atleast_2d(predictions)]
    drawn = draws(len(runs[0].labels), speakers, resamples, np.random.default_rng(seed))
    return percentiles(resample([measure(runs, EMOTIONS.headline)], drawn)[0], confidence)


def metric_intervals(predictions, by_speaker, resamples=2000, confidence=0.95, seed=0):
    return percentiles(_resampled(measure(predictions.outputs), predictions, by_speaker, resamples, seed), confidence)


def recall_intervals(predictions, resamples=2000, confidence=0.95):
    values = _resampled(measure_recalls(predictions.outputs), predictions, True, resamples)
    return [percentile(own, confidence) for own in values["recall"].T]


def slice_metrics(predictions, resamples=2000, confidence=0.95):
    groups, speakers = measure_slices(predictions)
    values = _resampled(groups, predictions, True, resamples)
    return slices_and_gaps(predictions, values | _resampled(speakers, predictions, False, resamples), confidence)

"""Intervals and slices of predictions, as `ser_hf.evaluation.summary` computes them together."""

from ser_hf.evaluation.bootstrap import all_of, judged_draws, percentile, percentiles, recalls_of, resample
from ser_hf.evaluation.slices import slices_and_gaps, uars_of


def judged_intervals(judged, by_speaker, resamples=2000, confidence=0.95, seed=0):
    (values,) = resample([all_of(judged)], judged_draws(judged, by_speaker, resamples, seed))
    return percentiles(values, confidence)


def recall_intervals(judged, resamples=2000, confidence=0.95, seed=0):
    (values,) = resample([recalls_of(judged)], judged_draws(judged, True, resamples, seed))
    return [percentile(own, confidence) for own in values["recall"].T]


def slice_metrics(judged, resamples=2000, confidence=0.95, seed=0):
    kinds, speakers = uars_of(judged)
    (of_kinds,) = resample([kinds], judged_draws(judged, True, resamples, seed))
    (of_speakers,) = resample([speakers], judged_draws(judged, False, resamples, seed))
    return slices_and_gaps(judged, of_kinds | of_speakers, confidence)

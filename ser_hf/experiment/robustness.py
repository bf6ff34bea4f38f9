"""Measures the robustness of a model: its results on degraded copies of the evaluated clips."""

from collections.abc import Sequence

import numpy as np

from ..evaluation.predictions import Predictions
from ..evaluation.robustness import robustness
from ..evaluation.sections import Robustness
from ..inference.batches import classify
from ..inference.classifier import Classifier
from ..models.preparation import prepare_waveform
from .label_mapping import LabelMapping


def robustness_of(
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    waveforms: Sequence[np.ndarray],
    *,
    window: float | None = None,
    batch_size: int = 16,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Robustness:
    """Evaluate a model on degraded clips, for the report's `robustness`.

    Args:
        predictions: the predictions of the clean clips, for comparison.
        waveforms: the clips as recorded, at the model's rate, before the model's preparation.
        window: length in seconds; longer clips are processed in windows.
        batch_size: number of windows in a batch.
        bootstrap: number of resamples.
        confidence: confidence of the intervals, between 0 and 1.
    """
    rate = classifier.extractor.sampling_rate

    def predict(clips: list[np.ndarray]) -> np.ndarray:
        prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
        names = [f"clip {i}" for i in range(len(clips))]
        probabilities = classify(
            classifier, prepared, names, progress=False, window=window, batch_size=batch_size
        )
        return mapping.to_classes(probabilities)

    return robustness(
        predict,
        waveforms,
        predictions,
        rate=rate,
        bootstrap=bootstrap,
        confidence=confidence,
    )

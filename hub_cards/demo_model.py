"""The model of a page on this machine, loaded by ser_hf: every model that `ser-hf predict` takes.

A Space has space_model.py in its place.
"""

from collections.abc import Iterator

import numpy as np

from ser_hf.inference.batches import classify_targets
from ser_hf.inference.load import load_classifier
from ser_hf.models.preparation import prepare_waveform


class Model:
    """A model of facts.json; see `Model` of space_model.py for the attributes."""

    def __init__(self, facts: dict):
        self.classifier = load_classifier(
            facts["model"],
            revision=facts["revision"],
            trust_remote_code=facts["trust_remote_code"],
            label_names=facts["label_names"],
        )
        self.config = self.classifier.model.config
        self.extractor = self.classifier.extractor
        self.fixed_duration = self.classifier.preparation.fixed_duration
        self.outputs = [*self.classifier.labels, *self.classifier.rating_ranges]

    def predict(self, clips: list[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
        """The outputs (outputs,) of each clip: probabilities, or values from 0 to 1."""
        preparation = self.classifier.preparation
        rate = self.extractor.sampling_rate
        for i in range(0, len(clips), batch_size):
            batch = clips[i : i + batch_size]
            clips_of_batch = classify_targets(
                self.classifier,
                [prepare_waveform(clip, rate, preparation) for clip in batch],
                [f"clip {i + j}" for j in range(len(batch))],
                batch_size=batch_size,
                progress=False,
            )
            outputs = clips_of_batch.predictions
            if clips_of_batch.ratings is not None:
                outputs = np.concatenate([outputs, clips_of_batch.ratings], axis=1)
            yield from outputs

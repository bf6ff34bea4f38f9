"""The model of the page, loaded by transformers."""

from collections.abc import Iterator

import numpy as np
from transformers import AudioClassificationPipeline, pipeline


class _PipelineOfTargets(AudioClassificationPipeline):
    """A pipeline that adds the ratings of a model of labels and ratings to the scores."""

    def postprocess(self, model_outputs, **settings) -> list[dict]:
        rows = super().postprocess(model_outputs, **settings)
        ratings = model_outputs.get("ratings")
        names = getattr(self.model.config, "dimension_names", None)
        if ratings is not None and names:
            values = ratings[0].float().tolist()
            rows += [
                {"label": name, "score": value} for name, value in zip(names, values, strict=True)
            ]
        return rows


class Model:
    """A model of facts.json.

    Attributes:
        config: its configuration.
        extractor: its feature extractor.
        fixed_duration: seconds to which each clip is cut or padded; None for whole clips.
        outputs: the names of its labels, then of the dimensions that it predicts beside them.
    """

    def __init__(self, facts: dict):
        self.pipeline = pipeline(
            "audio-classification",
            model=facts["model"],
            revision=facts["revision"],
            trust_remote_code=facts["trust_remote_code"],
            pipeline_class=_PipelineOfTargets,
        )
        self.config = self.pipeline.model.config
        self.extractor = self.pipeline.feature_extractor
        self.fixed_duration = getattr(self.extractor, "fixed_duration", None)
        labels = [self.config.id2label[i] for i in range(self.config.num_labels)]
        self.outputs = [*labels, *(getattr(self.config, "dimension_names", None) or ())]

    def predict(self, clips: list[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
        """The outputs (outputs,) of each clip: probabilities, or values from 0 to 1.

        Clips of different lengths are predicted one by one: not every model ignores padding.
        """
        size = batch_size if len({len(clip) for clip in clips}) == 1 else 1
        rate = self.extractor.sampling_rate
        for i in range(0, len(clips), size):
            inputs = [{"raw": clip, "sampling_rate": rate} for clip in clips[i : i + size]]
            for rows in self.pipeline(inputs, batch_size=size, top_k=None):
                scores = {row["label"]: row["score"] for row in rows}
                yield np.array([scores[name] for name in self.outputs])

"""Made-up predictions, for tests of metrics and reports."""

import numpy as np

from ser_hf.evaluation.predictions import CLIP_COLUMNS, Predictions
from ser_hf.training.fit import window_logits


def predictions_of(
    labels, predictions, classes, speakers=None, probabilities=None, names=None, **columns
):
    """Predicted class ids, (clips,) or (runs, clips), with probability one unless probabilities are
    given.
    """
    labels = np.asarray(labels)
    runs = np.atleast_2d(predictions)
    if probabilities is None:
        probabilities = np.eye(classes)[runs]
    known = dict.fromkeys(CLIP_COLUMNS, [None] * len(labels)) | {"corpus": ["toy"] * len(labels)}
    known["speaker"] = (
        [f"s{i}" for i in range(len(labels))]
        if speakers is None
        else [name if name is None else str(name) for name in speakers]
    )
    names = names or [f"class{i}" for i in range(classes)]
    ids = [f"toy/{i}" for i in range(len(labels))]
    return Predictions(names, ids, labels, np.asarray(probabilities, np.float32), known | columns)


def guesses(clips, classes, runs=1, seed=0, sharpness=1.5):
    """Labels (clips,) and probabilities (runs, clips, classes) that are better than chance."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    logits = generator.normal(size=(runs, clips, classes)) + sharpness * np.eye(classes)[labels]
    shares = np.exp(logits)
    return labels, (shares / shares.sum(axis=2, keepdims=True)).astype(np.float32)


def predict(trainer, part):
    """Row numbers (clips,) and logits (clips, outputs) of a trained model, windows merged."""
    return window_logits(trainer, part).merged(trainer.model.config.problem_type)

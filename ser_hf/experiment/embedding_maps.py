"""Maps the embeddings of the evaluated clips, for the report's `embeddings`."""

import logging
from collections.abc import Sequence

import numpy as np

from ..evaluation.maps import ClipMap, map_embeddings, no_map, sampled_clips
from ..evaluation.predictions import Predictions
from ..inference.batches import NoEmbeddings, classify_and_embed
from ..inference.classifier import Classifier

logger = logging.getLogger(__name__)

# The message has no name of the model, which may be a path of this machine.
NO_EMBEDDINGS = "the model does not have one vector per clip before its last layer"


def has_embeddings(classifier: Classifier, waveform: np.ndarray) -> bool:
    """Whether a model has one embedding per clip; it processes a prepared clip to find out.

    If it has none, a line is logged.
    """
    try:
        classify_and_embed(
            classifier, [waveform], ["the first clip"], np.array([0]), progress=False
        )
    except NoEmbeddings as error:
        logger.info("no map: %s", error)
        return False
    return True


def map_of(
    classifier: Classifier,
    predictions: Predictions,
    waveforms: Sequence[np.ndarray],
    method: str,
    *,
    window: float | None = None,
    batch_size: int = 16,
) -> ClipMap:
    """Compute the embeddings of clips with a model, and map them.

    Args:
        predictions: the predictions of the evaluated clips.
        waveforms: the prepared clips, at the model's rate, in the order of the predictions.
        method: one of `ser_hf.evaluation.maps.METHODS`.
        window: length in seconds; longer clips are processed in windows.
        batch_size: number of windows in a batch.
    """
    if not has_embeddings(classifier, waveforms[0]):
        return no_map(method, len(predictions), NO_EMBEDDINGS)
    rows = sampled_clips(len(predictions))
    embedded = classify_and_embed(
        classifier,
        [waveforms[row] for row in rows],
        [predictions.ids[row] for row in rows],
        np.arange(len(rows)),
        window=window,
        batch_size=batch_size,
    )
    return map_embeddings(
        predictions.only(rows), embedded.vectors, method, of_clips=len(predictions)
    )

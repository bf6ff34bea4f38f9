"""Decides whether the speakers of a corpus differ in recording level (`audio.level: auto`)."""

import logging
import random
from collections.abc import Sequence

import pandas as pd
from datasets import Dataset

from ..audio import WaveformStore
from ..evaluation.slices import explained_variance
from ..models.preparation import gated_loudness
from ..protocols import Split
from .recipe import Recipe

logger = logging.getLogger(__name__)

# `audio.level: auto` sets every clip to the same loudness if the speaker explains more than this
# share of the variance of loudness.
LEVEL_SHARE = 0.5
_MEASURED_CLIPS = 1000


def loudness_note(
    recipe: Recipe, dataset: Dataset, store: WaveformStore, splits: Sequence[Split]
) -> str | None:
    """The note for the report if `audio.level: auto` becomes `loudness`; None if it becomes null.

    Args:
        store: the recordings at their original levels.
    """
    audio = recipe.audio
    # The level of each clip is normalized anyway by audio.normalize, and for encoders by the
    # extractor or the first layers.
    if audio.level != "auto" or audio.normalize or recipe.model.architecture == "encoder":
        return None
    share = level_share(dataset, store, splits)
    finding = f"The speaker explains {share:.0%} of the variance of the clips' loudness"
    if share > LEVEL_SHARE:
        return (
            f"{finding}, so every clip was set to one loudness (audio.level: auto became loudness)."
        )
    logger.info("%s: audio.level: auto becomes null", finding)
    return None


def level_share(dataset: Dataset, store: WaveformStore, splits: Sequence[Split]) -> float:
    """The share of the variance of the clips' loudness that the speaker explains.

    It is measured on at most `_MEASURED_CLIPS` training and validation clips of any split. Under
    cross-validation these are all clips, so that all folds have the same setting. This is not a
    leak, because levels are not labels.

    Returns:
        The share, from 0 to 1; 0 if it is undefined.
    """
    used: set[int] = set()
    for split in splits:
        used.update(split.rows["train"], split.rows["validation"])
    rows = sorted(used)
    rows = random.Random(0).sample(rows, min(len(rows), _MEASURED_CLIPS))
    loudness = [gated_loudness(store[row], store.sampling_rate) for row in rows]
    speakers = dataset.select(rows)["speaker"][:]
    table = pd.DataFrame({"speaker": speakers, "loudness": loudness}, dtype=object)
    return explained_variance(table.astype({"loudness": float}), "loudness", "speaker") or 0.0

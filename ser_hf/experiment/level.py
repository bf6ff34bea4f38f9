"""Whether the speakers of a corpus differ in recording level (`audio.level: auto`)."""

import logging
import random
from collections.abc import Sequence

import pandas as pd
from datasets import Dataset

from ..audio import WaveformStore
from ..evaluation.slices import explained_variance
from ..models.preparation import gated_loudness
from ..protocols import (
    PARTS,
    Split,
)

logger = logging.getLogger(__name__)


# `audio.level: auto` sets every clip to one loudness if the speaker explains more than this share
# of its variance.
LEVEL_SHARE = 0.5


_MEASURED_CLIPS = 1000


def level_share(dataset: Dataset, store: WaveformStore, splits: Sequence[Split]) -> float:
    """The share of the variance of the clips' loudness that the speaker explains, 0 where it is
    undefined.

    Measured on at most `_MEASURED_CLIPS` of the clips that any split trains or validates with:
    under cross-validation all clips, so that one choice holds for all folds. Levels are no labels.
    """
    rows = sorted({row for split in splits for part in PARTS[:2] for row in split.rows[part]})
    rows = random.Random(0).sample(rows, min(len(rows), _MEASURED_CLIPS))
    loudness = [gated_loudness(store[row], store.sampling_rate) for row in rows]
    table = pd.DataFrame(
        {"speaker": dataset.select(rows)["speaker"][:], "loudness": loudness}, dtype=object
    )
    return explained_variance(table.astype({"loudness": float}), "loudness", "speaker") or 0.0

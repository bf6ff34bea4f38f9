"""The clips by which a run's model is known again wherever it is loaded, and what its training process answers."""

from collections.abc import Sequence

import numpy as np
from peft import PeftModel
from transformers import PreTrainedModel

from .audio import prepare
from .hub.reference import LONGEST, chosen_clips, write_reference
from .material import Material
from .models.preparation import Preparation
from .run_folder import RunFolder
from .sections import Recipe


def keep_reference(
    recipe: Recipe,
    material: Material,
    rows: Sequence[int],
    model: PreTrainedModel | PeftModel,
    folder: RunFolder,
) -> None:
    """Writes reference.npz: a few clips of `rows`, those of the judged part, and the logits of `model`, trained and
    with its temperature."""
    plan, store = material.plan, material.store
    limit = round(LONGEST * store.sampling_rate)
    chosen = [rows[i] for i in chosen_clips(store.source_lengths[list(rows)], limit)]
    if plan.preparation.active:  # the store holds what it made of them
        _, recorded = prepare(
            material.dataset.select(chosen), store.sampling_rate, recipe.audio.cache_dir, Preparation()
        )
        clips = [recorded[i] for i in range(len(chosen))]
    else:
        clips = [store[row] for row in chosen]
    clips = [np.array(clip[:limit]) for clip in clips]
    clips = [np.pad(clip, (0, max(0, plan.shortest_clip - len(clip)))) for clip in clips]
    write_reference(folder.reference, model, plan.extractor, plan.preparation, clips)

"""Writes reference.npz of a run: a few clips, and the logits of the trained model for them."""

import numpy as np
from peft import PeftModel
from transformers import PreTrainedModel

from ..inference.reference import LONGEST, chosen_clips, compute_logits, write_reference
from .clips import evaluated_rows, unprepared_clips
from .context import RunContext


def save_reference(run: RunContext, model: PreTrainedModel | PeftModel) -> None:
    """Write reference.npz with short and long recordings of the evaluated split, and their logits.

    `ser-hf verify` compares these logits with the logits of a published copy.
    """
    plan = run.data.plan
    store = run.data.store
    longest = round(LONGEST * store.sampling_rate)
    rows = evaluated_rows(run)
    # Prefer clips that do not need padding.
    long_enough = [row for row in rows if len(store[row]) >= plan.shortest_clip]
    rows = long_enough or rows
    chosen = [rows[i] for i in chosen_clips(store.source_lengths[rows], longest)]

    recordings = unprepared_clips(run, chosen)
    clips = []
    for i in range(len(chosen)):
        clip = np.array(recordings[i][:longest])
        missing = max(0, plan.shortest_clip - len(clip))
        clips.append(np.pad(clip, (0, missing)))
    logits = compute_logits(model, plan.extractor, plan.preparation, clips)
    write_reference(run.folder.reference, clips, logits, store.sampling_rate)

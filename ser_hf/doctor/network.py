"""Checks of the network before any training: what is trained, and whether padding changes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ..experiment.clips import evaluation_clips
from ..experiment.fitting import trainable_model
from ..report.views import listed
from ..training.arguments import seed_everything
from ..training.collator import Collator
from ..training.fit import fit_statistics
from ..training.sklearn_solver import embed
from ..training.targets import packed_outputs
from ..utils.environment import exact_float32
from ..utils.errors import UserError
from .case import Case
from .result import Fault, Outcome, Problem, left_out
from .short_training import Batch

# Logits may differ by this share of the largest one, and by this number if all are small.
_TOLERANCE = 1e-4
_PADDED_CLIPS = 4
_CLIPS_OF_STATISTICS = 32


def check_parameters(case: Case) -> Outcome:
    """Count the parameters that are trained, and list their learning rates."""
    run = case.run
    if run.recipe.training.solver == "sklearn":
        return left_out("scikit-learn fits the classifier, and no other parameter is trained")
    seed_everything(run.recipe.training.seeds[0])
    model = trainable_model(run, evaluation_clips(run, "train"))
    total = sum(parameter.numel() for parameter in model.parameters())
    try:
        groups = run.arguments().parameter_groups(model)
    except UserError:
        return Outcome(f"{total:,} parameters, all frozen", [_all_frozen(total)])

    parts: dict[str, dict[str, Any]] = {}
    for group in groups:
        part = parts.setdefault(group["name"], {"parameters": 0, "learning_rate": group["lr"]})
        part["parameters"] += sum(parameter.numel() for parameter in group["params"])
    trained = sum(part["parameters"] for part in parts.values())
    text = f"{trained:,} of {total:,} parameters are trained: {listed(_lines(parts))}"
    problems = []
    if all(part["learning_rate"] == 0 for part in parts.values()):
        problems.append(_all_frozen(total))
    return Outcome(text, problems, {"total": total, "trained": trained, "groups": parts})


def _lines(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parameters and learning rate of each part; of many layers the first and the last."""
    lines = [
        f"{name} {part['parameters']:,} at {part['learning_rate']:.3g}"
        for name, part in parts.items()
    ]
    if len(lines) <= 4:
        return lines
    return [*lines[:2], f"{len(lines) - 3} more", lines[-1]]


def _all_frozen(total: int) -> Problem:
    return Problem(
        Fault.ALL_FROZEN,
        f"none of {total:,} parameters is trained",
        "freeze less: lower freeze.layers, raise freeze.top_layers, or leave freeze.encoder out, "
        "and give training.learning_rate a value above 0",
    )


def check_padding(case: Case) -> Outcome:
    """Compare the outputs for clips alone with those for the same clips padded in a batch."""
    run = case.run
    clips = evaluation_clips(run, "train")
    lengths = np.asarray(clips["length"][:])
    # The clips are sorted by length.
    places = np.unique(np.linspace(0, len(clips) - 1, _PADDED_CLIPS).astype(int))
    if len(np.unique(lengths[places])) < 2:
        return left_out("all clips have one length, so no batch is padded")

    batch = clips.select(places)
    difference, scale = _difference(case, batch)
    values = {"difference": difference, "largest": scale}
    text = (
        f"outputs of {len(places)} clips, alone and padded in a batch, differ by at most "
        f"{difference:.1e} (the largest is {scale:.2g})"
    )
    if difference <= _TOLERANCE * max(scale, 1.0):
        return Outcome(text, values=values)
    if not run.data.plan.padding_safe:
        text += (
            "; this checkpoint was pretrained so, and evaluation has batches of clips of one length"
        )
        return Outcome(text, values=values)
    problem = Problem(
        Fault.PADDING_CHANGES_LOGITS,
        text,
        "the network must use attention_mask; until it does, set audio.fixed_duration, so that no "
        "clip is padded by its batch",
    )
    return Outcome(text, [problem], values)


@torch.no_grad()
def _difference(case: Case, clips: Dataset) -> tuple[float, float]:
    """The largest difference of outputs, and the largest output, in absolute values."""
    run = case.run
    arguments = run.arguments()
    arguments.per_device_eval_batch_size = len(clips)
    plan = run.data.plan
    train = evaluation_clips(run, "train")
    seed_everything(arguments.seed)
    model = trainable_model(run, train).to(arguments.device).eval()
    collator = Collator.for_model(model.config, run.data.store, plan.extractor)
    if not plan.has_statistics:
        rows = np.linspace(0, len(train) - 1, min(len(train), _CLIPS_OF_STATISTICS)).astype(int)
        fit_statistics(model, collator, train.select(rows))
        model.eval()

    singles = [clips.select([place]) for place in range(len(clips))]
    with exact_float32():
        if run.recipe.training.solver == "sklearn":
            # The classifier is not fitted: its inputs are compared.
            together = embed(model, collator, clips, arguments)
            alone = np.concatenate([embed(model, collator, clip, arguments) for clip in singles])
        else:
            together = _logits(model, collator([clips[place] for place in range(len(clips))]))
            alone = np.concatenate([_logits(model, collator([clip[0]])) for clip in singles])
    return float(np.abs(together - alone).max()), float(np.abs(alone).max())


def _logits(model: torch.nn.Module, batch: Batch) -> np.ndarray:
    inputs: Sequence = [(name, values) for name, values in batch.items() if name != "labels"]
    on_device = {name: values.to(model.device) for name, values in inputs}
    return packed_outputs(model(**on_device)).float().cpu().numpy()

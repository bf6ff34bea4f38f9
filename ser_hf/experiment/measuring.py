"""Measures a trained model: predictions of each split, temperature, and the numbers of the report."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..evaluation.calibration import at_limit, fit_temperature, temperature_effect
from ..evaluation.metrics import (
    activated,
    all_metrics,
    lower_is_better,
    softmax,
    transductive_note,
)
from ..evaluation.predictions import Predictions, of_rows
from ..evaluation.sections import Temperature
from ..evaluation.summary import ModelFacts, degenerate, evaluate_predictions
from ..loading.batches import WindowLogits, merge
from ..protocols import PARTS
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments
from ..training.checkpoints import size
from ..training.fit import Fit, window_logits
from ..training.lora import plain_parameters
from ..training.sampling import clips_by_corpus
from ..training.sklearn_solver import embed, logits_of
from .context import RunContext
from .fitting import fit_once
from .sections import report_header

logger = logging.getLogger(__name__)


def evaluate_run(run: RunContext, fitted: Fit) -> tuple[Report, dict[str, Predictions]]:
    """Evaluate each split once; this is the only place that uses the test split (`per_speaker`: by
    two fits).

    Returns:
        The report, and the predictions of each split.
    """
    began = time.perf_counter()
    recipe = run.recipe
    data = run.data
    settings = recipe.evaluation
    solver = recipe.training.solver
    metric = recipe.training.early_stopping.metric
    outputs: dict[str, WindowLogits] = {}
    for name in PARTS if settings.part == "test" else PARTS[:2]:
        held_out = fitted.held_out if name == "validation" else None
        outputs[name] = held_out or window_logits(fitted.trainer, run.clips(name))
    logits, temperature = _calibrated(run, outputs)
    predictions = {
        name: of_rows(data.dataset, rows, activated(own, run.task.problem_type))
        for name, (rows, own) in logits.items()
    }
    results = evaluate_predictions(predictions[settings.part], **settings.bootstrapping)
    parts = {
        name: all_metrics(own.labels, own.probabilities[0], own.votes)
        for name, own in predictions.items()
        if name != "test"
    }
    # A refit model depends on the speakers of both splits, a single epoch is not selected, nor a
    # candidate by them.
    selected = solver == "trainer" and len(fitted.history) > 1 and fitted.refit is None
    selecting = run.fold.split.speakers["validation"] if selected else None
    score = parts["train"][run.task.main]
    facts = ModelFacts(
        names=data.labels,
        confusion=results.confusion,
        train_score=score,
        selecting=selecting,
        temperature=temperature and temperature.value,
    )
    warnings = degenerate(facts) + results.warnings + data.notes + fitted.notes + run.window_notes()
    fields = report_header(run, results.metrics) | results.filled()
    if settings.per_speaker:
        fields["transductive"] = _per_speaker_metrics(run, fitted.trainer.args)
        warnings.append(transductive_note(fields["transductive"]))
    fields["model"] |= {**_parameter_counts(fitted, solver), "solver": solver}
    fields |= {
        "warnings": warnings,
        "parts": parts,
        "temperature": temperature,
        "history": fitted.history,
        "selected_by": metric,
        "validated": -fitted.validated if lower_is_better(metric) else fitted.validated,
        "training": _training_facts(run, fitted),
        "seconds": {
            **data.seconds,
            "training": fitted.seconds,
            "per_epoch": float(np.median(fitted.epoch_seconds)) if fitted.epoch_seconds else None,
            "judgement": time.perf_counter() - began,
        },
    }
    return Report(**fields), predictions


def _per_speaker_metrics(
    run: RunContext, arguments: EmotionTrainingArguments
) -> dict[str, float | None]:
    """The report's `transductive`: of a second fit, on vectors standardized per speaker, which is
    not published.
    """
    logger.info("once more, standardized per speaker")
    data = run.data
    fitted = fit_once(run, arguments, per_speaker=True)
    model = fitted.trainer.model
    collator = fitted.trainer.data_collator
    clips = run.clips(run.recipe.evaluation.part)
    vectors = embed(model, collator, clips, fitted.trainer.args, data.dataset["speaker"][:])
    rows, logits = merge(clips["row"][:], clips["length"][:], logits_of(model.classifier, vectors))
    predictions = of_rows(data.dataset, rows, softmax(logits))
    return all_metrics(predictions.labels, predictions.probabilities[0], predictions.votes)


def _calibrated(
    run: RunContext, outputs: Mapping[str, WindowLogits]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Temperature | None]:
    """Rows and logits of each split as the published model gives them, and the report's
    `temperature`.
    """
    plain = {name: windows.merged(run.task.problem_type) for name, windows in outputs.items()}
    setting = run.recipe.evaluation.temperature
    evaluated = run.recipe.evaluation.part
    if setting == "none" or run.task.problem_type:  # dimensions have no probabilities
        return plain, None
    labels = np.asarray(run.data.dataset["label"][:])
    windows = outputs["validation"]
    value = fit_temperature(
        windows.logits,
        labels[plain["validation"][0]],
        lambda logits: merge(windows.rows, windows.lengths, logits)[1],
    )
    stored = setting == "store" and not at_limit(value)
    scaled = {
        name: merge(windows.rows, windows.lengths, windows.logits / value)
        for name, windows in outputs.items()
    }
    test_rows, before = plain[evaluated]
    effect = temperature_effect(value, labels[test_rows], before, scaled[evaluated][1], stored)
    return (scaled if stored else plain), effect


def _parameter_counts(fitted: Fit, solver: str) -> dict[str, int]:
    model = fitted.trainer.model
    everything = list(plain_parameters(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if solver == "sklearn":
        # scikit-learn fits buffers of the classifier, not parameters.
        trained = list(model.classifier.state_dict().values())
        own = {id(parameter) for parameter in model.classifier.parameters()}
        everything = [parameter for parameter in everything if id(parameter) not in own] + trained
    return {"parameters": sum(map(size, everything)), "learning": sum(map(size, trained))}


def _training_facts(run: RunContext, fitted: Fit) -> dict[str, Any]:
    """The report's `training`."""
    arguments = fitted.trainer.args
    precisions = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    facts: dict[str, Any] = {
        "precision": next((name for name, used in precisions.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }
    if run.recipe.training.solver == "trainer":
        facts["strategy"] = "full (every clip computed in each epoch)"
        if fitted.cached is not None:
            facts |= {"strategy": "fast (frozen parts cached)", "cache": fitted.cached}
    if run.resampled:
        per_epoch = clips_by_corpus(run.train_clips(), run.data.dataset["corpus"][:])
        facts |= {"balance": run.recipe.training.balance, "clips_per_epoch": per_epoch}
    if fitted.refit is not None:
        facts["refit"] = fitted.refit
    return facts

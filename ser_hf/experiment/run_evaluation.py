"""The judgement of a trained network: each part heard once, the report's facts, and the temperature that fits it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from peft import PeftModel
from transformers import PreTrainedModel

from ..audio import prepare
from ..evaluation.calibration import at_limit, fit_temperature, temperature_facts, temperature_warning
from ..evaluation.metrics import all_metrics, softmax
from ..evaluation.predictions import Judged, of_rows
from ..evaluation.summary import evaluate_predictions
from ..inference.classifier import load_expert
from ..inference.reference import LONGEST, chosen_clips, write_reference
from ..models.preparation import Preparation
from ..protocols import PARTS
from ..training.arguments import EmotionTrainingArguments
from ..training.balancing import met_by_corpus
from ..training.checkpoints import size
from ..training.data import merge
from ..training.fit import Fit, window_logits
from ..training.lora import plain_parameters
from ..utils.run_folder import RunFolder
from .data import Fold, Material, balances, part_of, told_of
from .evaluate import Listener, embeddings_map, robustness_of
from .evaluation_data import Meaning
from .outputs import header
from .recipe import Recipe


def judge_run(
    recipe: Recipe, material: Material, fold: Fold, fitted: Fit, folder: RunFolder, foil: dict | None
) -> tuple[dict[str, Any], dict[str, Judged]]:
    """Predicts each part once; the test part enters here and nowhere else."""
    began = time.perf_counter()
    judged_on = recipe.evaluation.part
    asked = PARTS if judged_on == "test" else PARTS[:2]
    heard = {name: window_logits(fitted.trainer, part_of(recipe, material, fold, name)) for name in asked}
    answered, temperature = _calibrated(recipe, material, heard)
    predicted = {name: of_rows(material.dataset, rows, softmax(logits)) for name, (rows, logits) in answered.items()}
    parts = {
        name: all_metrics(own.labels, own.probabilities[0], own.votes)
        for name, own in predicted.items()
        if name != "test"
    }
    judgement = evaluate_predictions(predicted[judged_on], **recipe.evaluation.bootstrapping)
    epochs = fitted.epoch_seconds
    model = fitted.trainer.model
    everything = list(plain_parameters(model))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.training.solver == "sklearn":
        # What scikit-learn has fitted are no parameters of torch's, yet numbers that were learnt.
        learning = list(model.classifier.state_dict().values())
        own = {id(parameter) for parameter in model.classifier.parameters()}
        everything = [parameter for parameter in everything if id(parameter) not in own] + learning
    report = {
        **header(recipe, material, [fold], folder, judgement["metrics"], foil),
        **judgement,
        "parts": parts,
        "temperature": temperature,
        "history": fitted.history,
        "selected_by": recipe.training.early_stopping.metric,
        "validated": validated_by(fitted, recipe.training.early_stopping.metric),
        "seconds": material.seconds
        | {
            "training": fitted.seconds,
            "per_epoch": float(np.median(epochs)) if epochs else None,
            "judgement": time.perf_counter() - began,
        },
    }
    report["model"] |= {
        "parameters": sum(map(size, everything)),
        "learning": sum(map(size, learning)),
        "solver": recipe.training.solver,
    }
    report["training"] = _training_facts(fitted.trainer.args)
    if recipe.training.solver == "trainer":
        report["training"] |= _strategy(fitted)
    if balances(recipe, material):
        learnt = part_of(recipe, material, fold, "train", learnt=True)
        met = met_by_corpus(learnt, material.dataset["corpus"][:])
        report["training"] |= {"balance": recipe.training.balance, "clips_per_epoch": met}
    report["warnings"] += (
        material.notes + fitted.notes + told_of(recipe, material, part_of(recipe, material, fold, judged_on))
    )
    if temperature and at_limit(temperature["value"]):
        asked = recipe.evaluation.temperature == "store"
        report["warnings"].append(temperature_warning(temperature["value"], asked))
    return report, predicted


def _calibrated(
    recipe: Recipe, material: Material, heard: Mapping[str, tuple[Sequence[int], Sequence[int], np.ndarray]]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any] | None]:
    """Rows and logits of each part as the published model answers them, and what is to be told of the temperature
    that validation asks for."""
    plain = {name: merge(*own) for name, own in heard.items()}
    asked, judged_on = recipe.evaluation.temperature, recipe.evaluation.part
    if asked == "none":
        return plain, None
    labels = np.asarray(material.dataset["label"][:])
    rows, lengths, logits = heard["validation"]
    value = fit_temperature(logits, labels[plain["validation"][0]], lambda own: merge(rows, lengths, own)[1])
    stored = asked == "store" and not at_limit(value)
    tempered = {name: merge(own, samples, made / value) for name, (own, samples, made) in heard.items()}
    judged, before = plain[judged_on]
    facts = temperature_facts(value, labels[judged], before, tempered[judged_on][1], stored)
    return (tempered if stored else plain), facts


def _training_facts(arguments: EmotionTrainingArguments) -> dict[str, Any]:
    """What the machine decided, where the recipe left it the choice."""
    asked = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    return {
        "precision": next((word for word, used in asked.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }


def _strategy(fitted: Fit) -> dict[str, Any]:
    """Whether what is frozen was computed once (the FAST strategy), how large that is, and how long it took here."""
    if fitted.cached is None:
        return {"strategy": "full (every clip computed in each epoch)"}
    return {"strategy": "fast (frozen parts cached)", "cache": fitted.cached}


def validated_by(fitted: Fit, metric: str) -> float:
    """What validation says of the kept checkpoint, higher for better whatever the metric."""
    return -fitted.validated if metric == "loss" else fitted.validated


def extras(
    recipe: Recipe, material: Material, rows: Sequence[int], folder: RunFolder
) -> tuple[dict[str, Any], pa.Table | None]:
    """The report's `embeddings` and `robustness` as far as they are asked for, and the places of clips on the map.

    Args:
        rows: of the judged part.
    """
    asked = recipe.evaluation
    if not (asked.embeddings or asked.robustness):
        return {}, None
    expert = load_expert(folder.model)
    own = expert.labels
    listener = Listener(expert, Meaning(own, own, own), asked.window)
    chosen = material.dataset.select(list(rows))
    chosen, store = prepare(chosen, material.store.sampling_rate, recipe.audio.cache_dir, expert.preparation)
    shares, vectors = listener.answers(store, chosen["id"][:], vectors=asked.embeddings)
    judged = of_rows(chosen, range(len(chosen)), shares)
    found, points = {}, None
    if asked.embeddings:
        found["embeddings"], points = embeddings_map(judged, vectors)
    if asked.robustness:
        if expert.preparation != Preparation():  # conditions change recordings, before anything is done to them
            _, store = prepare(chosen, material.store.sampling_rate, recipe.audio.cache_dir, Preparation())
        found["robustness"] = robustness_of(listener, judged, store, **asked.bootstrapping)
    return found, points


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

"""The check that labels can be predicted at all: a logistic regression of MFCC statistics.

It is the network `mfcc_linear`, fitted by scikit-learn as in a run. Its regularization is selected
by cross-validation over the training speakers.
"""

import dataclasses

import numpy as np

from ..audio import prepare
from ..evaluation.bootstrap import fold_intervals
from ..evaluation.predictions import of_rows
from ..experiment.clips import evaluation_clips
from ..experiment.context import RunContext
from ..experiment.data import plan_model
from ..experiment.fitting import fit_once
from ..experiment.reading import read_recipe
from ..models.preparation import Preparation
from ..training.fit import window_logits
from ..utils.errors import UserError
from .case import Case
from .chance import p_value, uar
from .result import Fault, Outcome, Problem, left_out

_ARCHITECTURE = "mfcc_linear"
_MOST_CLIPS = 1500
_FEWEST_CLIPS_PER_CLASS = 4
_P = 0.01


def check_baseline(case: Case) -> Outcome:
    """Fit a classical classifier to the training clips, and compare validation with chance."""
    if case.task.name != "emotions":
        return left_out("the recipe predicts more or other than one class of each clip")
    try:
        run = baseline_run(case)
        fitted = fit_once(run, run.arguments())
    except UserError as error:
        return left_out(f"{error}")

    windows = window_logits(fitted.trainer, evaluation_clips(run, "validation"))
    rows, logits = windows.merged()
    all_labels = np.asarray(run.data.dataset["label"][:])
    labels = all_labels[rows]
    predicted = logits.argmax(axis=1)
    validated = uar(labels, predicted)
    chance = 1 / len(np.unique(labels))
    interval = fold_intervals(
        [of_rows(run.data.dataset, rows, _probabilities(logits))], draw_folds=False, resamples=500
    ).get("uar")

    # Clips of training speakers, each predicted without its speaker, make the test stronger.
    tested_labels = labels
    tested = predicted
    if fitted.cross_validated is not None:
        rows_of_folds, logits_of_folds = fitted.cross_validated.merged()
        tested_labels = np.concatenate([labels, all_labels[rows_of_folds]])
        tested = np.concatenate([predicted, logits_of_folds.argmax(axis=1)])
    p = p_value(tested_labels, tested)

    text = f"MFCC and logistic regression: validation UAR {validated:.3f}"
    if interval is not None:
        text += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    text += f", chance {chance:.3f}; p = {p:.4f} with cross-validation of {len(tested)} clips"
    values = {"uar": validated, "interval": interval, "chance": chance, "p": p}
    if p <= _P:
        return Outcome(text, values=values)
    if len(tested) < _FEWEST_CLIPS_PER_CLASS * len(np.unique(tested_labels)):
        return left_out(f"{text}: too few clips to compare with chance")
    problem = Problem(
        Fault.BASELINE_AT_CHANCE,
        text,
        "the labels look shuffled or wrong: listen to clips of each label (ser-hf inspect), and "
        "check that the table or corpus.label_map names the right one",
    )
    return Outcome(text, [problem], values)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of logits, (clips, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def baseline_run(case: Case) -> RunContext:
    """The run of the recipe with the classical classifier in place of its network."""
    values = case.run.recipe.to_dict()
    kept = {key: values[key] for key in ("name", "output_dir", "corpus", "protocol", "audio")}
    # Random crops are for the Trainer.
    kept["audio"] = {**values["audio"], "max_duration": None}
    evaluation = {"part": "validation", "window": case.recipe.evaluation.window}
    recipe = read_recipe(
        kept | {"model": {"architecture": _ARCHITECTURE}, "evaluation": evaluation}
    )
    plan = plan_model(recipe, case.corpus)
    data = case.data
    if data.plan.preparation.functionals is None:
        plan = dataclasses.replace(plan, preparation=data.plan.preparation)
        data = dataclasses.replace(data, plan=plan)
    else:  # the store of the recipe has no waveforms
        preparation = plan.preparation if plan.preparation.active else Preparation()
        audio = recipe.audio
        _, store = prepare(data.dataset, audio.sampling_rate, audio.cache_dir, preparation)
        data = dataclasses.replace(data, plan=plan, store=store)

    fold = data.folds[0]
    train = fold.split.rows["train"]
    if len(train) > _MOST_CLIPS:
        chosen = np.random.default_rng(0).choice(train, _MOST_CLIPS, replace=False)
        rows = {**fold.split.rows, "train": np.sort(chosen).tolist()}
        fold = dataclasses.replace(fold, split=dataclasses.replace(fold.split, rows=rows))
    return dataclasses.replace(case.run, recipe=recipe, data=data, folds=[fold])

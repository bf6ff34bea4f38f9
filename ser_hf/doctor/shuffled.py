"""The check that a network does not predict shuffled labels of clips that it was not trained on.

If it does, a clip or a copy of it is in training and in validation (Zhang et al. 2017,
arXiv:1611.03530, for networks that learn shuffled labels by heart).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset

from ..audio.near_duplicates import near_duplicates
from ..experiment.clips import evaluation_clips
from ..experiment.context import RunContext
from ..experiment.fitting import fit_once
from ..loading.batches import WindowLogits
from ..training.fit import window_logits
from ..training.sampling import recordings
from ..utils.errors import UserError
from .case import Case
from .chance import p_value, uar
from .result import Fault, Outcome, Problem, left_out
from .short_training import Batch, ShortTraining, is_finite, steps_within

_TRAINED_CLIPS = 256
_VALIDATION_CLIPS = 256
_FEWEST_CLIPS = 10
_MOST_STEPS = 1000
# A training ends early if it has learned this share of the shuffled labels by heart.
_LEARNED = 0.95
# By chance one of so many checks would fail.
_P = 0.001


def check_shuffled(case: Case) -> Outcome:
    """Train on clips whose labels are shuffled, and compare validation with chance."""
    run = case.run
    if run.task.name != "emotions":
        return left_out("the recipe predicts more or other than one class of each clip")
    run = with_shuffled_labels(run, recording_of_rows(case))
    if len(run.fold.split.rows["validation"]) < _FEWEST_CLIPS:
        return left_out(f"validation has fewer than {_FEWEST_CLIPS} clips")
    try:
        scores = _train(run, case.seconds)
    except UserError as error:
        return left_out(f"{error}")
    if scores is None:
        return left_out("the loss is no number")

    chance = 1 / len(np.unique(scores.labels))
    validated = uar(scores.labels, scores.predicted)
    p = p_value(scores.labels, scores.predicted)
    text = (
        f"{scores.description} with shuffled labels: validation UAR {validated:.3f}, chance "
        f"{chance:.3f}, p = {p:.4f}"
    )
    values = {"uar": validated, "chance": chance, "p": p}
    if p > _P:
        return Outcome(text, values=values)
    problem = Problem(
        Fault.SHUFFLED_LABELS_LEARNED,
        text,
        "copies of training clips are in validation: set protocol.near_duplicates: error, check "
        "the speakers, and leave copies out with corpus.exclude",
    )
    return Outcome(text, [problem], values)


def with_shuffled_labels(run: RunContext, groups: Sequence[int]) -> RunContext:
    """The run with labels exchanged among its training and validation clips.

    Args:
        groups: the number of the recording of each row; rows of one recording get one label.
    """
    rows = sorted(run.fold.split.rows["train"] + run.fold.split.rows["validation"])
    labels = np.asarray(run.data.dataset["label"][:])
    first_row_of_group: dict[int, int] = {}
    for row in rows:
        first_row_of_group.setdefault(groups[row], row)
    first_rows = list(first_row_of_group.values())
    shuffled = np.random.default_rng(0).permutation(labels[first_rows])
    label_of_group = dict(zip(first_row_of_group, shuffled.tolist(), strict=True))
    for row in rows:
        labels[row] = label_of_group[groups[row]]

    training = run.recipe.training
    recipe = run.recipe.replace(
        training=training.replace(loss=training.loss.replace(soft_labels=False)),
        evaluation=run.recipe.evaluation.replace(part="validation"),
    )
    data = dataclasses.replace(run.data, dataset=_with_labels(run.data.dataset, labels))
    return dataclasses.replace(run, recipe=recipe, data=data)


def _with_labels(dataset: Dataset, labels: np.ndarray) -> Dataset:
    """The dataset with other labels, (rows,)."""
    columns = dataset.column_names
    feature = dataset.features["label"]
    changed = dataset.remove_columns("label").add_column("label", labels.tolist(), feature=feature)
    return changed.select_columns(columns)


def recording_of_rows(case: Case) -> list[int]:
    """The number of the recording of each row; copies and near duplicates have one number."""
    hashes = case.data.dataset["content_hash"][:]
    first_row: dict[str, int] = {}
    numbers = [first_row.setdefault(content, row) for row, content in enumerate(hashes)]
    if case.recipe.protocol.near_duplicates == "skip":
        return numbers
    for pair in near_duplicates(case.store):
        replaced = numbers[pair.second]
        kept = numbers[pair.first]
        numbers = [kept if number == replaced else number for number in numbers]
    return numbers


@dataclasses.dataclass(frozen=True)
class _Scores:
    """Labels and predicted classes of validation clips, and a description of the training."""

    labels: np.ndarray
    predicted: np.ndarray
    description: str


def _train(run: RunContext, seconds: float) -> _Scores | None:
    """Train for a limited time, and predict validation clips; None if the loss is no number."""
    if run.recipe.training.solver == "sklearn":
        return _fit(run)
    training = ShortTraining(run)
    clips = _some(recordings(training.clips), _TRAINED_CLIPS)
    validation = _some(evaluation_clips(run, "validation"), _VALIDATION_CLIPS)
    batches = training.batches(clips)
    epoch = _learn_by_heart(training, batches, seconds)
    if epoch is None:
        return None
    outputs = torch.cat(training.predict(training.batches(validation))).float().cpu().numpy()
    windows = WindowLogits(
        validation["row"][:], validation["length"][:], outputs[:, : len(run.data.labels)]
    )
    number, accuracy = epoch
    description = f"{len(clips)} clips in {number} epochs (training accuracy {accuracy:.2f})"
    return _scores(run, windows, description)


def _learn_by_heart(
    training: ShortTraining, batches: Sequence[Batch], seconds: float
) -> tuple[int, float] | None:
    """Train until labels are learned by heart or the time is up.

    Returns:
        The number of epochs and the mean accuracy of the last one; None if the loss is no number.
    """
    generator = np.random.default_rng(0)
    epochs = 0
    mean_accuracy = 0.0
    waiting: list[int] = []
    accuracies: list[float] = []
    for _ in steps_within(seconds, _MOST_STEPS):
        if not waiting:
            waiting = generator.permutation(len(batches)).tolist()
            accuracies = []
        step = training.step([batches[waiting.pop()]])
        if not is_finite(step.loss):
            return None
        accuracies.append(step.accuracy)
        if not waiting:
            epochs += 1
            mean_accuracy = float(np.mean(accuracies))
            if mean_accuracy >= _LEARNED:
                break
    return epochs, mean_accuracy


def _fit(run: RunContext) -> _Scores:
    """Fit the recipe's classifier by scikit-learn, and predict validation clips."""
    fitted = fit_once(run, run.arguments())
    windows = window_logits(fitted.trainer, evaluation_clips(run, "validation"))
    count = len(run.fold.split.rows["train"])
    return _scores(run, windows, f"{count} clips, fitted by scikit-learn")


def _scores(run: RunContext, windows: WindowLogits, description: str) -> _Scores:
    """Compare the predictions of clips with their labels."""
    rows, logits = windows.merged()
    labels = np.asarray(run.data.dataset["label"][:])[rows]
    return _Scores(labels, logits.argmax(axis=1), description)


def _some(clips: Dataset, most: int) -> Dataset:
    """At most so many clips, chosen at random."""
    if len(clips) <= most:
        return clips
    chosen = np.random.default_rng(0).choice(len(clips), most, replace=False)
    return clips.select(np.sort(chosen))

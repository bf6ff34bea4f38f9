"""Evaluates a trained model: predictions, temperature, metrics, robustness, map of embeddings."""

import dataclasses
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..corpora.targets import targets_of
from ..evaluation.abstention import abstention_section
from ..evaluation.calibration import at_limit, fit_temperature, temperature_effect
from ..evaluation.degenerate import CheckedModel, degenerate
from ..evaluation.label_sets import best_threshold
from ..evaluation.maps import ClipMap
from ..evaluation.metrics import lower_is_better, transductive_note, values
from ..evaluation.new_speakers import speaker_scores, speaker_warnings
from ..evaluation.predictions import Predictions, of_rows
from ..evaluation.probabilities import activated, softmax
from ..evaluation.rating_scale import calibration_effect, select_rating_scale
from ..evaluation.sections import (
    Abstention,
    LabelThreshold,
    NewSpeaker,
    RatingCalibration,
    Results,
    Robustness,
    Scores,
    Temperature,
)
from ..evaluation.summary import evaluate_predictions
from ..evaluation.tasks import DIMENSIONS, EMOTIONS_AND_DIMENSIONS, MULTI_LABEL, TASKS
from ..inference.load import load_classifier
from ..loading.batches import WindowLogits, merge
from ..protocols import PARTS
from ..report.report import Report
from ..report.sections import Model, Seconds, Training
from ..training.arguments import EmotionTrainingArguments
from ..training.fit import Fit, window_logits
from ..training.lora import plain_parameters
from ..training.sampling import clips_by_corpus
from ..training.sharding import size
from ..training.sklearn_estimators import logits_of
from ..training.sklearn_solver import embed
from .clips import (
    evaluation_clips,
    is_resampled,
    train_clips,
    unprepared_clips,
    window_notes,
)
from .context import RunContext
from .embedding_maps import map_of
from .fitting import fit_once
from .hardest_clips import HardestClips, show_hardest
from .label_mapping import identity_mapping
from .robustness import OpenedConditions, open_conditions, robustness_of
from .sections import extended, foil_section, report_header
from .targets import packed_targets

logger = logging.getLogger(__name__)

# If more than this share of the labels is predicted, the model hardly decides.
_NEARLY_ALL = 0.95


@dataclasses.dataclass(frozen=True)
class SplitLogits:
    """The rows (clips,) of a split, and the logits (clips, classes) of the published model."""

    rows: np.ndarray
    logits: np.ndarray


def evaluate_run(run: RunContext, fitted: Fit) -> tuple[Report, dict[str, Predictions]]:
    """Evaluate each split once, with the selected checkpoint.

    Only this function uses the test split. With `evaluation.per_speaker` it evaluates the split
    with two fitted models.

    Returns:
        The report, and the predictions of each split.
    """
    began = time.perf_counter()
    recipe = run.recipe
    evaluated = recipe.evaluation.part

    windows = predict_splits(run, fitted)
    logits, temperature = calibrate(run, _windows_of(run, windows, run.task.parts[0]))
    rating_scale = None
    if run.task is DIMENSIONS and recipe.evaluation.rating_scale == "store":
        logits, rating_scale = calibrate_ratings(run, logits)
    predictions = {}
    for split, outputs in logits.items():
        # A dimensional run always knows the scale of its ratings.
        values = activated(outputs.logits, run.task.problem_type, bounded=True)
        task = TASKS[run.task.parts[0]]
        predictions[split] = of_rows(run.data.dataset, outputs.rows, values, task)
    predictions, label_threshold = _decided(run, predictions)
    if run.task is EMOTIONS_AND_DIMENSIONS:
        predictions, rating_scale = _with_ratings(run, predictions, windows)
    results = evaluate_predictions(
        predictions[evaluated],
        bootstrap=recipe.evaluation.bootstrap,
        confidence=recipe.evaluation.confidence,
    )
    split_scores = {
        split: _scores(split_predictions)
        for split, split_predictions in predictions.items()
        if split != "test"
    }

    new_speaker = _new_speaker(run, fitted, predictions)
    warnings = _warnings(run, fitted, results, split_scores, temperature)
    warnings += _all_predicted(label_threshold)
    if new_speaker is not None:
        warnings += speaker_warnings(new_speaker.evaluated)
        warnings += speaker_warnings(new_speaker.inside_training)
    transductive = None
    if recipe.evaluation.per_speaker:
        transductive = _per_speaker_metrics(run, fitted.trainer.args)
        warnings.append(transductive_note(transductive))

    header = report_header(run)
    header = header.model_copy(
        update={
            "foil": foil_section(results.metrics, run.foil),
            "model": _with_training(header.model, fitted, recipe.training.solver),
        }
    )
    metric = recipe.training.early_stopping.metric
    report = Report(
        **header.filled(),
        **results.model_copy(update={"warnings": warnings}).filled(),
        parts=split_scores,
        temperature=temperature,
        history=fitted.history,
        selected_by=metric,
        # The Trainer maximizes a metric, so a metric that is better when lower has a minus sign.
        validated=-fitted.validated if lower_is_better(metric) else fitted.validated,
        training=training_section(run, fitted),
        seconds=_seconds(run, fitted, time.perf_counter() - began),
    )
    if transductive is not None:
        report = extended(report, transductive=transductive)
    if new_speaker is not None:
        report = extended(report, new_speaker=new_speaker)
    if run.curve is not None:
        report = extended(report, learning_curve=run.curve)
    if rating_scale is not None:
        report = extended(report, rating_scale=rating_scale)
    if label_threshold is not None:
        report = extended(report, label_threshold=label_threshold)
    if run.task.one_label:
        report = extended(report, abstention=_abstention(run, predictions))
    return report, predictions


def _windows_of(
    run: RunContext, windows: Mapping[str, WindowLogits], task: str
) -> dict[str, WindowLogits]:
    """The outputs of one task, for the clips of each split that have its target."""
    if run.layout is None:
        return dict(windows)
    has_target = run.layout.block(task).has_target(packed_targets(run.recipe, run.data.dataset))
    of_task = {}
    for split, outputs in windows.items():
        of_task[split] = run.layout.windows(outputs, task).only(has_target[outputs.rows])
    return of_task


def _with_ratings(
    run: RunContext, predictions: Mapping[str, Predictions], windows: Mapping[str, WindowLogits]
) -> tuple[dict[str, Predictions], dict[str, RatingCalibration] | None]:
    """Add the predicted ratings to the predicted classes of each split.

    Returns:
        The predictions of each split, and the report's `rating_scale`.
    """
    values = {}
    for split, outputs in _windows_of(run, windows, DIMENSIONS.name).items():
        values[split] = SplitLogits(*outputs.merged(DIMENSIONS.problem_type))
    rating_scale = None
    if run.recipe.evaluation.rating_scale == "store":
        values, rating_scale = calibrate_ratings(run, values)
    both = {}
    for split, of_split in values.items():
        bounded = activated(of_split.logits, DIMENSIONS.problem_type, bounded=True)
        ratings = of_rows(run.data.dataset, of_split.rows, bounded, DIMENSIONS)
        both[split] = dataclasses.replace(predictions[split], ratings=ratings)
    return both, rating_scale


def _decided(
    run: RunContext, predictions: Mapping[str, Predictions]
) -> tuple[dict[str, Predictions], LabelThreshold | None]:
    """The predictions of sets of labels with the threshold of the recipe or of validation.

    Returns:
        The predictions of each split, and the report's `label_threshold`; for other tasks the same
        predictions and None.
    """
    if run.task is not MULTI_LABEL:
        return dict(predictions), None
    settings = run.recipe.evaluation
    value = settings.label_threshold
    if value is None:
        validation = predictions["validation"]
        value = best_threshold(validation.labels, validation.probabilities[0])
    decided = {split: outputs.with_threshold(value) for split, outputs in predictions.items()}
    (evaluated,) = decided[settings.part].outputs
    section = LabelThreshold(
        value=value,
        chosen_by="validation" if settings.label_threshold is None else "recipe",
        positives=float(evaluated.labels.mean()),
        predicted=float(evaluated.predictions.mean()),
    )
    return decided, section


def _all_predicted(threshold: LabelThreshold | None) -> list[str]:
    """The warning about a model that predicts nearly every label for every clip."""
    if threshold is None or threshold.predicted <= _NEARLY_ALL or threshold.positives > _NEARLY_ALL:
        return []
    return [
        f"Nearly every label is predicted for every clip ({100 * threshold.predicted:.0f} % of the "
        "decisions), as a model without training would do: train longer, or with more clips."
    ]


def _abstention(run: RunContext, predictions: Mapping[str, Predictions]) -> Abstention:
    """The report's `abstention`: the validation split chooses the threshold."""
    settings = run.recipe.evaluation
    return abstention_section(
        predictions[settings.part],
        predictions["validation"],
        settings.error,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def _new_speaker(
    run: RunContext, fitted: Fit, predictions: Mapping[str, Predictions]
) -> NewSpeaker | None:
    """The report's `new_speaker`, if no evaluated speaker is a training speaker."""
    evaluated_split = run.recipe.evaluation.part
    if run.fold.split.leak:
        return None
    evaluated = speaker_scores(predictions[evaluated_split], f"{evaluated_split} speakers")
    inside = None
    if fitted.cross_validated is not None:
        rows, logits = fitted.cross_validated.merged(run.task.problem_type)
        cross_validated = of_rows(run.data.dataset, rows, softmax(logits))
        inside = speaker_scores(cross_validated, "speakers in cross-validation inside training")
    elif evaluated_split == "test" and _has_new_validation_speakers(run):
        inside = speaker_scores(predictions["validation"], "validation speakers")
    if evaluated is None:
        return None
    return NewSpeaker(evaluated=evaluated, inside_training=inside)


def _has_new_validation_speakers(run: RunContext) -> bool:
    """Whether no validation speaker is a training speaker."""
    speakers = run.fold.split.speakers
    return not set(speakers["train"]) & set(speakers["validation"])


def predict_splits(run: RunContext, fitted: Fit) -> dict[str, WindowLogits]:
    """Predict the windows of each split; the test split only if the recipe evaluates it.

    The logits of the validation split come from models that were not trained on this split, see
    `Fit.held_out`.
    """
    splits = PARTS if run.recipe.evaluation.part == "test" else ("train", "validation")
    windows = {}
    for split in splits:
        if split == "validation" and fitted.held_out is not None:
            windows[split] = fitted.held_out
        else:
            windows[split] = window_logits(fitted.trainer, evaluation_clips(run, split))
    return windows


def calibrate(
    run: RunContext, windows: Mapping[str, WindowLogits]
) -> tuple[dict[str, SplitLogits], Temperature | None]:
    """Fit the temperature on the validation split (Guo et al. 2017, arXiv:1706.04599).

    Args:
        windows: the logits of each split, from `predict_splits`.

    Returns:
        The logits of each split, and the report's `temperature`. The logits are divided by the
        temperature if it is stored in the published model. The temperature is None if the recipe
        wants none, and for dimensions, which have no probabilities.
    """
    problem_type = run.task.problem_type
    plain = {}
    for split, outputs in windows.items():
        rows, logits = outputs.merged(problem_type)
        plain[split] = SplitLogits(rows, logits)
    setting = run.recipe.evaluation.temperature
    if setting == "none" or problem_type:
        return plain, None

    labels = np.asarray(run.data.dataset["label"][:])
    validation = windows["validation"]
    value = fit_temperature(
        validation.logits,
        labels[plain["validation"].rows],
        lambda logits: merge(validation.rows, validation.lengths, logits)[1],
    )
    scaled = {}
    for split, outputs in windows.items():
        # As in the published model, logits are divided before windows are merged.
        rows, logits = merge(outputs.rows, outputs.lengths, outputs.logits / value)
        scaled[split] = SplitLogits(rows, logits)
    evaluated = run.recipe.evaluation.part
    stored = setting == "store" and not at_limit(value)
    effect = temperature_effect(
        value,
        labels[plain[evaluated].rows],
        before=plain[evaluated].logits,
        after=scaled[evaluated].logits,
        stored=stored,
    )
    return (scaled if stored else plain), effect


def calibrate_ratings(
    run: RunContext, logits: Mapping[str, SplitLogits]
) -> tuple[dict[str, SplitLogits], dict[str, RatingCalibration]]:
    """Fit the map to the scale of the ratings on the validation split, where it helps.

    Returns:
        The outputs of each split with the map, and the report's `rating_scale`.
    """
    labels = {split: targets_of(run.data.dataset, of.rows) for split, of in logits.items()}
    validation = logits["validation"]
    speakers = np.asarray(run.data.dataset["speaker"][:])[validation.rows]
    scale = select_rating_scale(labels["validation"], validation.logits, speakers)
    evaluated = run.recipe.evaluation.part
    effect = calibration_effect(
        scale, run.data.dimensions, labels[evaluated], before=logits[evaluated].logits
    )
    mapped = {}
    for split, outputs in logits.items():
        mapped[split] = SplitLogits(outputs.rows, scale.apply(outputs.logits))
    return mapped, effect


def _warnings(
    run: RunContext,
    fitted: Fit,
    results: Results,
    split_scores: Mapping[str, Scores],
    temperature: Temperature | None,
) -> list[str]:
    """All warnings for the report: about the model, the results and the data."""
    checked_model = CheckedModel(
        names=run.data.labels,
        confusion=results.confusion,
        train_score=split_scores["train"][run.task.main],
        selecting=_selecting_speakers(run, fitted),
        temperature=None if temperature is None else temperature.value,
    )
    return [
        *degenerate(checked_model),
        *results.warnings,
        *run.data.notes,
        *fitted.notes,
        *window_notes(run),
    ]


def _seconds(run: RunContext, fitted: Fit, evaluation: float) -> Seconds:
    """The report's `seconds`; `evaluation` is the duration of prediction and evaluation."""
    per_epoch = float(np.median(fitted.epoch_seconds)) if fitted.epoch_seconds else None
    return Seconds(
        preparation=run.data.preparation_seconds,
        training=fitted.seconds,
        per_epoch=per_epoch,
        judgement=evaluation,
    )


def _scores(predictions: Predictions) -> Scores:
    """Compute all metrics from the predictions of one model."""
    scores = values(predictions.outputs[0])
    if predictions.ratings is not None:
        scores |= values(predictions.ratings.outputs[0])
    return scores


def _selecting_speakers(run: RunContext, fitted: Fit) -> list[str] | None:
    """The validation speakers, if the model was selected by the validation split alone.

    The result is None for a refit model, which depends on training and validation speakers; for a
    training with a single epoch or of a fixed length, where nothing is selected; and for
    scikit-learn, which selects by cross-validation.
    """
    if run.recipe.training.solver != "trainer" or run.keeps_last:
        return None
    if len(fitted.history) <= 1 or fitted.refit is not None:
        return None
    return run.fold.split.speakers["validation"]


def _per_speaker_metrics(run: RunContext, arguments: EmotionTrainingArguments) -> Scores:
    """The report's `transductive`: the metrics of a second fit, which is not published.

    The vectors of this fit are standardized per speaker.
    """
    logger.info("fit again, with vectors that are standardized per speaker")
    data = run.data
    fitted = fit_once(run, arguments, per_speaker=True)
    model = fitted.trainer.model
    clips = evaluation_clips(run, run.recipe.evaluation.part)
    speakers = data.dataset["speaker"][:]
    vectors = embed(model, fitted.trainer.data_collator, clips, fitted.trainer.args, speakers)
    logits = logits_of(model.classifier, vectors)
    rows, merged = merge(clips["row"][:], clips["length"][:], logits)
    return _scores(of_rows(data.dataset, rows, softmax(merged)))


def _with_training(model: Model, fitted: Fit, solver: str) -> Model:
    """Add the numbers of all parameters and of trained parameters to the report's `model`.

    The number of all parameters is that of the published model, in which adapters are merged.
    """
    network = fitted.trainer.model
    parameters = list(plain_parameters(network))
    if solver == "sklearn":
        # scikit-learn fits buffers of the classifier, not parameters.
        trained = list(network.classifier.state_dict().values())
        in_classifier = {id(parameter) for parameter in network.classifier.parameters()}
        outside = [parameter for parameter in parameters if id(parameter) not in in_classifier]
        parameters = outside + trained
    else:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return model.model_copy(
        update={
            "parameters": sum(map(size, parameters)),
            "learning": sum(map(size, trained)),
            "solver": solver,
        }
    )


def training_section(run: RunContext, fitted: Fit) -> Training:
    """The report's `training`: settings that the machine or the recipe has decided."""
    arguments = fitted.trainer.args
    settings = {
        "precision": _precision(arguments),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }
    if run.recipe.training.solver == "trainer":
        settings["strategy"] = "full (every clip computed in each epoch)"
        settings["selection"] = "last" if run.keeps_last else "best"
    if fitted.cached is not None:
        settings["strategy"] = "fast (frozen parts cached)"
        settings["cache"] = dataclasses.asdict(fitted.cached)
    if is_resampled(run):
        corpora = run.data.dataset["corpus"][:]
        settings["balance"] = run.recipe.training.balance
        settings["clips_per_epoch"] = clips_by_corpus(train_clips(run), corpora)
    auxiliary = run.recipe.training.loss.auxiliary
    if auxiliary:
        settings["auxiliary"] = auxiliary
    if fitted.refit is not None:
        settings["refit"] = fitted.refit
    return Training(**settings)


def _precision(arguments: EmotionTrainingArguments) -> str:
    """The number format of the training: bf16, fp16, tf32 or fp32."""
    for precision in ("bf16", "fp16", "tf32"):
        if getattr(arguments, precision):
            return precision
    return "fp32"


def run_robustness(run: RunContext, predictions: Predictions, model_folder: Path) -> Robustness:
    """Evaluate the saved model of a run on degraded clips, for the report's `robustness`.

    Args:
        predictions: predictions of the evaluated split.
    """
    settings = run.recipe.evaluation
    classifier = load_classifier(model_folder)
    return robustness_of(
        classifier,
        identity_mapping(run.recipe.task, classifier.labels),
        predictions,
        unprepared_clips(run, _rows_of(run, predictions)),
        opened=conditions_of(run),
        window=settings.window,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def run_map(run: RunContext, predictions: Predictions, model_folder: Path) -> ClipMap:
    """Map the embeddings of the saved model of a run, for the report's `embeddings`.

    Args:
        predictions: predictions of the evaluated split.
    """
    settings = run.recipe.evaluation
    return map_of(
        load_classifier(model_folder),
        predictions,
        # The waveforms are views into the store, which take no memory.
        [run.data.store[row] for row in _rows_of(run, predictions)],
        settings.map,
        window=settings.window,
    )


def run_hardest_clips(run: RunContext, report: Report, model_folder: Path) -> HardestClips:
    """Show the hardest clips of a run by its saved model, for the report's `hardest`."""
    settings = run.recipe.evaluation
    classifier = load_classifier(model_folder)
    return show_hardest(
        report,
        classifier,
        identity_mapping(run.recipe.task, classifier.labels),
        dataset=run.data.dataset,
        store=run.data.store,
        most=settings.hardest_clips,
        window=settings.window,
        cache_dir=run.recipe.audio.cache_dir,
    )


def _rows_of(run: RunContext, predictions: Predictions) -> list[int]:
    """The rows of the predicted clips. Predictions are sorted by length, so ids identify them."""
    row_of_clip = {clip_id: row for row, clip_id in enumerate(run.data.dataset["id"][:])}
    return [row_of_clip[clip_id] for clip_id in predictions.ids]


def conditions_of(run: RunContext) -> OpenedConditions:
    """The conditions of `evaluation.robustness`, with the recordings of the recipe's folders."""
    settings = run.recipe.evaluation
    return open_conditions(
        settings.noise_folder,
        settings.impulse_folder,
        rate=run.data.store.sampling_rate,
        cache_dir=run.recipe.audio.cache_dir,
    )

"""Evaluates a model of any origin on a corpus, and writes the report."""

import dataclasses
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset

from ..audio import WaveformStore, prepare
from ..audio.build_store import notes_about_recordings
from ..corpora import Corpus, corpus_facts, corpus_settings, read_corpus, sources_facts
from ..evaluation.abstention import evaluated_threshold
from ..evaluation.degenerate import CheckedModel, degenerate
from ..evaluation.maps import ClipMap, map_embeddings, no_map, require_installed, sampled_clips
from ..evaluation.predictions import Predictions, to_table
from ..evaluation.sections import Abstention, Adaptation, Robustness
from ..evaluation.summary import evaluate_predictions
from ..evaluation.tasks import DIMENSIONS, MULTI_LABEL
from ..inference.adaptation import EmbeddingStatistics
from ..inference.batches import classify_and_embed, classify_targets
from ..inference.classifier import Classifier
from ..inference.load import load_classifier
from ..inference.predict import statistics_for
from ..models.configuration import UNKNOWN_KEY
from ..models.preparation import Preparation
from ..report.report import Report
from ..report.sections import Audit, Model, Seconds
from ..report.write import MAP, PREDICTIONS, write_report
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .adaptation import evaluated_adaptation
from .embedding_maps import NO_EMBEDDINGS, has_embeddings
from .evaluated_clips import (
    EvaluatedClips,
    EvaluationOptions,
    select_test_clips,
)
from .evaluated_targets import (
    EvaluatedTargets,
    evaluated_targets,
    predictions_on,
    task_of_predictions,
    with_evaluated_ratings,
)
from .hardest_clips import show_hardest
from .label_mapping import LabelMapping, dimension_mapping, label_mapping
from .provenance import TrainingProvenance, recognized_speakers, training_provenance
from .robustness import OpenedConditions, open_conditions, robustness_of
from .sections import environment_section, extended

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Predicted:
    """The predictions of the evaluated clips, and the map of their embeddings if it is wanted."""

    predictions: Predictions
    clip_map: ClipMap | None


@dataclasses.dataclass(frozen=True)
class _PreparedClips:
    """The evaluated clips, and their waveforms as the model prepares them.

    `labeled` are the rows of the clips with a label; the others have ratings only.
    """

    selected: EvaluatedClips
    dataset: Dataset
    store: WaveformStore
    labeled: list[int]

    def audit(self) -> Audit:
        """The audit of the clips, with the number of equal recordings."""
        duplicates = len(self.dataset) - len(set(self.dataset["content_hash"][:]))
        return self.selected.audit.model_copy(update={"duplicates": duplicates})


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A loaded model, the classes of its labels, and its training data if it documents them."""

    classifier: Classifier
    mapping: LabelMapping
    provenance: TrainingProvenance | None


def evaluate_model(
    model: str | os.PathLike,
    corpus: str,
    root: str | os.PathLike | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    loading: Mapping[str, Any] | None = None,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    **evaluation: Any,
) -> Report:
    """Evaluate any audio classifier (a run's folder, a model folder or a Hub id) on a corpus.

    Example: `ser_hf.evaluate_model("runs/a", "emodb", "data/EMO-DB").metrics["uar"]`

    Args:
        corpus, root: name and folder of the corpus, as in `ser_hf.load_corpus`.
        settings: the other arguments of `ser_hf.load_corpus` (labels, merge, ...).
        loading: `label_map`, `label_names`, `device`, `revision` and `trust_remote_code`, see
            `load_evaluated_model`.
        output: a folder for the report, its page and its pictures.
        overwrite: whether to replace an earlier evaluation in `output`.
        evaluation: fields of `ser_hf.experiment.evaluated_clips.EvaluationOptions`.

    Returns:
        The report, whose `metrics` are scores from 0 to 1.

    Raises:
        UserError: naming the wrong model, corpus, setting or folder.
    """
    try:
        evaluation_settings = EvaluationOptions(**evaluation)
    except TypeError as error:
        raise UserError(f"evaluate_model: {error}") from None
    require_installed(evaluation_settings.map, "--map")
    folder = None if output is None else Path(output)
    if folder is not None:
        check_evaluation_folder(folder, overwrite)
    corpus_values = dict(settings or {})
    sampling_rate = corpus_values.pop("sampling_rate", 16000)
    loaded_corpus = read_corpus(corpus_settings(corpus, root, **corpus_values), sampling_rate)
    loaded_model = load_evaluated_model(str(model), **(loading or {}))
    return evaluate_on_corpus(
        loaded_model,
        loaded_corpus,
        f"{model} on {corpus}",
        evaluation_settings,
        output=folder,
        citation=corpus_facts(corpus, corpus_values),
    )


def load_evaluated_model(
    source: str, label_map: Mapping[str, str] | None = None, **loading: Any
) -> EvaluatedModel:
    """Load any audio classifier of transformers.

    Args:
        label_map: {label or output of the model: emotion or dimension}, see `label_mapping` and
            `dimension_mapping`.
        loading: `revision`, `device`, `trust_remote_code` and `label_names`, see
            `ser_hf.load_classifier`.

    Raises:
        UserError: if the model cannot be loaded, or has a head that was never trained or is not
            read.
    """
    classifier = load_classifier(source, **loading)
    if classifier.task is DIMENSIONS:
        mapping = dimension_mapping(classifier.labels, label_map)
    else:
        mapping = label_mapping(classifier.labels, label_map)
    for row in mapping.rows():
        if row.emotion is None and row.counted:
            logger.warning(
                "%s: the label %r is not a known emotion; map it with --label-map",
                source,
                row.word,
            )
    provenance = training_provenance(classifier.location, classifier.commit)
    return EvaluatedModel(classifier, mapping, provenance)


@quiet_libraries()
def evaluate_on_corpus(
    model: EvaluatedModel,
    corpus: Corpus,
    name: str,
    settings: EvaluationOptions,
    output: Path | None = None,
    citation: Mapping[str, Any] | None = None,
) -> Report:
    """Evaluate a model on a corpus.

    Args:
        model: from `load_evaluated_model`.
        corpus: from `ser_hf.corpora.read_corpus`; its labels may be any emotions.
        name: name of the report.
        settings: how the model is evaluated, and on which clips.
        output: a folder for the report and its page; None writes nothing.
        citation: description of the corpus for the page, from `corpus_facts`.
    """
    began = time.perf_counter()
    corpus, ratings_note = with_evaluated_ratings(model.classifier, model.mapping, corpus)
    targets = evaluated_targets(model.classifier, model.mapping, corpus)
    mapping = targets.main
    # What cannot work is refused before clips are decoded.
    opened = _open_conditions(model.classifier, settings) if settings.robustness else None
    statistics = None
    if settings.adapt is not None:
        statistics = statistics_for(model.classifier, settings.adapt_from, settings.batch_size)
    settings = _on_trained_fold(settings, model.provenance)

    clips = _prepared_clips(model, corpus, targets, settings)
    notes = notes_about_recordings(clips.dataset, clips.store)
    if ratings_note is not None:
        notes.append(ratings_note)
    for note in notes:
        logger.warning("%s", note)

    predicted = _predict(clips, model.classifier, targets, settings)
    predictions = predicted.predictions
    if predictions.task is MULTI_LABEL:
        predictions = predictions.with_threshold(model.classifier.label_threshold)
    report = _make_report(name, model, targets, corpus, clips.selected, predictions, settings)
    if predictions.task.one_label:
        report = extended(report, abstention=_abstention(model, mapping, predictions, settings))
    if settings.adapt is not None:
        adaptation = _adaptation(model, mapping, clips, predictions, settings, statistics)
        report = extended(report, adaptation=adaptation)
    if opened is not None:
        robustness = _robustness(
            _unprepared(clips, model.classifier, settings),
            model.classifier,
            mapping,
            predictions,
            opened=opened,
            settings=settings,
        )
        report = extended(report, robustness=robustness)
    if predicted.clip_map is not None:
        report = extended(report, embeddings=predicted.clip_map.section)

    recordings = None
    if settings.hardest_clips and output is not None:
        hardest = show_hardest(
            report,
            model.classifier,
            mapping,
            dataset=clips.dataset,
            store=clips.store,
            most=settings.hardest_clips,
            window=settings.window,
            batch_size=settings.batch_size,
            cache_dir=settings.cache_dir,
        )
        report = hardest.report
        recordings = hardest.recordings

    report = extended(
        report,
        warnings=[*report.warnings, *notes],
        audit=clips.audit(),
        seconds=Seconds(judgement=time.perf_counter() - began),
    )
    if output is not None:
        with atomic_folder(output, "--output") as partial:
            _write_tables(partial, predictions, predicted.clip_map)
            write_report(
                partial,
                report,
                pictures=settings.pictures,
                recordings=recordings,
                audio=settings.audio,
                corpus=citation,
            )
    return report


def _prepared_clips(
    model: EvaluatedModel, corpus: Corpus, targets: EvaluatedTargets, settings: EvaluationOptions
) -> _PreparedClips:
    """Select the clips whose speakers are new to the model, and decode them.

    Speakers whose names the model does not know may be recognized by their recordings. These are
    known after decoding; then the clips are selected again.
    """
    selected = select_test_clips(corpus, targets.labels, model.provenance, settings)
    dataset, store = _prepare(selected.dataset, model.classifier, settings)
    recognized = recognized_speakers(dataset, model.provenance)
    if recognized:
        selected = select_test_clips(
            corpus, targets.labels, model.provenance, settings, recognized=recognized
        )
        dataset, store = _prepare(selected.dataset, model.classifier, settings)
    return _PreparedClips(selected, dataset, store, targets.labeled_rows(dataset))


def _unprepared(
    clips: _PreparedClips, classifier: Classifier, settings: EvaluationOptions
) -> list[np.ndarray]:
    """The recordings with a label as they are: the model's preparation follows degradation."""
    store = clips.store
    if classifier.preparation != Preparation():
        rate = classifier.extractor.sampling_rate
        _, store = prepare(clips.selected.dataset, rate, settings.cache_dir, Preparation())
    # They are views into the store, which take no memory.
    return [store[row] for row in clips.labeled]


def _adaptation(
    model: EvaluatedModel,
    mapping: LabelMapping,
    clips: _PreparedClips,
    predictions: Predictions,
    settings: EvaluationOptions,
    statistics: EmbeddingStatistics | None,
) -> Adaptation:
    """The report's `adaptation`: the results with embeddings that are adapted without labels."""
    return evaluated_adaptation(
        model.classifier,
        mapping,
        predictions,
        [clips.store[row] for row in clips.labeled],
        settings.adapt,
        statistics=statistics,
        window=settings.window,
        batch_size=settings.batch_size,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def _write_tables(folder: Path, predictions: Predictions, clip_map: ClipMap | None) -> None:
    """Write the table of predictions, and that of the map if there is one."""
    pq.write_table(to_table("test", predictions), folder / PREDICTIONS)
    if clip_map is not None and clip_map.table is not None:
        pq.write_table(clip_map.table, folder / MAP)


def _abstention(
    model: EvaluatedModel,
    mapping: LabelMapping,
    predictions: Predictions,
    settings: EvaluationOptions,
) -> Abstention:
    """The report's `abstention`: the model's stored threshold on other clips than chose it.

    A stored threshold holds for the model's probabilities. It is not evaluated if the mapping of
    labels changes them.
    """
    threshold = getattr(model.classifier.model.config, UNKNOWN_KEY, None)
    if mapping.class_of_word != mapping.words or not isinstance(threshold, float):
        threshold = None
    return evaluated_threshold(
        predictions,
        threshold,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def _on_trained_fold(
    settings: EvaluationOptions, provenance: TrainingProvenance | None
) -> EvaluationOptions:
    """Evaluate the test split of the fold that the model was trained on, under the same protocol.

    The training has not used this test split.
    """
    if provenance and provenance.protocol == settings.protocol and settings.fold is None:
        return settings.replace(fold=provenance.fold)
    return settings


def _prepare(
    dataset: Dataset, classifier: Classifier, settings: EvaluationOptions
) -> tuple[Dataset, WaveformStore]:
    """Prepare the clips as the model's feature extractor does (see `ser_hf.prepare`)."""
    rate = classifier.extractor.sampling_rate
    return prepare(dataset, rate, settings.cache_dir, classifier.preparation)


def _predict(
    clips: _PreparedClips,
    classifier: Classifier,
    targets: EvaluatedTargets,
    settings: EvaluationOptions,
) -> _Predicted:
    """Apply the model to the clips, and map its outputs to the evaluated targets.

    The embeddings for the map are computed in the same pass.
    """
    ids = clips.dataset["id"][:]
    method = settings.map
    with_map = method is not None and has_embeddings(classifier, clips.store[0])
    if not with_map:
        classified = classify_targets(
            classifier, clips.store, ids, window=settings.window, batch_size=settings.batch_size
        )
        predictions = predictions_on(clips.dataset, targets, classified, clips.labeled)
        missing = no_map(method, len(predictions), NO_EMBEDDINGS) if method else None
        return _Predicted(predictions, missing)

    shown = sampled_clips(len(clips.labeled))
    embedded = classify_and_embed(
        classifier,
        clips.store,
        ids,
        np.asarray(clips.labeled)[shown],
        window=settings.window,
        batch_size=settings.batch_size,
    )
    predictions = predictions_on(clips.dataset, targets, embedded, clips.labeled)
    clip_map = map_embeddings(
        predictions.only(shown), embedded.vectors, method, of_clips=len(predictions)
    )
    return _Predicted(predictions, clip_map)


def _open_conditions(classifier: Classifier, settings: EvaluationOptions) -> OpenedConditions:
    """The conditions of `--robustness`, with the user's recordings."""
    return open_conditions(
        settings.noise_folder,
        settings.impulse_folder,
        rate=classifier.extractor.sampling_rate,
        cache_dir=settings.cache_dir,
        keys=("--noise-folder", "--impulse-folder"),
    )


def _robustness(
    recordings: Sequence[np.ndarray],
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    *,
    opened: OpenedConditions | None,
    settings: EvaluationOptions,
) -> Robustness:
    """The report's `robustness`."""
    return robustness_of(
        classifier,
        mapping,
        predictions,
        recordings,
        opened=opened,
        window=settings.window,
        batch_size=settings.batch_size,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def _make_report(
    name: str,
    model: EvaluatedModel,
    targets: EvaluatedTargets,
    corpus: Corpus,
    clips: EvaluatedClips,
    predictions: Predictions,
    settings: EvaluationOptions,
) -> Report:
    """Evaluate the predictions, and make the report of the results."""
    results = evaluate_predictions(
        predictions, bootstrap=settings.bootstrap, confidence=settings.confidence
    )
    mapping = targets.main
    checked_model = CheckedModel(names=mapping.classes, confusion=results.confusion)
    warnings = [*degenerate(checked_model), *results.warnings]
    task = task_of_predictions(predictions)
    ranges = {}
    if task.has_ratings:
        ranges = {dimension: corpus.ranges[dimension] for dimension in targets.dimensions}
    return Report(
        name=name,
        task=task.name,
        ranges=ranges,
        kind="evaluation",
        evaluated_split="test",
        labels=mapping.classes,
        protocol=clips.protocol,
        audit=clips.audit,
        sources=sources_facts(corpus.sources),
        foil=None,
        label_words=mapping.rows(),
        model=_model_section(model),
        parts={},
        history=[],
        environment=environment_section(),
        class_distribution=_class_distribution(predictions) if task.has_classes else None,
        **results.model_copy(update={"warnings": warnings}).filled(),
    )


def _model_section(model: EvaluatedModel) -> Model:
    """The report's `model`."""
    classifier = model.classifier
    config = classifier.model.config
    source = Path(classifier.source)
    parameters = sum(parameter.numel() for parameter in classifier.model.parameters())
    return Model(
        architecture=config.model_type,
        model_type=config.model_type,
        # The report may be published, so it does not name folders of this machine.
        checkpoint=source.name if source.is_dir() else classifier.source,
        revision=classifier.revision,
        parameters=parameters,
        padding_safe=classifier.padding_safe,
        untrained=[],
        learnt_from=sorted(model.provenance.corpora) if model.provenance else None,
    )


def _class_distribution(predictions: Predictions) -> dict[str, dict[str, int]]:
    """The number of clips of each class: {"test": {class: clips}}."""
    if predictions.task is MULTI_LABEL:
        sums = predictions.labels.sum(axis=0).tolist()
        return {"test": dict(zip(predictions.names, sums, strict=True))}
    counts = Counter(predictions.labels.tolist())
    return {"test": {name: counts[i] for i, name in enumerate(predictions.names)}}


def check_evaluation_folder(folder: Path, overwrite: bool) -> None:
    """Check that the report of an evaluation can be written to a folder.

    Raises:
        UserError: unless the folder is empty or missing, or contains an earlier evaluation and
            `overwrite` is true.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_evaluation(folder):
        raise UserError(
            f"--output: {folder} contains files that are not of an evaluation; choose another "
            "folder"
        )
    if not overwrite:
        raise UserError(
            f"--output: {folder} has an evaluation already; replace it with --overwrite"
        )


def _is_evaluation(folder: Path) -> bool:
    """Whether a folder contains an evaluation: its report, no subfolders, and no part of a run."""
    report = folder / "report.json"
    if not report.is_file() or (folder.parent / "recipe.yaml").is_file():
        return False
    if any(child.is_dir() for child in folder.iterdir()):
        return False
    return '"kind": "evaluation"' in report.read_text(encoding="utf-8", errors="replace")

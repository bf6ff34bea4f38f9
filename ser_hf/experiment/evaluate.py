"""Evaluates a model of any origin on a corpus: labels, test clips, and the report."""

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

from ..audio import prepare
from ..corpora import Corpus, corpus_facts, corpus_settings, read_corpus, sources_facts
from ..corpora.targets import names_of
from ..evaluation.metrics import NAMES
from ..evaluation.predictions import Predictions, to_table
from ..evaluation.robustness import robustness
from ..evaluation.sections import Robustness
from ..evaluation.summary import ModelFacts, degenerate, evaluate_predictions
from ..evaluation.tasks import DIMENSIONS
from ..inference.batches import classify
from ..inference.classifier import Classifier, load_classifier
from ..models.preparation import Preparation, prepare_waveform
from ..report.report import Report
from ..report.views import degraded, figure, span
from ..report.write import write_report
from ..utils.environment import environment, quiet_libraries
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .evaluated_clips import EvaluationSettings, select_test_clips
from .label_mapping import (
    DimensionMapping,
    LabelMapping,
    dimension_mapping,
    label_mapping,
    predictions_in_classes,
)
from .provenance import TrainingProvenance, training_provenance

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A loaded model, the classes of its labels, and its training data, if its report documents
    them.
    """

    classifier: Classifier
    mapping: LabelMapping
    provenance: TrainingProvenance | None


def load_evaluated_model(
    source: str, label_map: Mapping[str, str] | None = None, **loading: Any
) -> EvaluatedModel:
    """Load any audio classifier of Transformers, with a warning if its classifier was never
    trained.

    `loading` is `revision`, `device` and `trust_remote_code` of `ser_hf.load_classifier`.
    """
    classifier = load_classifier(source, untrained=True, **loading)
    if classifier.untrained:
        logger.warning("%s", _untrained(classifier))
    find = dimension_mapping if classifier.task is DIMENSIONS else label_mapping
    mapping = find(classifier.labels, label_map)
    for row in mapping.rows():
        if row["emotion"] is None and row["counted"]:
            logger.warning(
                "%s: the label %r is not a known emotion; map it with --label-map",
                source,
                row["word"],
            )
    return EvaluatedModel(
        classifier, mapping, training_provenance(classifier.place, classifier.commit)
    )


def _untrained(classifier: Classifier) -> str:
    return (
        f"The classifier of {classifier.source} was never trained: {len(classifier.untrained)} tensors are not in its "
        f"files ({classifier.untrained[0]}) and hold random numbers. These results do not describe the model."
    )


@quiet_libraries()
def evaluate_on_corpus(
    model: EvaluatedModel,
    corpus: Corpus,
    name: str,
    settings: EvaluationSettings,
    output: Path | None = None,
    citation: Mapping[str, Any] | None = None,
) -> Report:
    """Evaluate a model on a corpus.

    Args:
        model: from `load_evaluated_model`.
        corpus: from `ser_hf.corpora.read_corpus`; its labels may be any emotions.
        name: of the report.
        settings: the clips, and how they are processed.
        output: a folder for the report and its page; None writes nothing.
        citation: the `corpus_facts` that the page quotes.
    """
    began = time.perf_counter()
    classifier = model.classifier
    mapping = model.mapping
    provenance = model.provenance
    targets = names_of(corpus.dataset) if "targets" in corpus.dataset.features else []
    if isinstance(mapping, DimensionMapping):
        mapping = mapping.on(targets)
    elif targets:
        raise UserError(
            f"corpus.targets: {classifier.source} predicts labels, no dimensions; leave it out"
        )
    config = classifier.model.config
    rate = classifier.extractor.sampling_rate
    found = {}
    if provenance and provenance.protocol == settings.protocol and settings.fold is None:
        # Its test split has not trained the model.
        settings = dataclasses.replace(settings, fold=provenance.fold)
    clips = select_test_clips(corpus, mapping.classes, provenance, settings)
    dataset, store = prepare(clips.dataset, rate, settings.cache_dir, classifier.preparation)
    inference = {"window": settings.window, "batch_size": settings.batch_size}
    shares = classify(classifier, store, dataset["id"][:], **inference)
    predictions = predictions_in_classes(dataset, mapping, mapping.to_classes(shares))
    bootstrapping = {"bootstrap": settings.bootstrap, "confidence": settings.confidence}
    results = evaluate_predictions(predictions, **bootstrapping)
    warnings = degenerate(ModelFacts(mapping.classes, results.confusion)) + results.warnings
    if classifier.untrained:
        warnings = [_untrained(classifier), *warnings]
    results = results.model_copy(update={"warnings": warnings})
    if settings.robustness:
        # conditions change recordings before they are prepared
        if classifier.preparation != Preparation():
            _, store = prepare(clips.dataset, rate, settings.cache_dir, Preparation())
        found["robustness"] = robustness_of(
            classifier, mapping, predictions, store, **inference, **bootstrapping
        )
    distribution = None
    if not targets:
        counts = Counter(predictions.labels.tolist())
        distribution = {"test": {name: counts[i] for i, name in enumerate(predictions.names)}}
    report = Report(
        name=name,
        task=predictions.task.name,
        ranges={name: corpus.ranges[name] for name in mapping.classes if targets},
        kind="evaluation",
        judged_on="test",
        labels=mapping.classes,
        protocol=clips.protocol,
        audit=clips.audit | {"duplicates": len(dataset) - len(set(dataset["content_hash"][:]))},
        sources=sources_facts(corpus.sources),
        foil=None,
        label_words=mapping.rows(),
        model={
            "architecture": config.model_type,
            "model_type": config.model_type,
            "checkpoint": Path(classifier.source).name
            if Path(classifier.source).is_dir()
            else classifier.source,
            "revision": classifier.revision,
            "parameters": sum(parameter.numel() for parameter in classifier.model.parameters()),
            "padding_safe": classifier.padding_safe,
            "untrained": list(classifier.untrained),
            "learnt_from": sorted(provenance.corpora) if provenance else None,
        },
        parts={},
        history=[],
        environment=environment(),
        class_distribution=distribution,
        seconds={"judgement": time.perf_counter() - began},
        **results.filled(),
        **found,
    )
    if output is not None:
        with atomic_folder(output, "--output") as partial:
            pq.write_table(to_table("test", predictions), partial / "predictions.parquet")
            write_report(partial, report, corpus=citation)
    return report


def robustness_of(
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    waveforms: Sequence[np.ndarray],
    **settings: Any,
) -> Robustness:
    """The report's `robustness`, from the predictions of the clean clips.

    Args:
        waveforms: the clips as recorded, at the model's rate, before the model's preparation.
        settings: `window` and `batch_size` of `classify`, others of
            `ser_hf.evaluation.robustness.robustness`.
    """
    rate = classifier.extractor.sampling_rate
    inference = {key: settings.pop(key) for key in ("window", "batch_size") if key in settings}

    def predict(clips: list[np.ndarray]) -> np.ndarray:
        prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
        names = [f"clip {i}" for i in range(len(clips))]
        return mapping.to_classes(
            classify(classifier, prepared, names, progress=False, **inference)
        )

    return robustness(predict, waveforms, predictions, rate=rate, **settings)


def require_place(folder: Path, overwrite: bool) -> None:
    """Raise a `UserError` unless a folder is empty, or has an evaluation that `overwrite` allows to
    replace.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    report = folder / "report.json"
    other = not report.is_file() or '"kind": "evaluation"' not in report.read_text(
        encoding="utf-8", errors="replace"
    )
    if (
        other
        or (folder.parent / "recipe.yaml").is_file()
        or any(child.is_dir() for child in folder.iterdir())
    ):
        raise UserError(
            f"--output: {folder} contains files that are not of an evaluation; choose another folder"
        )
    if not overwrite:
        raise UserError(
            f"--output: {folder} has an evaluation already; replace it with --overwrite"
        )


def summary(report: Report) -> str:
    """The headline and its limits, for a terminal."""
    interval = span(report.intervals.get(report.main))
    others = ", ".join(
        f"{NAMES[key]} {figure(report.metrics[key])}" for key in report.measured.beside
    )
    line = (
        f"{report.name}: {NAMES[report.main]} {figure(report.metrics[report.main])} ({100 * report.confidence:g} % "
        f"interval {interval}), {others}; {report.clips:,} clips of {report.speakers} speakers, {len(report.labels)} "
        f"{'labels' if report.confusion else report.measured.outputs}"
    )
    leaks = [f"leaks: {report.protocol.leak}"] if report.protocol.leak else []
    return "\n  ".join([line, *degraded(report), *leaks, *report.protocol.notes, *report.warnings])


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
        corpus, root: as in `ser_hf.load_corpus`; `settings` are its other arguments (labels, merge,
            ...).
        loading: `label_map`, `device`, `revision` and `trust_remote_code`, see
            `load_evaluated_model`.
        output: a folder for the report, its page and pictures; `overwrite` replaces an earlier
            evaluation in it.
        evaluation: see `ser_hf.experiment.evaluate.EvaluationSettings`.

    Returns:
        The report, whose `metrics` are scores from 0 to 1.

    Raises:
        UserError: naming the model, the corpus, the setting or the folder that is wrong.
    """
    try:
        checked = EvaluationSettings(**evaluation)
    except TypeError as error:
        raise UserError(f"evaluate_model: {error}") from None
    if output is not None:
        require_place(Path(output), overwrite)
    values = dict(settings or {})
    sampling_rate = values.pop("sampling_rate", 16000)
    read = read_corpus(corpus_settings(corpus, root, **values), sampling_rate)
    loaded = load_evaluated_model(str(model), **(loading or {}))
    facts = corpus_facts(corpus, values)
    folder = None if output is None else Path(output)
    return evaluate_on_corpus(loaded, read, f"{model} on {corpus}", checked, folder, facts)

"""Evaluates a model on a corpus, from its name to a report, for `ser-hf evaluate`."""

import dataclasses
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from ..audio import prepare
from ..audio.decode import SHORTEST
from ..audio.transforms import Waveforms
from ..corpora import Corpus, corpus_facts, read_corpus
from ..evaluation.embeddings import FEWEST, available, project, subset
from ..evaluation.predictions import Predictions, of_rows, to_table
from ..evaluation.robustness import check_opus, robustness
from ..evaluation.summary import evaluate_predictions
from ..inference.batches import classify
from ..inference.classifier import Classifier, load_classifier
from ..models.preparation import Preparation, prepare_waveform
from ..report.report import Report
from ..report.write import write_report
from ..utils.environment import environment, quiet_libraries
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.yaml import Range, coerce_fields
from .evaluation_data import LabelMapping, TrainingProvenance, label_mapping, select_test_clips, training_provenance

logger = logging.getLogger(__name__)


def embeddings_map(judged: Predictions, vectors: np.ndarray) -> tuple[dict[str, Any] | None, pa.Table | None]:
    """The report's `embeddings`, and the points of the map by every installed method; None for both if there are too
    few clips for a map.

    Args:
        vectors: the inputs of the classifier's last layer, (clips, size).
    """
    if len(judged) < FEWEST:
        return None, None
    chosen, methods = subset(len(judged)), available()
    places, some = project(vectors[chosen], methods), judged.only(chosen)
    columns: dict[str, Any] = {
        "id": some.ids,
        "label": [some.names[label] for label in some.labels],
        "speaker": some.speakers,
        "corpus": some.columns["corpus"],
    }
    for method, own in places.items():
        columns |= {f"x_{method}": own[:, 0], f"y_{method}": own[:, 1]}
    facts = {
        "methods": methods,
        "clips": len(chosen),
        "points": "embeddings.parquet",
        "of": "input of the classifier's last layer",
    }
    return facts, pa.table(columns)


def robustness_of(
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    waveforms: Waveforms | Sequence[np.ndarray],
    *,
    window: float | None = None,
    batch_size: int = 16,
    **settings: Any,
) -> dict[str, Any]:
    """The report's `robustness` (`ser_hf.evaluation.robustness`, which takes `settings`).

    Args:
        predictions: of the clips; only ids, labels and speakers are used.
        waveforms: the clips as recorded, at the model's rate, before the model's preparation.
    """
    rate = classifier.extractor.sampling_rate

    def classes_of(clips: list[np.ndarray]) -> np.ndarray:
        prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
        names = [f"clip {i}" for i in range(len(clips))]
        shares, _ = classify(classifier, prepared, names, window=window, batch_size=batch_size, progress=False)
        return mapping.to_classes(shares)

    return robustness(classes_of, waveforms, predictions, rate=rate, **settings)


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How a model is evaluated.

    Args:
        window: seconds; longer clips are processed in windows. None is as in the model's recipe.
        batch_size: windows at a time.
        bootstrap, confidence: resamples and coverage of the intervals.
        robustness: evaluate under noise, in rooms and over telephones too (`ser_hf.evaluation.robustness`).
        robustness_clips: the most clips to use for that.
        embeddings: draw a map of the inputs of the classifier's last layer.
        cache_dir: where decoded waveforms are kept; None is the toolkit's cache.

    Raises:
        UserError: for a value out of its range.
    """

    window: Annotated[float, Range(min=SHORTEST)] | None = None
    batch_size: Annotated[int, Range(min=1)] = 16
    bootstrap: Annotated[int, Range(min=1)] = 2000
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    robustness: bool = False
    robustness_clips: Annotated[int, Range(min=1)] | None = None
    embeddings: bool = False
    cache_dir: str | None = None

    def __post_init__(self):
        coerce_fields(self, lambda name: f"--{name.replace('_', '-')}")
        if self.robustness_clips is not None and not self.robustness:
            raise UserError("--robustness-clips: belongs to --robustness")
        if self.robustness:
            check_opus()  # before minutes of work


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A loaded model, the classes that its labels stand for, and the data it was made with, if its report says so."""

    classifier: Classifier
    mapping: LabelMapping
    provenance: TrainingProvenance | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A report of a model on a corpus, the predictions, the points of the map of embeddings if requested, and the
    clips that were left out, counted by reason."""

    report: dict[str, Any]
    predictions: Predictions
    points: pa.Table | None
    left_out: dict[str, int]


def load_evaluated_model(
    source: str,
    label_map: Mapping[str, str] | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> EvaluatedModel:
    """Loads any audio classifier of Transformers, with a warning if its classifier was never trained.

    Raises:
        UserError: naming the model or ``--label-map``.
    """
    settings = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    classifier = load_classifier(source, untrained=True, **settings)
    if classifier.untrained:
        logger.warning("%s", _untrained(classifier))
    mapping = label_mapping(classifier.labels, label_map)
    for row in mapping.rows():
        if row["emotion"] is None and row["counted"]:
            logger.warning("%s: its label %r is no emotion known here (--label-map)", source, row["word"])
    return EvaluatedModel(classifier, mapping, training_provenance(classifier.place, classifier.commit))


def evaluate_on_corpus(
    model: EvaluatedModel, corpus: Corpus, name: str, settings: EvaluationSettings, **selection: Any
) -> Evaluation:
    """Evaluates a model on the clips of a corpus that may test it.

    Args:
        name: of the report.
        selection: which clips (`ser_hf.experiment.evaluation_data.select_test_clips`).

    Raises:
        UserError: naming what is wrong with the model, the corpus or a flag.
    """
    with quiet_libraries():
        return _evaluate(model, corpus, name, settings, selection)


def _evaluate(
    model: EvaluatedModel, corpus: Corpus, name: str, settings: EvaluationSettings, selection: Mapping[str, Any]
) -> Evaluation:
    began = time.perf_counter()
    classifier, mapping, provenance = model.classifier, model.mapping, model.provenance
    rate, classes = classifier.extractor.sampling_rate, mapping.classes
    own_protocol = provenance and provenance.fold and selection.get("protocol") == provenance.protocol
    if own_protocol and selection.get("fold") is None:
        selection = {**selection, "fold": provenance.fold}  # the fold whose test split the model has not seen
    clips = select_test_clips(corpus, classes, provenance, **selection)
    dataset, store = prepare(clips.dataset, rate, settings.cache_dir, classifier.preparation)
    inference = {"window": settings.window, "batch_size": settings.batch_size}
    shares, vectors = classify(classifier, store, dataset["id"][:], embeddings=settings.embeddings, **inference)
    predictions = _in_classes(dataset, mapping, mapping.to_classes(shares))
    bootstrapping = {"bootstrap": settings.bootstrap, "confidence": settings.confidence}
    report = {
        "name": name,
        "kind": "evaluation",
        "judged_on": "test",
        "labels": classes,
        "protocol": clips.protocol,
        "audit": clips.audit | {"duplicates": len(dataset) - len(set(dataset["content_hash"][:]))},
        "sources": clips.sources,
        "foil": None,
        "label_words": mapping.rows(),
        "model": _model_facts(model),
        **evaluate_predictions(predictions, **bootstrapping),
        "parts": {},
        "history": [],
        "environment": environment(),
    }
    if classifier.untrained:
        report["warnings"].insert(0, _untrained(classifier))
    points = None
    if settings.embeddings:
        report["embeddings"], points = embeddings_map(predictions, vectors)
    if settings.robustness:
        if classifier.preparation != Preparation():  # conditions change recordings before they are prepared
            _, store = prepare(clips.dataset, rate, settings.cache_dir, Preparation())
        report["robustness"] = robustness_of(
            classifier, mapping, predictions, store, **inference, max_clips=settings.robustness_clips, **bootstrapping
        )
    report["seconds"] = {"judgement": time.perf_counter() - began}
    return Evaluation(report, predictions, points, clips.left_out)


def _untrained(classifier: Classifier) -> str:
    return (
        f"The classifier of {classifier.source} was never trained: {len(classifier.untrained)} tensors are not in its "
        f"files ({classifier.untrained[0]}) and hold random numbers. These figures say nothing of it."
    )


def _in_classes(dataset: Dataset, mapping: LabelMapping, probabilities: np.ndarray) -> Predictions:
    """Predictions whose labels and votes are in the classes of the model, not those of the corpus."""
    known = of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1)))
    places = [mapping.classes.index(name) if name in mapping.classes else None for name in known.names]
    votes = known.votes
    if votes is not None:
        moved = np.zeros((len(known), len(mapping.classes)), np.float32)
        for own, place in enumerate(places):
            if place is not None:
                moved[:, place] += votes[:, own]
        with np.errstate(invalid="ignore"):  # all raters of a clip may have chosen other emotions
            votes = moved / moved.sum(axis=1, keepdims=True)
    return dataclasses.replace(
        known,
        names=mapping.classes,
        labels=np.asarray([places[label] for label in known.labels]),
        probabilities=probabilities[None],
        votes=votes,
    )


def _model_facts(model: EvaluatedModel) -> dict[str, Any]:
    classifier = model.classifier
    return {
        "architecture": classifier.model.config.model_type,
        "model_type": classifier.model.config.model_type,
        "checkpoint": Path(classifier.source).name if Path(classifier.source).is_dir() else classifier.source,
        "revision": classifier.revision,
        "parameters": sum(parameter.numel() for parameter in classifier.model.parameters()),
        "padding_safe": classifier.padding_safe,
        "untrained": list(classifier.untrained),
        "learnt_from": sorted(model.provenance.corpora) if model.provenance else None,
    }


def require_place(folder: Path, overwrite: bool) -> None:
    """Refuses a folder with anything but an evaluation, and with an evaluation unless `overwrite` allows it.

    Raises:
        UserError: naming ``--output``.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output: {folder} is a file; name a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_evaluation(folder):
        raise UserError(f"--output: {folder} holds files that are no evaluation's; choose another folder")
    if not overwrite:
        raise UserError(f"--output: {folder} holds an evaluation already; replace it with --overwrite")


def _is_evaluation(folder: Path) -> bool:
    if (folder.parent / "recipe.yaml").is_file() or any(child.is_dir() for child in folder.iterdir()):
        return False
    try:
        return json.loads((folder / "report.json").read_text(encoding="utf-8")).get("kind") == "evaluation"
    except (OSError, ValueError, AttributeError):
        return False


def write_evaluation(folder: Path, evaluation: Evaluation, corpus: Mapping[str, Any] | None = None) -> None:
    """Writes report, page, pictures and predictions.

    Args:
        folder: a partial one of `ser_hf.utils.files.atomic_folder`.
        corpus: the facts of `ser_hf.corpora.corpus_facts`, for the citation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions, report = evaluation.predictions, evaluation.report
    pq.write_table(to_table("test", predictions), folder / "predictions.parquet")
    if evaluation.points is not None:
        pq.write_table(evaluation.points, folder / report["embeddings"]["points"])
    counts = Counter(predictions.labels.tolist())
    distribution = {"test": {name: counts[i] for i, name in enumerate(predictions.names)}}
    written = Report.from_dict({**report, "class_distribution": distribution})
    write_report(folder, written, corpus=corpus)


def summary(report: Mapping[str, Any]) -> str:
    """The headline and what flatters it, for a terminal."""
    metrics, (low, high) = report["metrics"], report["intervals"]["uar"]
    lines = [
        f"{report['name']}: UAR {metrics['uar']:.3f} ({100 * report['confidence']:g} % interval {low:.3f} to "
        f"{high:.3f}), macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}; {report['clips']:,} clips of "
        f"{report['speakers']} speakers, {len(report['labels'])} labels"
    ]
    if report["protocol"]["leak"]:
        lines.append(f"  leaks: {report['protocol']['leak']}")
    lines += [f"  {note}" for note in (*report["protocol"]["notes"], *report["warnings"])]
    return "\n".join(lines)


# What `read_corpus` takes that is no option of the corpus itself.
_OF_ANY = ("labels", "merge", "drop", "exclude", "on_unknown", "sampling_rate")


def evaluate_model(
    model: str | os.PathLike,
    corpus: str,
    root: str | os.PathLike | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    protocol_options: Mapping[str, Any] | None = None,
    part: str = "test",
    fold: int | None = None,
    label_map: Mapping[str, str] | None = None,
    heard_speakers: bool = False,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **evaluation: Any,
) -> dict[str, Any]:
    """Evaluates any audio classifier on a corpus and returns the report (`report.json`).

    Args:
        model: a run's folder, a model folder or a Hub id.
        corpus, root: as in `ser_hf.load_corpus`; `settings` are its other arguments (labels, merge, ...).
        protocol, protocol_options, part, fold: evaluate on one split of a protocol; without one on the whole corpus.
        label_map: the model's word -> emotion, or ``none`` for a label that is not counted.
        heard_speakers: also use speakers that the model was trained with; the report then says that it leaks.
        output: a folder for the report, its page and pictures; None writes nothing. `overwrite` replaces an earlier
            evaluation there.
        evaluation: see `ser_hf.experiment.evaluate.EvaluationSettings`.

    Raises:
        UserError: naming the model, the file or the argument that is wrong.
    """
    try:
        checked = EvaluationSettings(**evaluation)
    except TypeError as error:
        raise UserError(f"evaluate_model: {error}") from None
    if output is not None:
        require_place(Path(output), overwrite)
    settings = dict(settings or {})
    read = read_corpus(corpus, root, **settings)
    loading = {"device": device, "revision": revision, "trust_remote_code": trust_remote_code}
    selection = {"protocol": protocol, "options": protocol_options, "part": part, "fold": fold}
    loaded = load_evaluated_model(str(model), label_map, **loading)
    title = f"{model} on {corpus}"
    result = evaluate_on_corpus(loaded, read, title, checked, heard=heard_speakers, **selection)
    if output is not None:
        options = {key: value for key, value in settings.items() if key not in _OF_ANY}
        with atomic_folder(Path(output), "output") as partial:
            write_evaluation(partial, result, corpus_facts(corpus, options))
    return result.report

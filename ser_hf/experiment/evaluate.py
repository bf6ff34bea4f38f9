"""Evaluates a model of any origin on a corpus: labels, test clips, and the report."""

import dataclasses
import hashlib
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset

from ..audio import prepare
from ..audio.decode import SHORTEST
from ..corpora import Corpus, corpus_facts, read_corpus, sources_facts
from ..corpora.schema import EMOTIONS
from ..corpora.tables import SYNONYMS
from ..corpora.targets import ALIASES, names_of
from ..evaluation.metrics import NAMES
from ..evaluation.predictions import Predictions, of_rows, to_table
from ..evaluation.robustness import robustness
from ..evaluation.summary import ModelFacts, degenerate, evaluate_predictions
from ..evaluation.tasks import DIMENSIONS
from ..inference.batches import classify
from ..inference.classifier import Classifier, load_classifier
from ..models.preparation import Preparation, prepare_waveform
from ..protocols import PARTS, fingerprint, may_share, split_corpus
from ..report.report import Report
from ..report.views import degraded, figure, span
from ..report.write import write_report
from ..utils.environment import environment, quiet_libraries
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.yaml import Range, coerce_fields
from .data import TrainingProvenance, training_provenance

logger = logging.getLogger(__name__)

# In a label map: predictions of the label are not counted, and the others share its probability.
IGNORED = "none"
_SEX = re.compile(r"^(female|male)[\s_-]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class LabelMapping:
    """The classes that a model is evaluated in, and the class of each of its labels."""

    words: list[str]  # the model's labels
    # emotions in canonical order, then labels that are no emotion and count as errors
    classes: list[str]
    of: list[str | None]  # the class of each label, None if it is not counted

    def to_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes): words of one class add up, and rows to 1."""
        places = np.zeros((len(self.words), len(self.classes)))
        for i, name in enumerate(self.of):
            if name is not None:
                places[i, self.classes.index(name)] = 1
        sums = np.asarray(probabilities, np.float64) @ places
        total = sums.sum(axis=-1, keepdims=True)
        # All probability may be on labels that are not counted.
        shares = np.divide(
            sums, total, out=np.full_like(sums, 1 / len(self.classes)), where=total > 0
        )
        return shares.astype(np.float32)

    def rows(self) -> list[dict[str, Any]]:
        """[{word, emotion, counted}] of every word; `emotion` is None for an unknown word."""
        return [
            {
                "word": word,
                "emotion": name if name in EMOTIONS else None,
                "counted": name is not None,
            }
            for word, name in zip(self.words, self.of, strict=True)
        ]


class DimensionMapping(LabelMapping):
    """As `LabelMapping`, of a model that predicts dimensions: those that are evaluated, and the one
    of each output.
    """

    def to_classes(self, values: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes)."""
        return np.asarray(values, np.float32)[..., [self.of.index(name) for name in self.classes]]

    def rows(self) -> list[dict[str, Any]]:
        pairs = zip(self.words, self.of, strict=True)
        return [
            {"word": word, "emotion": name, "counted": name in self.classes} for word, name in pairs
        ]

    def on(self, targets: Sequence[str]) -> "DimensionMapping":
        """The mapping to the targets of a corpus; an activation is an arousal."""
        of = [
            next((one for one in (name, ALIASES.get(name)) if one in targets), name)
            for name in self.of
        ]
        classes = [name for name in targets if name in of]
        if not classes:
            raise UserError(
                f"corpus.targets: the model predicts {', '.join(self.words)}, the corpus has the targets "
                f"{', '.join(targets) or 'none'}; name them, such as corpus.targets=[{self.words[0]}], or map the "
                "outputs of the model with --label-map"
            )
        return DimensionMapping(self.words, classes, of)


def dimension_mapping(
    words: Sequence[str], label_map: Mapping[str, str] | None = None
) -> DimensionMapping:
    """The mapping of a model's outputs to dimensions: their names in lower case, or `label_map`,
    output -> dimension or ``none``."""
    label_map = label_map or {}
    for word in label_map:
        if word not in words:
            raise UserError(
                f"--label-map: the model has no output {word!r}; its outputs are {', '.join(words)}"
            )
    of = [label_map.get(word, word.strip().lower()) for word in words]
    if len(set(of)) < len(of):
        raise UserError(
            f"--label-map: two outputs of the model are the same dimension: {', '.join(of)}"
        )
    return DimensionMapping(list(words), of, [None if name == IGNORED else name for name in of])


# By task: the mapping, and how it is found.
MAPPINGS = {"emotions": LabelMapping, "dimensions": DimensionMapping}


def label_mapping(words: Sequence[str], label_map: Mapping[str, str] | None = None) -> LabelMapping:
    """The mapping of a model's labels to emotions: canonical names, common names
    (`ser_hf.corpora.tables.SYNONYMS`; in any case, with or without a sex as in ``female_happy``),
    or `label_map`.

    `label_map` is label -> emotion, or ``none`` for a label that is not counted.
    """
    label_map = label_map or {}
    for word, emotion in label_map.items():
        if word not in words:
            raise UserError(
                f"--label-map: the model has no label {word!r}; its labels are {', '.join(words)}"
            )
        if emotion not in (*EMOTIONS, IGNORED):
            raise UserError(
                f"--label-map: {word}={emotion}: unknown emotion; choose one of {', '.join(EMOTIONS)}, or {IGNORED}"
            )
    of = []
    for word in words:
        plain = _SEX.sub("", word.strip()).strip().lower()
        name = label_map.get(word) or (plain if plain in EMOTIONS else SYNONYMS.get(plain, word))
        of.append(None if name == IGNORED and word in label_map else name)
    known = [emotion for emotion in EMOTIONS if emotion in of]
    if len(known) < 2:
        found = (
            f"the model's labels are {', '.join(words)}, of which {len(known)} are known emotions"
        )
        raise UserError(f"--label-map: {found}; map them, as in {words[0]}=angry")
    others = [name for name in dict.fromkeys(of) if name is not None and name not in EMOTIONS]
    return LabelMapping(list(words), known + others, of)


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How a model is evaluated, and on which clips (the last five fields, see `select_test_clips`).

    Clips longer than `window` seconds are processed in windows; None is the window of the model's
    recipe.
    """

    window: Annotated[float, Range(min=SHORTEST)] | None = None
    batch_size: Annotated[int, Range(min=1)] = 16
    bootstrap: Annotated[int, Range(min=1)] = 2000
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    robustness: bool = False
    cache_dir: str | None = None
    protocol: str | None = None
    protocol_options: dict[str, Any] | None = None
    fold: int | None = None
    part: str = "test"
    training_speakers: bool = False

    def __post_init__(self):
        coerce_fields(self, lambda name: f"--{name.replace('_', '-')}")


@dataclasses.dataclass(frozen=True)
class Clips:
    """The test clips, and the report's `protocol` and `audit`."""

    dataset: Dataset
    protocol: dict[str, Any]
    audit: dict[str, Any]


def select_test_clips(
    corpus: Corpus,
    classes: Sequence[str],
    provenance: TrainingProvenance | None,
    settings: EvaluationSettings,
) -> Clips:
    """Clips of the corpus, or of one split of a protocol, with a label among the classes and a new
    speaker.

    With `training_speakers` those of the model's training are kept; the report then names the leak.
    """
    protocol = settings.protocol
    fold = settings.fold
    part = settings.part
    if part not in PARTS:
        raise UserError(f"--part: unknown split {part!r}; choose one of {', '.join(PARTS)}")
    if protocol is None and (part != "test" or fold is not None or settings.protocol_options):
        raise UserError("--protocol: missing; a split, a fold and options of a protocol need it")
    dataset = corpus.dataset
    name = "whole corpus"
    sha256 = ""
    rated = "targets" in dataset.features
    rows = list(range(len(dataset)))
    if protocol is not None:
        splits = split_corpus(
            dataset, protocol, None if fold is None else [fold], **(settings.protocol_options or {})
        )
        if len(splits) > 1:
            raise UserError(f"--fold: {protocol} has folds 1 to {len(splits)}; name one")
        rows = splits[0].rows[part]
        name = f"{protocol}, its {part} part"
        sha256 = fingerprint(splits)
    names = dataset.features["label"].names
    labels = dataset["label"][:]
    speakers = dataset["speaker"][:]
    known = provenance.speakers if provenance else frozenset()
    left_out: Counter[str] = Counter()
    kept = []
    for row in rows:
        if not rated and names[labels[row]] not in classes:
            left_out[f"the model has no label for {names[labels[row]]}"] += 1
        elif speakers[row] in known and not settings.training_speakers:
            left_out["their speakers are in the model's training or validation split"] += 1
        else:
            kept.append(row)
    reasons = [f"{count} clips are not evaluated: {why}." for why, count in left_out.items()]
    for reason in reasons:
        logger.warning("%s", reason)
    if not kept:
        remedy = "--training-speakers evaluates known speakers, --label-map maps the model's labels"
        raise UserError(f"--corpus: no clip is left to evaluate. {' '.join(reasons)} ({remedy})")
    chosen = dataset.select(kept)
    tested = sorted({speaker for speaker in chosen["speaker"][:] if speaker is not None})
    shared = known.intersection(tested)
    unnamed = may_share(tested, sorted(known))
    leak = None
    if shared:
        leak = f"{len(shared)} of {len(tested)} test speakers are in the model's training or validation split."
    elif unnamed:
        leak = f"Clips of {', '.join(unnamed)} have unknown speakers, which may be in the model's training data."
    note = "The training data of this model are unknown: if they have these speakers, the results are too good."
    if provenance is not None:
        corpora = ", ".join(sorted(provenance.corpora))
        note = f"Trained on {corpora} under {provenance.protocol} ({provenance.sha256[:8]})."
    described = {
        "name": name,
        "sha256": hashlib.sha256(
            "\n".join([sha256, *sorted(chosen["id"][:])]).encode()
        ).hexdigest(),
        "clips": [],
        "leak": leak,
        "notes": [*reasons, note],
        "fold": None,
        "parts": {"test": {"clips": len(chosen), "speakers": tested}},
    }
    counted = None if provenance is None or (unnamed and not shared) else len(shared)
    audit = {"shared": {"train/test": {"speakers": counted}}, "apart": {"train/test": ["speakers"]}}
    return Clips(chosen, described, audit)


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
    predictions = _in_classes(dataset, mapping, mapping.to_classes(shares))
    bootstrapping = {"bootstrap": settings.bootstrap, "confidence": settings.confidence}
    scores = evaluate_predictions(predictions, **bootstrapping)
    scores["warnings"] = (
        degenerate(ModelFacts(mapping.classes, scores.get("confusion"))) + scores["warnings"]
    )
    if classifier.untrained:
        scores["warnings"] = [_untrained(classifier), *scores["warnings"]]
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
        **scores,
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
) -> dict[str, Any]:
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


def _in_classes(dataset: Dataset, mapping: LabelMapping, probabilities: np.ndarray) -> Predictions:
    """Predictions whose labels and votes are in the classes of the model, not those of the corpus."""
    known = of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1)))
    if isinstance(mapping, DimensionMapping):
        own = known.labels[:, [known.names.index(name) for name in mapping.classes]]
        return dataclasses.replace(
            known, names=mapping.classes, labels=own, probabilities=probabilities[None]
        )
    places = [
        mapping.classes.index(name) if name in mapping.classes else None for name in known.names
    ]
    votes = known.votes
    if votes is not None:
        moved = np.zeros((len(known), len(mapping.classes)), np.float32)
        for own, place in enumerate(places):
            if place is not None:
                moved[:, place] += votes[:, own]
        with np.errstate(invalid="ignore"):  # all raters of a clip may have chosen other emotions
            votes = moved / moved.sum(axis=1, keepdims=True)
    labels = np.asarray([places[label] for label in known.labels])
    changes = {
        "names": mapping.classes,
        "labels": labels,
        "probabilities": probabilities[None],
        "votes": votes,
    }
    return dataclasses.replace(known, **changes)


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
    read = read_corpus(corpus, root, **(settings or {}))
    loaded = load_evaluated_model(str(model), **(loading or {}))
    general = (
        "labels",
        "merge",
        "drop",
        "exclude",
        "on_unknown",
        "sampling_rate",
        "targets",
        "ranges",
    )
    facts = corpus_facts(
        corpus, {key: value for key, value in (settings or {}).items() if key not in general}
    )
    folder = None if output is None else Path(output)
    return evaluate_on_corpus(loaded, read, f"{model} on {corpus}", checked, folder, facts)

"""Loads the data of an experiment: corpus, splits, plan of the model, waveforms and audit.

The steps are in an order in which the fastest checks run first.
"""

import dataclasses
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from datasets import Dataset

from ..audio import WaveformStore, prepare
from ..audio.build_store import notes_about_recordings
from ..audio.near_duplicates import NearDuplicate, near_duplicates
from ..corpora import Corpus, CorpusSettings, read_corpus, sources_facts
from ..corpora.download import download_missing
from ..corpora.mixture import MixtureItem
from ..corpora.targets import dimension_names, positives_of, targets_of, with_positives
from ..evaluation.tasks import EMOTIONS, TASKS, Task
from ..loading.plan import Blueprint, blueprint
from ..loading.published import is_model, require_published
from ..models import ARCHITECTURES
from ..models.preparation import Preparation
from ..protocols import (
    Audit,
    ProtocolSettings,
    Split,
    audit,
    contradictions,
    require_apart,
    split_by,
    with_training_rows,
)
from ..protocols.settings import RandomSettings
from ..report.card import public_name
from ..utils.cache import key_of
from ..utils.errors import UserError
from .level import loudness_note
from .model_settings import TransferredSettings
from .provenance import (
    TrainingProvenance,
    inherited_provenance,
    require_new_to_parent,
    validation_note,
    with_parent_speakers,
)
from .recipe import Recipe
from .targets import auxiliary_classes

logger = logging.getLogger(__name__)

_CorpusOrItem = TypeVar("_CorpusOrItem", CorpusSettings, MixtureItem)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold: its split into training, validation and test clips, and the audit of this split.

    Args:
        number: number of the fold, from 1.
        clips: a digest of the clips (id, label, speaker, samples). With it, a resumed run detects
            changes that the fingerprint of the ids does not show.
    """

    number: int
    split: Split
    audit: Audit
    clips: str


@dataclasses.dataclass(frozen=True)
class ExperimentData:
    """The data that all runs of an experiment share.

    Args:
        folds: the folds of the protocol.
        foil: the folds of the leaky protocol with which it is compared; empty without one.
        preparation_seconds: wall clock time of the loading.
        notes: warnings for the report about the model and the clips.
        sources: the labels in the corpus files and their classes.
        weights: for each corpus of a mixture, how often an epoch contains its clips.
        inherited: speakers that the model's checkpoint was trained with, if it documents them.
        inherited_clips: short hashes of the recordings that it was trained with.
        ranges: {target: [lowest, highest] rating}.
        auxiliary: {auxiliary corpus: its clips}; they are in the training split of each fold.
        task: what a model predicts.
    """

    dataset: Dataset
    store: WaveformStore
    plan: Blueprint
    folds: list[Fold]
    foil: list[Fold]
    preparation_seconds: float
    notes: list[str]
    sources: list[dict[str, Any]]
    weights: dict[str, float]
    inherited: list[str]
    ranges: dict[str, list[float]]
    inherited_clips: frozenset[str] = frozenset()
    auxiliary: dict[str, int] = dataclasses.field(default_factory=dict)
    task: Task = EMOTIONS

    @property
    def labels(self) -> list[str]:
        """The classes that a model predicts, or the dimensions if it predicts no classes."""
        return _output_names(self.dataset, self.task)

    @property
    def dimensions(self) -> list[str]:
        """The dimensions that a model predicts, also beside classes; empty for classes alone."""
        return dimension_names(self.dataset)


def load_experiment_data(recipe: Recipe) -> ExperimentData:
    """Load and split the corpus, plan the model, prepare the waveforms, and audit the splits.

    Returns:
        The data that all folds and seeds of the recipe share.

    Raises:
        UserError: naming the recipe key or file that is wrong, or the clips that are in two of the
            training, validation and test splits.
    """
    began = time.perf_counter()
    _check_published_weights(recipe)
    data = data_of_corpus(recipe, load_recipe_corpus(recipe))
    return dataclasses.replace(data, preparation_seconds=time.perf_counter() - began)


def data_of_corpus(recipe: Recipe, corpus: Corpus) -> ExperimentData:
    """The steps of `load_experiment_data` after the corpus of the recipe is read."""
    began = time.perf_counter()
    protocol = recipe.protocol
    main_rows = corpus.main_rows
    main_dataset = corpus.dataset
    if corpus.auxiliary:
        main_dataset = corpus.dataset.select(main_rows)
    splits = split_by(main_dataset, protocol)
    leaky_protocol = foil_protocol(protocol, splits[0]) if protocol.foil else None
    leaky_splits = _leaky_splits(main_dataset, leaky_protocol, splits[0])
    if corpus.auxiliary:
        rows = range(len(main_rows), len(corpus.dataset))
        splits = with_training_rows(splits, corpus.dataset, rows)
        leaky_splits = with_training_rows(leaky_splits, corpus.dataset, rows)

    plan = plan_model(recipe, corpus)
    without_functionals = dataclasses.replace(plan.preparation, functionals=None)
    dataset, store = _prepare(recipe, corpus.dataset, without_functionals)
    duplicates = None if protocol.near_duplicates == "skip" else near_duplicates(store)

    level_note = loudness_note(recipe, dataset, store, splits)
    if level_note is not None:
        preparation = dataclasses.replace(plan.preparation, level="loudness")
        plan = dataclasses.replace(plan, preparation=preparation)
    if plan.preparation != without_functionals:
        dataset, store = _prepare(recipe, dataset, plan.preparation)

    provenance = inherited_provenance(plan)
    inherited = sorted(provenance.speakers) if provenance else []
    splits = with_parent_speakers(splits, dataset, provenance)
    if protocol.parent_speakers == "error":
        require_new_to_parent(splits, dataset, provenance, plan.checkpoint)
    # `read_corpus` has logged the notes about the corpus.
    notes = list(corpus.notes)
    notes += _log_warnings(
        *notes_about_recordings(dataset, store),
        level_note,
        contradictions(splits, dataset),
        validation_note(splits, provenance),
        _unknown_parent_note(plan, provenance),
    )
    folds = _audit_folds(dataset, splits, protocol, duplicates)
    foil = []
    if leaky_protocol:
        foil = _audit_folds(dataset, leaky_splits, leaky_protocol, duplicates)
    return ExperimentData(
        dataset=dataset,
        store=store,
        plan=plan,
        folds=folds,
        foil=foil,
        preparation_seconds=time.perf_counter() - began,
        notes=notes,
        sources=sources_facts(corpus.sources),
        weights=corpus.weights,
        inherited=inherited,
        ranges=corpus.ranges,
        inherited_clips=provenance.clips if provenance else frozenset(),
        auxiliary=_auxiliary_clips(corpus),
        task=TASKS[recipe.task],
    )


def _output_names(dataset: Dataset, task: Task) -> list[str]:
    """The names of the classes, or of the dimensions of a task without classes."""
    return list(dataset.features["label"].names) if task.has_classes else dimension_names(dataset)


def _check_published_weights(recipe: Recipe) -> None:
    """Check the published file that a transferred network starts from, before clips are read.

    Raises:
        UserError: naming the file, its source and its SHA-256, if it is missing or another one.
    """
    model = recipe.model
    is_transferred = isinstance(model, TransferredSettings) and not model.random_init
    if is_transferred and not is_model(model.checkpoint):
        network = ARCHITECTURES[model.architecture]
        require_published(network.config_class.model_type, model.checkpoint)


def _auxiliary_clips(corpus: Corpus) -> dict[str, int]:
    """The number of clips of each auxiliary corpus, which is logged."""
    counts = Counter(corpus.dataset["corpus"][:])
    clips = {name: counts[name] for name in sorted(corpus.auxiliary)}
    for name, count in clips.items():
        weight = corpus.weights[name]
        logger.info(
            "auxiliary: %d clips of %s join the training split (weight %g)", count, name, weight
        )
    return clips


def _unknown_parent_note(plan: Blueprint, provenance: TrainingProvenance | None) -> str | None:
    """The note for the report if nobody knows what a parent of ser_hf was trained on."""
    if plan.labels is None or provenance is not None:
        return None
    return (
        f"The training data of {public_name(plan.checkpoint)}, from which training starts, are "
        "unknown: if it was trained with test speakers, the figures are too high."
    )


def _log_warnings(*notes: str | None) -> list[str]:
    """Log each note that is not None as a warning; returns these notes."""
    present = [note for note in notes if note is not None]
    for note in present:
        logger.warning("%s", note)
    return present


def load_recipe_corpus(recipe: Recipe) -> Corpus:
    """Read the corpus of a recipe with its labels; download it first if the recipe says so."""
    corpus = _with_expanded_paths(recipe.corpus)
    if corpus.download:
        download_missing(corpus)
    loaded = read_corpus(corpus, recipe.audio.sampling_rate)
    if not TASKS[recipe.task].has_votes:
        return loaded
    dataset = with_positives(loaded.dataset, recipe.corpus.positive_share)
    return dataclasses.replace(loaded, dataset=dataset)


def _with_expanded_paths(corpus: _CorpusOrItem) -> _CorpusOrItem:
    """The settings of a corpus or mixture, with ``~`` in each root expanded."""
    if corpus.root is not None:
        corpus = corpus.replace(root=os.path.expanduser(corpus.root))
    for key in ("corpora", "auxiliary"):
        items = getattr(corpus, key, None)
        if items:
            corpus = corpus.replace(**{key: [_with_expanded_paths(item) for item in items]})
    return corpus


def foil_protocol(protocol: ProtocolSettings, split: Split) -> ProtocolSettings:
    """The leaky protocol that `protocol.foil` names, with the split sizes of `split`.

    It reports near duplicates between its splits and does not refuse them: they are part of the
    leak.
    """
    if split.leak:
        raise UserError(
            f"protocol.foil: {split.name} is leaky itself ({split.leak[:-1]}); a foil shows the "
            "gap to a protocol whose test speakers are new"
        )
    clips = sum(len(rows) for rows in split.rows.values())
    return RandomSettings(
        name=protocol.foil,
        near_duplicates="tell",
        validation=len(split.rows["validation"]) / clips,
        test=len(split.rows["test"]) / clips,
        seed=getattr(protocol, "seed", 0),  # a published list of speakers has no seed
    )


def _leaky_splits(
    dataset: Dataset, leaky_protocol: ProtocolSettings | None, split: Split
) -> list[Split]:
    """Draw the split of the foil from the clips that the protocol uses; empty without a foil."""
    if leaky_protocol is None:
        return []
    used = sorted(row for rows in split.rows.values() for row in rows)
    (leaky_split,) = split_by(dataset.select(used), leaky_protocol)
    rows_in_dataset = {part: [used[row] for row in rows] for part, rows in leaky_split.rows.items()}
    return [dataclasses.replace(leaky_split, rows=rows_in_dataset)]


def plan_model(recipe: Recipe, corpus: Corpus) -> Blueprint:
    """The configuration and the feature extractor of the model, without weights."""
    task = TASKS[recipe.task]
    plan = blueprint(
        labels=_output_names(corpus.dataset, task),
        sampling_rate=recipe.audio.sampling_rate,
        normalize=recipe.audio.normalize,
        preparation=recipe.preparation,
        problem_type=task.problem_type,
        ranges=corpus.ranges,
        dimensions=dimension_names(corpus.dataset) if task.has_classes else (),
        auxiliary=auxiliary_classes(recipe, corpus.dataset),
        **recipe.model.plan,
    )
    if plan.gradient_free_head and recipe.training.solver != "sklearn":
        raise UserError(
            f"model.checkpoint: the head of {plan.checkpoint} (support vector machines or trees) "
            "has no gradient; set training.solver: sklearn"
        )
    return plan


def _prepare(
    recipe: Recipe, dataset: Dataset, preparation: Preparation
) -> tuple[Dataset, WaveformStore]:
    """Decode and prepare every clip once (see `ser_hf.prepare`)."""
    return prepare(dataset, recipe.audio.sampling_rate, recipe.audio.cache_dir, preparation)


def _audit_folds(
    dataset: Dataset,
    splits: Sequence[Split],
    protocol: ProtocolSettings,
    duplicates: Sequence[NearDuplicate] | None,
) -> list[Fold]:
    """Audit and log the split of each fold; a forbidden overlap raises a `UserError`."""
    numbers = protocol.folds or range(1, len(splits) + 1)
    refuse_near_duplicates = protocol.near_duplicates == "error"
    if len(splits) > 1:  # raise one error about the duplicates of all folds
        require_apart(splits, dataset, duplicates if refuse_near_duplicates else None)
    folds = []
    for number, split in zip(numbers, splits, strict=True):
        audit_of_split = audit(
            split, dataset, duplicates, refuse_near_duplicates=refuse_near_duplicates
        )
        title = f"{split.name}, fold {split.fold}" if split.fold else split.name
        logger.info("%s\n%s\n%s", title, split.table(dataset), audit_of_split.table())
        folds.append(
            Fold(
                number=number,
                split=split,
                audit=audit_of_split,
                clips=digest_of_clips(dataset, split),
            )
        )
    return folds


def digest_of_clips(dataset: Dataset, split: Split) -> str:
    """A digest of the clips of a split: id, label, speaker, samples, targets and sets."""
    label_names = dataset.features["label"].names
    ids = dataset["id"][:]
    labels = dataset["label"][:]
    speakers = dataset["speaker"][:]
    hashes = dataset["content_hash"][:]
    rows = sorted(row for rows_of_part in split.rows.values() for row in rows_of_part)
    targets = targets_of(dataset, rows)
    positives = positives_of(dataset, rows)
    clips = []
    for i, row in enumerate(rows):
        label = label_names[labels[row]] if labels[row] >= 0 else None
        clip = [ids[row], label, speakers[row], hashes[row]]
        if targets is not None:
            clip += targets[i].tolist()
        if positives is not None:
            clip += positives[i].tolist()
        clips.append(clip)
    return key_of(sorted(clips))

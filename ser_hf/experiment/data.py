"""Loads the data of an experiment: corpus, splits, plan of the model, waveforms, audit; cheap
checks first.
"""

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..audio import NearDuplicate, WaveformStore, near_duplicates, prepare
from ..corpora import Corpus, corpus_settings, read_corpus, sources_facts
from ..corpora.download import download_missing
from ..corpora.targets import names_of, targets_of
from ..evaluation.tasks import TASKS
from ..loading.plan import Blueprint, blueprint
from ..models.preparation import Preparation
from ..protocols import (
    Audit,
    Split,
    audit,
    contradictions,
    require_apart,
    split_corpus,
)
from ..utils.cache import key_of
from ..utils.errors import UserError
from .level import LEVEL_SHARE, level_share
from .provenance import training_provenance
from .recipe import ProtocolSection, Recipe

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One split with its audit; `number` counts the folds from 1. `clips` is a digest of the clips
    (id, label, speaker, samples), by which a resumed run notices changes that the fingerprint of
    the ids does not show."""

    number: int
    split: Split
    audit: Audit
    clips: str


@dataclasses.dataclass(frozen=True)
class ExperimentData:
    """The data that all runs of an experiment share.

    Args:
        folds, foil: of the protocol, and of the leaky protocol that it is compared with, if any.
        notes: warnings for the report about the model and the clips.
        sources: the labels in the corpus files and their classes.
        weights: how often an epoch contains the clips of each corpus of a mixture.
        inherited: speakers that the model's checkpoint was trained with, as far as it documents
            them.
        ranges: of the ratings of each target, [lowest, highest].
    """

    dataset: Dataset
    store: WaveformStore
    plan: Blueprint
    folds: list[Fold]
    foil: list[Fold]
    seconds: dict[str, float]
    notes: list[str]
    sources: list[dict[str, Any]]
    weights: dict[str, float]
    inherited: list[str]
    ranges: dict[str, list[float]]

    @property
    def labels(self) -> list[str]:
        """What a model predicts: classes, or the targets of dimensions."""
        return names_of(self.dataset)


def load_experiment_data(recipe: Recipe) -> ExperimentData:
    """Load and split the corpus, plan the model, prepare the waveforms, and audit the splits.

    Returns:
        The data that all folds and seeds of the recipe share.

    Raises:
        UserError: naming the recipe key or file that is wrong, or clips that two parts of a split
            share.
    """
    audio = recipe.audio
    protocol = recipe.protocol
    began = time.perf_counter()
    corpus = load_recipe_corpus(recipe)
    dataset = corpus.dataset
    splits = split_corpus(dataset, protocol.name, protocol.folds, **protocol.options)
    leaky = foil_protocol(protocol, splits[0]) if protocol.foil else None
    foils = [_foil(dataset, leaky, splits[0])] if leaky else []
    preparation = Preparation(**recipe.preparation)
    model = dict(vars(recipe.model))
    rate = audio.sampling_rate
    problem = TASKS[recipe.task].problem_type
    settings = {"sampling_rate": rate, "normalize": audio.normalize, "preparation": preparation}
    settings |= {"problem_type": problem, "ranges": corpus.ranges}
    plan = blueprint(model.pop("architecture"), names_of(dataset), **settings, **model)
    if plan.gradient_free_head and recipe.training.solver != "sklearn":
        raise UserError(
            f"model.checkpoint: the head of {plan.checkpoint} (support vector machines or trees) has no gradient; "
            "set training.solver: sklearn"
        )
    waveforms = dataclasses.replace(preparation, functionals=None)
    dataset, store = prepare(dataset, rate, audio.cache_dir, waveforms)
    duplicates = None if protocol.near_duplicates == "skip" else near_duplicates(store)
    notes = []
    # Of encoders, extractor or first layers normalize the level of each clip, as does
    # audio.normalize.
    if audio.level == "auto" and not audio.normalize and recipe.model.architecture != "encoder":
        share = level_share(dataset, store, splits)
        measured = f"The speaker explains {share:.0%} of the variance of the clips' loudness"
        if share > LEVEL_SHARE:
            notes.append(
                f"{measured}, so every clip was set to one loudness (audio.level: auto became loudness)."
            )
            plan = dataclasses.replace(
                plan, preparation=dataclasses.replace(preparation, level="loudness")
            )
        else:
            logger.info("%s: audio.level: auto becomes null", measured)
    if plan.preparation != waveforms:
        dataset, store = prepare(dataset, rate, audio.cache_dir, plan.preparation)
    if contradicted := contradictions(splits, dataset):
        notes.append(contradicted)
    provenance = None
    # files of weights have none
    if plan.checkpoint and not plan.random_init and not os.path.isfile(plan.checkpoint):
        provenance = training_provenance(plan.checkpoint)
    inherited = sorted(provenance.speakers) if provenance else []
    if shared := {speaker for split in splits for speaker in split.speakers["test"]}.intersection(
        inherited
    ):
        notes.append(
            f"{len(shared)} of the test speakers were training speakers of the checkpoint that this model starts "
            "from: expect lower figures for new speakers."
        )
    for note in notes:
        logger.warning("%s", note)
    folds = _audited(dataset, splits, protocol, duplicates)
    foil = _audited(dataset, foils, leaky, duplicates) if leaky else []
    seconds = {"preparation": time.perf_counter() - began}
    sources = sources_facts(corpus.sources)
    known = seconds, notes, sources, corpus.weights, inherited, corpus.ranges
    return ExperimentData(dataset, store, plan, folds, foil, *known)


def load_recipe_corpus(recipe: Recipe) -> Corpus:
    """The recipe's corpus with its labels, downloaded first if the recipe says so."""
    corpus = recipe.corpus
    root = _expanded(corpus.root)
    options = dict(corpus.options)
    if corpus.name == "mixture" and isinstance(options.get("corpora"), list):
        options["corpora"] = [
            {**item, "root": _expanded(item["root"])}
            if isinstance(item, dict) and "root" in item
            else item
            for item in options["corpora"]
        ]
    settings = corpus_settings(
        corpus.name,
        root,
        labels=corpus.labels,
        merge=corpus.merge,
        drop=corpus.drop,
        exclude=corpus.exclude,
        on_unknown=corpus.on_unknown,
        targets=corpus.targets,
        ranges=corpus.ranges,
        **options,
    )
    if corpus.download:
        download_missing(settings)
    return read_corpus(settings, recipe.audio.sampling_rate)


def _expanded(root: Any) -> Any:
    """A path with ``~`` expanded; anything else unchanged."""
    return os.path.expanduser(root) if isinstance(root, str) else root


def foil_protocol(protocol: ProtocolSection, split: Split) -> ProtocolSection:
    """The leaky protocol of `protocol.foil` with splits of the same sizes; near duplicates are part
    of its leak.
    """
    if split.leak:
        raise UserError(
            f"protocol.foil: {split.name} is leaky itself ({split.leak[:-1]}); a foil shows the gap to a protocol "
            "whose test speakers are new"
        )
    clips = sum(len(rows) for rows in split.rows.values())
    shares = {name: len(split.rows[name]) / clips for name in ("validation", "test")}
    options = shares | {"seed": protocol.options.get("seed", 0)}
    return ProtocolSection(protocol.foil, near_duplicates="tell", options=options)


def _foil(dataset: Dataset, leaky: ProtocolSection, split: Split) -> Split:
    """The foil's split, drawn from the clips that the protocol uses."""
    used = sorted(row for rows in split.rows.values() for row in rows)
    drawn = split_corpus(dataset.select(used), leaky.name, **leaky.options)[0]
    return dataclasses.replace(
        drawn, rows={part: [used[row] for row in rows] for part, rows in drawn.rows.items()}
    )


def _audited(
    dataset: Dataset,
    splits: Sequence[Split],
    protocol: ProtocolSection,
    duplicates: Sequence[NearDuplicate] | None,
) -> list[Fold]:
    numbers = protocol.folds or range(1, len(splits) + 1)
    refused = protocol.near_duplicates == "error"
    if len(splits) > 1:  # one error for the duplicates of all folds
        require_apart(splits, dataset, duplicates if refused else None)
    folds = []
    for number, split in zip(numbers, splits, strict=True):
        audited = audit(split, dataset, duplicates, refuse_near_duplicates=refused)
        title = f"{split.name}, fold {split.fold}" if split.fold else split.name
        logger.info("%s\n%s\n%s", title, split.table(dataset), audited.table())
        folds.append(Fold(number, split, audited, _digest(dataset, split)))
    return folds


def _digest(dataset: Dataset, split: Split) -> str:
    names = dataset.features["label"].names
    ids, labels, speakers, hashes = (
        dataset[name][:] for name in ("id", "label", "speaker", "content_hash")
    )
    used = sorted(row for rows in split.rows.values() for row in rows)
    targets = targets_of(dataset, used)
    rated = [[]] * len(used) if targets is None else targets.tolist()
    clips = zip(used, rated, strict=True)
    return key_of(
        sorted(
            [ids[row], names[labels[row]], speakers[row], hashes[row], *own] for row, own in clips
        )
    )

"""Loads the data of an experiment: corpus, splits, plan of the model, waveforms, audit; cheap checks first."""

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..audio import NearDuplicate, WaveformStore, near_duplicates, prepare
from ..audio.augmentation import open_recordings
from ..corpora import EMOTIONS, Corpus, read_corpus, sources_facts
from ..corpora.download import download_missing
from ..corpora.labels import Rule, require_merged_into_classes
from ..models.preparation import Preparation
from ..protocols import Split, audit, audit_table, contradictions, require_apart, split_corpus
from ..training.factory import Blueprint, blueprint
from ..utils.cache import key_of
from ..utils.errors import UserError
from .evaluation_data import training_provenance
from .recipe import CorpusSection, ProtocolSection, Recipe

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One split with its audit; `number` counts a protocol's folds from 1. `clips` is a digest of what its clips are
    (id, label, speaker, samples), so that a resumed run notices what the split's own fingerprint, over ids, does not.
    """

    number: int
    split: Split
    audit: dict[str, Any]
    clips: str


@dataclasses.dataclass(frozen=True)
class ExperimentData:
    """The data that all runs of an experiment share.

    Args:
        dataset, store: prepared clips and their waveforms.
        plan: of the model.
        folds, foil: of the protocol, and of the leaky protocol that it is compared with, if any.
        seconds: of preparation.
        notes: what a reader of the figures must know about the model and the clips.
        recordings: of each folder that augmentation uses, by the recipe's key: number of `clips`, and a digest `sha`
            of their samples.
        sources: what became of every label in the corpus's files.
        weights: how often an epoch contains the clips of each corpus of a mixture (`ser_hf.corpora.Corpus`).
        inherited: speakers that the model's checkpoint was trained with, as far as it says so.
    """

    dataset: Dataset
    store: WaveformStore
    plan: Blueprint
    folds: list[Fold]
    foil: list[Fold]
    seconds: dict[str, float]
    notes: list[str] = dataclasses.field(default_factory=list)
    recordings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    sources: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    inherited: list[str] = dataclasses.field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        return self.dataset.features["label"].names


def load_experiment_data(recipe: Recipe) -> ExperimentData:
    """Loads and splits the corpus, plans the model, prepares the waveforms, audits the splits: cheap checks first."""
    audio, protocol, model = recipe.audio, recipe.protocol, recipe.model
    began = time.perf_counter()
    corpus = load_recipe_corpus(recipe)
    dataset = corpus.dataset
    splits = split_corpus(dataset, protocol.name, protocol.folds, **protocol.options)
    leaky = foil_protocol(protocol, splits[0]) if protocol.foil else None
    foils = [_foil(dataset, leaky, splits[0])] if leaky else []
    preparation = Preparation(**audio.preparation)
    plan = blueprint(
        model.architecture,
        dataset.features["label"].names,
        sampling_rate=audio.sampling_rate,
        normalize=audio.normalize,
        checkpoint=model.checkpoint,
        random_init=model.random_init,
        weighted_layer_sum=model.weighted_layer_sum,
        pooling=model.pooling,
        head_layers=model.head_layers,
        head_dropout=model.head_dropout,
        attention=model.attention,
        preparation=preparation,
        options=model.options,
    )
    if plan.gradient_free_head and recipe.training.solver != "sklearn":
        raise UserError(
            f"model.checkpoint: the head of {model.checkpoint} (support vector machines or trees) does not learn by "
            "gradient; set training.solver: sklearn"
        )
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir, preparation)
    twins = None
    if protocol.near_duplicates != "skip":
        twins = near_duplicates(store)
    notes = []
    contradicted = contradictions(splits, dataset)
    if contradicted:
        notes = [contradicted]
        logger.warning("%s Listen, then leave the wrong ones out with corpus.exclude.", contradicted)
    inherited = [] if plan.checkpoint is None or plan.random_init else _training_speakers(plan.checkpoint)
    notes = [*notes, *_inherited_notes(inherited, splits)]
    folds = _audited(dataset, splits, protocol, twins)
    foil = _audited(dataset, foils, leaky, twins) if leaky else []
    if not plan.padding_safe:
        logger.info("padding changes the answers of %s: evaluated one clip at a time", plan.config.model_type)
    recordings = _recordings(recipe)
    seconds = {"preparation": time.perf_counter() - began}
    sources = sources_facts(corpus.sources)
    return ExperimentData(
        dataset, store, plan, folds, foil, seconds, notes, recordings, sources, corpus.weights, inherited
    )


def _training_speakers(checkpoint: str) -> list[str]:
    provenance = None if os.path.isfile(checkpoint) else training_provenance(checkpoint)  # files of weights have none
    return sorted(provenance.speakers) if provenance else []


def _inherited_notes(inherited: Sequence[str], splits: Sequence[Split]) -> list[str]:
    """A note on test speakers that the checkpoint was trained with, if there are any."""
    known = set(inherited)
    shared = {speaker for split in splits for speaker in split.speakers["test"] if speaker in known}
    if not shared:
        return []
    note = (
        f"{len(shared)} of the test speakers were training speakers of the checkpoint that this model starts from: "
        "expect lower figures for new speakers."
    )
    logger.warning("%s", note)
    return [note]


def load_recipe_corpus(recipe: Recipe) -> Corpus:
    """The recipe's corpus with its labels, downloaded first if the recipe says so."""
    corpus = recipe.corpus
    root, options = _at_home(corpus.root), dict(corpus.options)
    if corpus.name == "mixture" and isinstance(options.get("corpora"), list):
        options["corpora"] = [
            {**item, "root": _at_home(item["root"])} if isinstance(item, dict) and "root" in item else item
            for item in options["corpora"]
        ]
    if corpus.download:
        _require_emotions(corpus)  # before much comes
        download_missing(corpus.name, root, options)
    return read_corpus(
        corpus.name,
        root,
        labels=corpus.labels,
        merge=corpus.merge,
        drop=corpus.drop,
        exclude=corpus.exclude,
        on_unknown=corpus.on_unknown,
        sampling_rate=recipe.audio.sampling_rate,
        **options,
    )


def _at_home(root: Any) -> Any:
    """A path with ``~`` expanded; anything else unchanged."""
    return os.path.expanduser(root) if isinstance(root, str) else root


def _require_emotions(corpus: CorpusSection) -> None:
    """Raises a `UserError` for a word of `labels`, `merge` or `drop` that is no emotion, and for a merge into what is
    no class."""
    items = corpus.options.get("corpora") or ()
    own = [Rule(item["merge"], item["drop"], f"corpus.corpora[{i}]") for i, item in enumerate(items)]
    require_merged_into_classes(corpus.labels, [Rule(corpus.merge, corpus.drop), *own])
    for word in corpus.labels or ():
        if word not in EMOTIONS:
            raise UserError(f"corpus.labels: {word!r} is not a canonical emotion; choose from {', '.join(EMOTIONS)}")


def _foil(dataset: Dataset, leaky: ProtocolSection, split: Split) -> Split:
    """The foil's split, drawn from the clips that the protocol uses and no others."""
    used = sorted(row for rows in split.rows.values() for row in rows)
    drawn = split_corpus(dataset.select(used), leaky.name, **leaky.options)[0]
    return dataclasses.replace(drawn, rows={part: [used[row] for row in rows] for part, rows in drawn.rows.items()})


def foil_protocol(protocol: ProtocolSection, split: Split) -> ProtocolSection:
    """The leaky protocol that the recipe's own is compared with. Its splits are as large as those of the protocol's
    (first) split, so that only the leak differs. Near duplicates are part of that leak, so they are counted, not
    refused.

    Raises:
        UserError: if the protocol is leaky itself.
    """
    if split.leak:
        raise UserError(
            f"protocol.foil: {split.name} is leaky itself ({split.leak[:-1]}); a foil shows the gap to a protocol "
            "whose test speakers are new"
        )
    clips = sum(len(rows) for rows in split.rows.values())
    shares = {part: len(split.rows[part]) / clips for part in ("validation", "test")}
    options = {**shares, "seed": protocol.options.get("seed", 0)}
    return ProtocolSection(protocol.foil, near_duplicates="tell", options=options)


def _audited(
    dataset: Dataset, splits: Sequence[Split], protocol: ProtocolSection, twins: Sequence[NearDuplicate] | None
) -> list[Fold]:
    numbers = protocol.folds or range(1, len(splits) + 1)
    refused = protocol.near_duplicates == "error"
    if len(splits) > 1:  # one error for the duplicates of all folds
        require_apart(splits, dataset, twins if refused else None)
    folds = []
    for number, split in zip(numbers, splits, strict=True):
        audited = audit(split, dataset, twins, refuse_near_duplicates=refused)
        title = f"{split.name}, fold {split.fold}" if split.fold else split.name
        logger.info("%s\n%s\n%s", title, split.table(dataset), audit_table(audited))
        folds.append(Fold(number, split, audited, _digest(dataset, split)))
    return folds


def _recordings(recipe: Recipe) -> dict[str, dict[str, Any]]:
    stores = open_recordings(recipe.augment, recipe.audio.sampling_rate, recipe.audio.cache_dir)
    # In the store's order, since one of them is drawn by its place there.
    return {
        f"augment.{name}.folder": {"clips": len(store), "sha": key_of(store.content_hashes)}
        for name, store in stores.items()
    }


def _digest(dataset: Dataset, split: Split) -> str:
    names = dataset.features["label"].names
    ids, labels, speakers, hashes = (dataset[name][:] for name in ("id", "label", "speaker", "content_hash"))
    used = (row for rows in split.rows.values() for row in rows)
    return key_of(sorted([ids[row], names[labels[row]], speakers[row], hashes[row]] for row in used))

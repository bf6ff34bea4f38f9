"""Reads from the report of a model which data the model was trained on."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from ..corpora.speakers import KnownSpeakers
from ..loading.files import find_file
from ..loading.plan import Blueprint
from ..protocols import Split, may_share
from ..report.report import read_report
from ..utils.errors import UserError
from .training_clips import among, read_training_clips

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingProvenance:
    """The training data of a model.

    Args:
        speakers: training and validation speakers of the model and of the checkpoint that its
            training started from.
        protocol: name of the split rule or list.
        sha256: fingerprint of the splits.
        fold: number of the fold whose weights are published, if there are several.
        clips: short hashes of the training and validation recordings; empty if not documented.
    """

    speakers: frozenset[str]
    protocol: str
    sha256: str
    fold: int | None = None
    clips: frozenset[str] = frozenset()

    @property
    def corpora(self) -> frozenset[str]:
        """The names of the training corpora, from the speaker keys (``corpus:speaker``)."""
        return frozenset(speaker.partition(":")[0] for speaker in self.speakers)


def training_provenance(source: str, revision: str | None = None) -> TrainingProvenance | None:
    """Read the provenance of a model from its report; None for models without a report of ser_hf.

    Args:
        source: folder or Hub id of the model.
        revision: branch, tag or commit on the Hub.
    """
    path = find_file(source, "report.json", revision, required=False)
    if path is None:
        return None
    try:
        report = read_report(Path(path))
        clips = read_training_clips(source, revision)
    except UserError as error:
        logger.warning("the training data of %s are unknown: %s", source, error)
        return None
    protocol = report.protocol
    parts = protocol.parts
    if protocol.folds:
        parts = protocol.folds[str(report.chosen_fold)].parts
    speakers = set(protocol.inherited or ())
    for name in ("train", "validation"):
        if name in parts:
            speakers.update(parts[name].speakers)
    return TrainingProvenance(
        speakers=frozenset(speakers),
        protocol=protocol.name or "an unnamed protocol",
        sha256=protocol.sha256 or "unknown",
        fold=report.chosen_fold,
        clips=clips,
    )


def inherited_provenance(plan: Blueprint) -> TrainingProvenance | None:
    """The training data of the initial checkpoint; None if it does not document them."""
    # A single weight file has no report beside it.
    if plan.checkpoint is None or plan.random_init or os.path.isfile(plan.checkpoint):
        return None
    return training_provenance(plan.checkpoint, plan.revision)


def with_parent_speakers(
    splits: Sequence[Split], dataset: Dataset, provenance: TrainingProvenance | None
) -> list[Split]:
    """The splits with their test speakers that the initial checkpoint was trained with.

    A speaker is recognized by the name, whatever its spelling, and by any recording.

    Args:
        dataset: clips with the column `content_hash`.
        provenance: the training data of the checkpoint; None if there is none, or unknown.
    """
    if provenance is None:
        return list(splits)
    trained = KnownSpeakers(provenance.speakers)
    recognized = recognized_speakers(dataset, provenance)
    trained_speakers = sorted(provenance.speakers)
    changed = []
    for split in splits:
        tested = split.speakers["test"]
        shared = [speaker for speaker in tested if speaker in trained or speaker in recognized]
        unnamed = may_share(tested, trained_speakers)
        changed.append(
            dataclasses.replace(split, parent_speakers=tuple(shared), parent_unnamed=tuple(unnamed))
        )
    return changed


def require_new_to_parent(
    splits: Sequence[Split],
    dataset: Dataset,
    provenance: TrainingProvenance | None,
    source: str | None,
) -> None:
    """Refuse test speakers and test recordings that the initial checkpoint was trained with.

    As in the audit, a protocol may let training and test share speakers, but never recordings.

    Args:
        splits: from `with_parent_speakers`.
        dataset: clips with the column `content_hash`.
        source: the checkpoint, for the message.

    Raises:
        UserError: for the first split with such speakers or recordings.
    """
    if provenance is None:
        return
    hashes = dataset["content_hash"][:]
    for split in splits:
        where = f"fold {split.fold}" if split.fold else f"protocol {split.name}"
        shared = None
        if split.parent_speakers and "speaker" in split.apart["train/test"]:
            names = ", ".join(split.parent_speakers[:3])
            shared = f"{len(split.parent_speakers)} of the test speakers of {where} ({names})"
        else:
            count = sum(among([hashes[row] for row in split.rows["test"]], provenance.clips))
            if count:
                shared = f"{count} of the test recordings of {where}"
        if shared is not None:
            raise UserError(
                f"model.checkpoint: {source} was trained with {shared}; start from a model "
                "without them, or set protocol.parent_speakers: tell"
            )


def validation_note(splits: Sequence[Split], provenance: TrainingProvenance | None) -> str | None:
    """The note for the report if the initial checkpoint was trained with validation speakers."""
    if provenance is None:
        return None
    trained = KnownSpeakers(provenance.speakers)
    shared: set[str] = set()
    for split in splits:
        shared.update(speaker for speaker in split.speakers["validation"] if speaker in trained)
    if not shared:
        return None
    return (
        f"{len(shared)} of the validation speakers were training speakers of the model that this "
        "one starts from: validation figures are too high, and may select a worse checkpoint."
    )


def recognized_speakers(dataset: Dataset, provenance: TrainingProvenance | None) -> frozenset[str]:
    """The speakers with a recording that the model was trained on, under any name.

    Args:
        dataset: clips with the column `content_hash`.
    """
    if provenance is None or not provenance.clips:
        return frozenset()
    is_trained = among(dataset["content_hash"][:], provenance.clips)
    speakers = dataset["speaker"][:]
    return frozenset(
        speaker for speaker, trained in zip(speakers, is_trained, strict=True) if trained
    )

"""Reads from the report of a model which data the model was trained on."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ..corpora.speakers import KnownSpeakers
from ..loading.files import find_file
from ..loading.plan import Blueprint
from ..protocols import Split
from ..report.report import read_report
from ..utils.errors import UserError
from .training_clips import read_training_clips

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
    return training_provenance(plan.checkpoint)


def inherited_speakers_note(inherited: Sequence[str], splits: Sequence[Split]) -> str | None:
    """The note for the report if the initial checkpoint was trained with test speakers."""
    test_speakers: set[str] = set()
    for split in splits:
        test_speakers.update(split.speakers["test"])
    trained = KnownSpeakers(inherited)
    shared = [speaker for speaker in test_speakers if speaker in trained]
    if not shared:
        return None
    return (
        f"{len(shared)} of the test speakers were training speakers of the checkpoint that this "
        "model starts from: expect lower figures for new speakers."
    )

"""What a model was trained on, as far as its report documents it."""

import dataclasses
import logging
from pathlib import Path

from ..loading.files import find_file
from ..report.report import read_report
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingProvenance:
    """The training data of a model: speakers (also of its checkpoint) in training and validation,
    and its split.
    """

    speakers: frozenset[str]
    protocol: str
    sha256: str
    fold: int | None = None

    @property
    def corpora(self) -> frozenset[str]:
        return frozenset(speaker.partition(":")[0] for speaker in self.speakers)


def training_provenance(place: str, revision: str | None = None) -> TrainingProvenance | None:
    """The provenance in the report of a model (folder or Hub id); None for models without a report
    of ser_hf.
    """
    path = find_file(place, "report.json", revision, required=False)
    if path is None:
        return None
    try:
        report = read_report(Path(path))
    except UserError as error:
        logger.warning("the training data of %s are unknown: %s", place, error)
        return None
    protocol = report.protocol
    parts = protocol.folds[str(report.chosen_fold)].parts if protocol.folds else protocol.parts
    speakers = {
        speaker
        for name in ("train", "validation")
        if name in parts
        for speaker in parts[name].speakers
    }
    speakers.update(protocol.inherited or ())
    name = protocol.name or "an unnamed protocol"
    sha256 = protocol.sha256 or "unknown"
    return TrainingProvenance(frozenset(speakers), name, sha256, report.chosen_fold)

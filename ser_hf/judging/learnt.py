"""What a model of ours tells of the clips that it was made with: its own report, published beside its weights."""

import dataclasses
import json
from typing import Any

from ..errors import UserError
from ..prediction.expert import published_file


@dataclasses.dataclass(frozen=True)
class Learnt:
    """Speakers, prefixed by their corpus, of the clips that a model was trained with or chosen by, those of the
    checkpoint that it started from among them; the protocol that kept others apart from them, its fingerprint, and of
    a protocol with folds the number of the model's own."""

    speakers: frozenset[str]
    protocol: str
    sha256: str
    fold: int | None = None

    @property
    def corpora(self) -> frozenset[str]:
        return frozenset(speaker.partition(":")[0] for speaker in self.speakers)


def learnt_from(place: str, revision: str | None = None) -> Learnt | None:
    """None of a model that does not tell, as those of others do.

    Args:
        place: a model's folder or its Hub id.

    Raises:
        UserError: if its report is damaged.
    """
    path = published_file(place, "report.json", revision)
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the model's report cannot be read ({error}); take it from where it came") from None
    protocol = report.get("protocol") if isinstance(report, dict) else None
    if not isinstance(protocol, dict) or "sha256" not in protocol:
        return None  # another project's report
    parts = _own_fold(report, protocol)["parts"]
    speakers = {speaker for part in ("train", "validation") for speaker in parts.get(part, {}).get("speakers", ())}
    speakers.update(protocol.get("inherited", ()))
    fold = report["chosen_fold"] if protocol.get("folds") else None
    return Learnt(frozenset(speakers), protocol["name"], protocol["sha256"], fold)


def _own_fold(report: dict[str, Any], protocol: dict[str, Any]) -> dict[str, Any]:
    """Where a report is over several folds, what it says of the one whose weights these are."""
    folds = protocol.get("folds")
    return folds[str(report["chosen_fold"])] if folds else protocol

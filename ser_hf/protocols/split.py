"""A split: named parts of a corpus's ids, with a fingerprint, that refuses to leak."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import UserError

PARTS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of each part in a dataset, beside the ids and speakers that say the same to people."""

    name: str
    rows: dict[str, list[int]]
    ids: dict[str, list[str]]
    speakers: dict[str, list[str]]

    @property
    def sha256(self) -> str:
        """Fingerprint over each part's sorted ids: equal fingerprints mean the same clips in the same parts."""
        canonical = json.dumps({part: sorted(self.ids[part]) for part in PARTS}, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"protocol": self.name, "sha256": self.sha256, "speakers": self.speakers, "ids": self.ids}

    def table(self, dataset: Dataset) -> str:
        """Clips, speakers and clips per label of each part, as lines to print."""
        names = dataset.features["label"].names
        labels = dataset["label"][:]
        lines = [f"{'part':<11} {'clips':>6} {'speakers':>8}  " + " ".join(f"{name:>9}" for name in names)]
        for part in PARTS:
            counts = Counter(labels[row] for row in self.rows[part])
            per_label = " ".join(f"{counts[i]:>9}" for i in range(len(names)))
            lines.append(f"{part:<11} {len(self.rows[part]):>6} {len(self.speakers[part]):>8}  {per_label}")
        lines += [f"{part}: {', '.join(self.speakers[part])}" for part in PARTS]
        return "\n".join(lines)


def split_by_speakers(name: str, dataset: Dataset, speakers: Mapping[str, Sequence[str]]) -> Split:
    """The split that gives each part the clips of its speakers.

    Raises:
        UserError: if a speaker stands in two parts, or a part is left without a clip or a class.
    """
    part_of: dict[str, str] = {}
    for part in PARTS:
        for speaker in speakers[part]:
            if part_of.setdefault(speaker, part) != part:
                raise UserError(
                    f"protocol.{part}: speaker {speaker} stands in {part_of[speaker]} as well; "
                    "each speaker belongs to one part"
                )
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, speaker in enumerate(dataset["speaker"]):
        if speaker in part_of:
            rows[part_of[speaker]].append(row)
    split = _split(name, dataset, rows)
    _require_all_classes(split, dataset)
    return split


def _split(name: str, dataset: Dataset, rows: dict[str, list[int]]) -> Split:
    ids, speakers = dataset["id"][:], dataset["speaker"][:]
    return Split(
        name,
        rows,
        {part: [ids[row] for row in rows[part]] for part in PARTS},
        {part: sorted({speakers[row] for row in rows[part]}) for part in PARTS},
    )


def _require_all_classes(split: Split, dataset: Dataset) -> None:
    names, labels = dataset.features["label"].names, dataset["label"][:]
    for part in PARTS:
        missing = set(range(len(names))) - {labels[row] for row in split.rows[part]}
        if missing:
            listed = ", ".join(names[i] for i in sorted(missing))
            raise UserError(f"protocol.{part}: no clip of {listed}; UAR is undefined without every class in each part")


def save_split(split: Split, audit: Mapping[str, Any], path: Path) -> None:
    """Writes split.json: protocol, sha256, the audit, speakers and ids of each part."""
    described = split.to_dict()
    content = {"protocol": described.pop("protocol"), "sha256": described.pop("sha256"), "audit": audit} | described
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)

"""A split: the ids of train, validation and test, with a fingerprint and the columns that they keep
apart.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from datasets import Dataset, DatasetDict

from ..corpora.schema import UNNAMED
from ..utils.errors import UserError
from ..utils.files import write_json

PARTS = ("train", "validation", "test")
PAIRS = tuple(f"{a}/{b}" for a, b in combinations(PARTS, 2))
_READ: WeakKeyDictionary[Dataset, dict[str, list[Any]]] = WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of each part (train, validation, test) in a dataset, with their ids and speakers.

    `apart` names, for each pair of parts, the columns without a shared value; the audit verifies
    it. Recordings are always kept apart. `fold` is the title of a fold (its test side), `notes` are
    remarks for readers of the figures.
    """

    name: str
    rows: dict[str, list[int]]
    ids: dict[str, list[str]]
    speakers: dict[str, list[str]]
    apart: dict[str, tuple[str, ...]]
    fold: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        clips = ", ".join(f"{len(self.rows[part])} {part}" for part in PARTS)
        return f"Split({self.name}{f', fold {self.fold}' if self.fold else ''}, clips: {clips}, {self.sha256[:8]})"

    @property
    def sha256(self) -> str:
        """Fingerprint over each part's sorted ids: equal fingerprints mean the same clips in the
        same parts.
        """
        canonical = json.dumps(
            {part: sorted(self.ids[part]) for part in PARTS}, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def leak(self) -> str | None:
        """Why the results overestimate those on unseen speakers: test speakers that are in train or
        validation, or that may be because speakers are unknown. None without a leak."""
        used = {"train": "used for training", "validation": "used to select the checkpoint"}
        tested = self.speakers["test"]
        for part, how in used.items():
            shared = set(tested) & set(self.speakers[part])
            if shared:
                return (
                    f"Speaker-dependent: {len(shared)} of the {len(tested)} test speakers were {how}, so these "
                    "figures do not hold for unseen speakers."
                )
        for part, how in used.items():
            unnamed = may_share(tested, self.speakers[part])
            if unnamed:
                return (
                    f"Possibly speaker-dependent: clips of {', '.join(unnamed)} have unknown speakers, so test "
                    f"speakers may have been {how}, and these figures may not hold for unseen speakers."
                )
        return None

    def apply(self, dataset: Dataset) -> DatasetDict:
        """The rows of each split, as `datasets.DatasetDict`; its `push_to_hub` uploads them with
        their audio.
        """
        return DatasetDict({part: dataset.select(self.rows[part]) for part in PARTS})

    def to_dict(self) -> dict[str, Any]:
        described = {"protocol": self.name, "sha256": self.sha256} | (
            {} if self.fold is None else {"fold": self.fold}
        )
        apart = {pair: list(columns) for pair, columns in self.apart.items()}
        described |= {"leak": self.leak, "notes": list(self.notes), "apart": apart}
        return described | {"speakers": self.speakers, "ids": self.ids}

    def table(self, dataset: Dataset) -> str:
        """Clips, speakers and clips per label of each part, as lines to print."""
        names = dataset.features["label"].names
        labels = read_column(dataset, "label")
        lines = [
            f"{'part':<11} {'clips':>6} {'speakers':>8}  "
            + " ".join(f"{name:>9}" for name in names)
        ]
        for part in PARTS:
            counts = Counter(labels[row] for row in self.rows[part])
            per_label = " ".join(f"{counts[i]:>9}" for i in range(len(names)))
            lines.append(
                f"{part:<11} {len(self.rows[part]):>6} {len(self.speakers[part]):>8}  {per_label}"
            )
        left_out = len(dataset) - sum(len(rows) for rows in self.rows.values())
        if left_out:
            lines.append(f"{'in no part':<11} {left_out:>6}")
        for part, names in self.speakers.items():
            some = (
                names
                if len(names) <= 8
                else [*names[:3], f"... {len(names) - 4} more ...", names[-1]]
            )
            lines.append(f"{part}: {', '.join(some)}")
        return "\n".join([*lines, *self.notes, *([self.leak] if self.leak else [])])


def may_share(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The corpora with speakers on both sides and unknown speakers (`UNNAMED`) on one."""
    sides = [[speaker.partition(":") for speaker in side] for side in (one, other)]
    both = set.intersection(*({corpus for corpus, _, _ in side} for side in sides))
    return sorted({corpus for side in sides for corpus, _, name in side if name == UNNAMED} & both)


def make_split(
    name: str,
    dataset: Dataset,
    rows: Mapping[str, Sequence[int]],
    *,
    test_apart: Sequence[str] = ("speaker",),
    validation_apart: Sequence[str] = ("speaker",),
    fold: str | None = None,
    notes: Sequence[str] = (),
) -> Split:
    """A split from row numbers, checked: every part has clips and every class, but a class missing
    from validation or test of a fold is only a note, as every clip is tested in some fold.

    Args:
        test_apart: columns of which test shares no value with train and validation.
        validation_apart: columns of which validation shares no value with train.
    """
    ids = read_column(dataset, "id")
    speakers = read_column(dataset, "speaker")
    labels = read_column(dataset, "label")
    names = dataset.features["label"].names
    notes = list(notes)
    where = f"protocol {name}" + (f", fold {fold}" if fold else "")
    for part in PARTS:
        if not rows[part]:
            raise UserError(f"{where}: no clip in {part}")
        missing = [
            names[i] for i in sorted(set(range(len(names))) - {labels[row] for row in rows[part]})
        ]
        if missing and (part == "train" or fold is None):
            raise UserError(f"{where}: no clip of {', '.join(missing)} in {part}; drop or merge it")
        if missing:
            notes.append(
                f"No clip of {', '.join(missing)} in {part}: its scores are means over the other classes."
            )
    taken = [row for part in PARTS for row in rows[part]]
    if len(set(taken)) != len(taken):
        raise ValueError(f"{where}: a row in two parts")
    return Split(
        name,
        {part: sorted(rows[part]) for part in PARTS},
        {part: [ids[row] for row in sorted(rows[part])] for part in PARTS},
        {part: sorted({speakers[row] for row in rows[part]}) for part in PARTS},
        {
            "train/validation": tuple(validation_apart),
            "train/test": tuple(test_apart),
            "validation/test": tuple(test_apart),
        },
        fold,
        tuple(notes),
    )


def read_column(dataset: Dataset, name: str) -> list[Any]:
    """The values of a column by row (do not modify), cached: `datasets` takes 0.2 s for 7,442 rows
    after `select`.
    """
    columns = _READ.setdefault(dataset, {})
    if name not in columns:
        columns[name] = dataset[name][:]
    return columns[name]


def rows_where(dataset: Dataset, column: str, values: Sequence[Any]) -> list[int]:
    """Rows whose value of `column` is one of `values`."""
    wanted = set(values)
    return [row for row, value in enumerate(read_column(dataset, column)) if value in wanted]


def save_splits(
    splits: Sequence[Split],
    audits: Sequence[Mapping[str, Any]],
    path: Path,
    clips: Sequence[str] = (),
) -> None:
    """Write split.json. `clips` are digests of the clips of each split."""
    described = []
    for split, audit in zip(splits, audits, strict=True):
        content = split.to_dict()
        described.append(
            {key: content.pop(key) for key in ("protocol", "sha256")} | {"audit": audit} | content
        )
    if len(described) == 1:
        content = described[0]
    else:
        content = {"protocol": splits[0].name, "sha256": fingerprint(splits), "folds": described}
    content["clips"] = list(clips)
    write_json(path, content)


def fingerprint(splits: Sequence[Split]) -> str:
    """The sha256 of one split, or over those of several folds in order."""
    if len(splits) == 1:
        return splits[0].sha256
    return hashlib.sha256("".join(split.sha256 for split in splits).encode()).hexdigest()

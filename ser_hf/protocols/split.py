"""The class `Split`: train, validation and test clips, and the columns that they keep apart."""

import dataclasses
import hashlib
import html
import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from datasets import Dataset, DatasetDict

from ..corpora.schema import UNNAMED
from ..utils.errors import UserError
from ..utils.files import write_json

if TYPE_CHECKING:
    from .audit import Audit

PARTS = ("train", "validation", "test")
PAIRS = tuple(f"{first}/{second}" for first, second in combinations(PARTS, 2))

# A table lists at most this number of speakers of a part.
_SPEAKERS_LISTED = 8

# Cache of the columns that `read_column` has read.
_READ: WeakKeyDictionary[Dataset, dict[str, list[Any]]] = WeakKeyDictionary()


class MissingClassError(UserError):
    """The error for a part of a split without clips of a class."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of each part (train, validation, test) in a dataset, with their ids and speakers.

    `apart` has, for each pair of parts, the columns in which the two parts share no value; the
    audit verifies this. Recordings are always kept apart. `fold` is the title of a fold, which
    describes its test clips. `notes` are for readers of the results. `parent_speakers`
    are the test speakers that the initial checkpoint was trained with, and `parent_unnamed` the
    corpora whose unknown speakers may be in the test split and in the checkpoint's training data.
    """

    name: str
    rows: dict[str, list[int]]
    ids: dict[str, list[str]]
    speakers: dict[str, list[str]]
    apart: dict[str, tuple[str, ...]]
    fold: str | None = None
    notes: tuple[str, ...] = ()
    parent_speakers: tuple[str, ...] = ()
    parent_unnamed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        clips = ", ".join(f"{len(self.rows[part])} {part}" for part in PARTS)
        return f"Split({self.title}, clips: {clips}, {self.sha256[:8]})"

    def _repr_html_(self) -> str:
        """The split in a notebook: clips and speakers of each part, leak and notes."""
        rows = []
        for part in PARTS:
            speakers = ", ".join(self.speakers[part])
            shown = textwrap.shorten(speakers, 200, placeholder=" ...")
            count = len(self.speakers[part])
            cells = [part, f"{len(self.rows[part])}", f"{count}", html.escape(shown)]
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        head = "".join(f"<th>{name}</th>" for name in ("part", "clips", "speakers", ""))
        lines = "".join(f"<tr>{row}</tr>" for row in (head, *rows))
        notes = list(self.notes) if self.leak is None else [f"LEAKY: {self.leak}", *self.notes]
        items = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
        title = f"{html.escape(self.title)}, fingerprint {self.sha256[:16]}"
        return f"<p><b>{title}</b></p><table>{lines}</table>{items}"

    @property
    def title(self) -> str:
        """The name of the protocol, and the title of the fold if there are folds."""
        return title_of(self.name, self.fold)

    @property
    def sha256(self) -> str:
        """The fingerprint of the split: a digest of the sorted ids of each part.

        Splits with equal fingerprints have the same clips in the same parts.
        """
        canonical = json.dumps(
            {part: sorted(self.ids[part]) for part in PARTS}, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def leak(self) -> str | None:
        """A sentence about test speakers in train or validation; None without such a leak.

        Test speakers that the initial checkpoint was trained with are a leak too. If speakers are
        unknown, test speakers may be in train or validation, which is also a leak. With a leak,
        results are better than results on unseen speakers.
        """
        used_for = {"train": "used for training", "validation": "used to select the checkpoint"}
        tested = self.speakers["test"]

        for part, use in used_for.items():
            shared = set(tested) & set(self.speakers[part])
            if shared:
                return (
                    f"Speaker-dependent: {len(shared)} of the {len(tested)} test speakers were "
                    f"{use}, so these figures do not hold for unseen speakers."
                )

        for part, use in used_for.items():
            corpora = may_share(tested, self.speakers[part])
            if corpora:
                return (
                    f"Possibly speaker-dependent: clips of {', '.join(corpora)} have unknown "
                    f"speakers, so test speakers may have been {use}, and these figures may not "
                    "hold for unseen speakers."
                )
        return self._parent_leak()

    def _parent_leak(self) -> str | None:
        """A sentence about test speakers that the initial checkpoint was trained with."""
        if self.parent_speakers:
            return (
                f"Speaker-dependent: {len(self.parent_speakers)} of the "
                f"{len(self.speakers['test'])} test speakers were training speakers of the model "
                "that this one starts from, so these figures do not hold for unseen speakers."
            )
        if self.parent_unnamed:
            return (
                f"Possibly speaker-dependent: clips of {', '.join(self.parent_unnamed)} have "
                "unknown speakers, so the model that this one starts from may have been trained "
                "with test speakers, and these figures may not hold for unseen speakers."
            )
        return None

    def apply(self, dataset: Dataset) -> DatasetDict:
        """The rows of each split, as `datasets.DatasetDict`.

        Its `push_to_hub` uploads them with their audio.
        """
        return DatasetDict({part: dataset.select(self.rows[part]) for part in PARTS})

    def to_dict(self) -> dict[str, Any]:
        """The split as JSON values, for split.json; a split without folds has no key `fold`."""
        content: dict[str, Any] = {"protocol": self.name, "sha256": self.sha256}
        if self.fold is not None:
            content["fold"] = self.fold
        content["leak"] = self.leak
        content["notes"] = list(self.notes)
        content["apart"] = {pair: list(columns) for pair, columns in self.apart.items()}
        content["speakers"] = self.speakers
        content["ids"] = self.ids
        return content

    def table(self, dataset: Dataset) -> str:
        """The numbers of clips, speakers and clips per label of each part, as lines to print."""
        label_names = dataset.features["label"].names
        labels = read_column(dataset, "label")

        heads = " ".join(f"{name:>9}" for name in label_names)
        lines = [f"{'part':<11} {'clips':>6} {'speakers':>8}  {heads}"]
        for part in PARTS:
            rows = self.rows[part]
            counts = Counter(labels[row] for row in rows)
            cells = " ".join(f"{counts[label]:>9}" for label in range(len(label_names)))
            lines.append(f"{part:<11} {len(rows):>6} {len(self.speakers[part]):>8}  {cells}")

        left_out = len(dataset) - sum(len(rows) for rows in self.rows.values())
        if left_out:
            lines.append(f"{'in no part':<11} {left_out:>6}")

        for part, speakers in self.speakers.items():
            lines.append(f"{part}: {_abbreviated(speakers)}")
        lines += self.notes
        if self.leak:
            lines.append(self.leak)
        return "\n".join(lines)


def title_of(name: str, fold: str | None) -> str:
    """The protocol's name, with the fold's title if there is one."""
    return f"{name}, fold {fold}" if fold else name


def _abbreviated(speakers: Sequence[str]) -> str:
    """The speakers as text; a long list is shortened to the first three and the last."""
    if len(speakers) <= _SPEAKERS_LISTED:
        return ", ".join(speakers)
    left_out = f"... {len(speakers) - 4} more ..."
    return ", ".join([*speakers[:3], left_out, speakers[-1]])


def may_share(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The corpora whose speakers may be in both lists because some of them are unknown.

    Such a corpus has speakers in both lists, and unknown speakers (`UNNAMED`) in at least one list.
    """
    corpora_of_sides = []
    with_unknown = set()
    for speakers in (first, second):
        corpora = set()
        for speaker in speakers:
            corpus, _, name = speaker.partition(":")
            corpora.add(corpus)
            if name == UNNAMED:
                with_unknown.add(corpus)
        corpora_of_sides.append(corpora)
    in_both = corpora_of_sides[0] & corpora_of_sides[1]
    return sorted(with_unknown & in_both)


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
    """Make a split from row numbers, and check that every part has clips of every class.

    If validation or test of a fold lacks a class, the split has only a note about it, because every
    clip is tested in another fold.

    Args:
        test_apart: columns in which test shares no value with train or validation.
        validation_apart: columns in which validation shares no value with train.

    Raises:
        UserError: for a part without clips.
        MissingClassError: for a part without clips of a class.
    """
    ids = read_column(dataset, "id")
    speakers = read_column(dataset, "speaker")
    title = title_of(name, fold)
    class_notes = _check_classes(dataset, rows, title, in_fold=fold is not None)

    all_rows = [row for part in PARTS for row in rows[part]]
    if len(set(all_rows)) != len(all_rows):
        raise ValueError(f"protocol {title}: a row in two parts")

    sorted_rows = {part: sorted(rows[part]) for part in PARTS}
    return Split(
        name=name,
        rows=sorted_rows,
        ids={part: [ids[row] for row in sorted_rows[part]] for part in PARTS},
        speakers={part: sorted({speakers[row] for row in rows[part]}) for part in PARTS},
        apart={
            "train/validation": tuple(validation_apart),
            "train/test": tuple(test_apart),
            "validation/test": tuple(test_apart),
        },
        fold=fold,
        notes=(*notes, *class_notes),
    )


def with_training_rows(
    splits: Sequence[Split], dataset: Dataset, rows: Sequence[int]
) -> list[Split]:
    """The splits with further rows in the training split, such as those of auxiliary corpora.

    The rows are in no split before. They change the fingerprint.
    """
    ids = read_column(dataset, "id")
    speakers = read_column(dataset, "speaker")
    added_speakers = {speakers[row] for row in rows}
    changed = []
    for split in splits:
        train = [*split.rows["train"], *rows]
        changed.append(
            dataclasses.replace(
                split,
                rows={**split.rows, "train": train},
                ids={**split.ids, "train": [ids[row] for row in train]},
                speakers={
                    **split.speakers,
                    "train": sorted(added_speakers.union(split.speakers["train"])),
                },
            )
        )
    return changed


def _check_classes(
    dataset: Dataset, rows: Mapping[str, Sequence[int]], title: str, *, in_fold: bool
) -> list[str]:
    """Check that each part has clips of every class.

    Returns:
        Notes about the classes that validation or test of a fold lacks.
    """
    notes = []
    for part in PARTS:
        if not rows[part]:
            raise UserError(f"protocol {title}: no clip in {part}")
        missing = ", ".join(_missing_classes(dataset, rows[part]))
        if not missing:
            continue
        if part == "train" or not in_fold:
            raise MissingClassError(
                f"protocol {title}: no clip of {missing} in {part}; drop or merge it"
            )
        notes.append(
            f"No clip of {missing} in {part}: its scores are means over the other classes."
        )
    return notes


def _missing_classes(dataset: Dataset, rows: Sequence[int]) -> list[str]:
    """The names of the classes without a clip in `rows`."""
    labels = read_column(dataset, "label")
    present = {labels[row] for row in rows}
    names = dataset.features["label"].names
    return [name for label, name in enumerate(names) if label not in present]


def read_column(dataset: Dataset, name: str) -> list[Any]:
    """The values of a column, one for each row. Callers must not change the list.

    Columns are cached, because `datasets` takes 0.2 s for 7,442 rows after `select`.
    """
    columns = _READ.setdefault(dataset, {})
    if name not in columns:
        columns[name] = dataset[name][:]
    return columns[name]


def rows_where(dataset: Dataset, column: str, values: Sequence[Any]) -> list[int]:
    """The rows whose value in the column is one of `values`."""
    wanted = set(values)
    return [row for row, value in enumerate(read_column(dataset, column)) if value in wanted]


def save_splits(
    splits: Sequence[Split],
    audits: Sequence["Audit"],
    path: Path,
    clips: Sequence[str] = (),
) -> None:
    """Write split.json.

    Args:
        clips: a digest of the clips of each split.
    """
    described = []
    for split, audit in zip(splits, audits, strict=True):
        content = split.to_dict()
        # The audit follows the protocol and the fingerprint.
        head = {"protocol": content.pop("protocol"), "sha256": content.pop("sha256")}
        described.append(head | {"audit": audit.to_dict()} | content)

    if len(described) == 1:
        content = described[0]
    else:
        content = {"protocol": splits[0].name, "sha256": fingerprint(splits), "folds": described}
    content["clips"] = list(clips)
    write_json(path, content)


def fingerprint(splits: Sequence[Split]) -> str:
    """The sha256 of a single split, or a digest of the sha256 of all folds in order."""
    if len(splits) == 1:
        return splits[0].sha256
    return hashlib.sha256("".join(split.sha256 for split in splits).encode()).hexdigest()

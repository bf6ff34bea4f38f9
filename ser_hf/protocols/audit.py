"""The leakage audit: it counts what two splits share, and raises if the protocol forbids it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..audio.near_duplicates import NearDuplicate
from ..utils.errors import UserError
from .segments import of_one_voice, overlapping
from .split import PAIRS, PARTS, Split, read_column

# Column -> its name in reports.
COUNTED = {"speaker": "speakers", "session": "sessions", "sentence": "sentences"}

# An error message lists at most this number of groups of clips.
_LISTED = 10

Counts = dict[str, int | None]


@dataclasses.dataclass(frozen=True)
class Audit:
    """What each pair of splits shares.

    Attributes:
        shared: for each pair of splits, such as ``train/test``, the number of shared speakers,
            sessions, sentences, recordings and near duplicates. A count of None means unknown.
        apart: for each pair of splits, the kinds that the protocol keeps apart.
        duplicates: number of rows in the splits that repeat the recording of another row.
    """

    shared: dict[str, Counts]
    apart: dict[str, list[str]]
    duplicates: int

    def to_dict(self) -> dict[str, Any]:
        """The audit as JSON values, for split.json and the report."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """The audit as lines to print, one row for each pair of splits."""
        kinds = list(self.shared[PAIRS[0]])
        head = " ".join(f"{kind.replace('_', ' '):>16}" for kind in kinds)
        lines = [f"{'shared by':<17} {head}"]

        any_allowed = False
        for pair, counts in self.shared.items():
            cells = []
            for kind in kinds:
                count = counts[kind]
                text = "unknown" if count is None else str(count)
                allowed = bool(count) and kind not in self.apart[pair]
                any_allowed = any_allowed or allowed
                cells.append(f"{text:>15}{'!' if allowed else ' '}")
            lines.append(f"{pair:<17} {' '.join(cells)}")

        if any_allowed:
            lines.append("! overlaps that this protocol allows")
        return "\n".join(lines)


def audit(
    split: Split,
    dataset: Dataset,
    twins: Sequence[NearDuplicate] | None = None,
    refuse_near_duplicates: bool = True,
) -> Audit:
    """Count what each pair of splits shares.

    The audit counts speakers, sessions, sentences, recordings (by decoded content) and near
    duplicates (clips of the same take that was cut, re-encoded or changed in level). A shared
    recording is an error in every protocol. A near duplicate is an error if
    `refuse_near_duplicates`. A shared speaker, session or sentence is an error if the protocol
    keeps these apart (`Split.apart`); otherwise it is only counted.

    Example: `ser_hf.audit(split, dataset).shared`

    Args:
        twins: pairs of rows with the same take (`ser_hf.audio.near_duplicates`); None if they were
            not searched for.
        refuse_near_duplicates: whether a near duplicate in two splits is an error. Near duplicates
            are counted in both cases.

    Raises:
        UserError: if a speaker, session or sentence is in two splits and the protocol forbids it,
            and in the cases of `require_apart`.
    """
    columns = {name: read_column(dataset, name) for name in COUNTED if name in dataset.column_names}
    hashes = _hashes(dataset)
    part_of = _part_of(split)

    shared: dict[str, Counts] = {}
    apart: dict[str, list[str]] = {}
    for pair in PAIRS:
        counts: Counts = {}
        for column, values in columns.items():
            counts[COUNTED[column]] = _shared_values(split, pair, column, values)
        counts["recordings"] = 0  # `require_apart` raises for any other number
        counts["near_duplicates"] = None if twins is None else _twins_across(twins, part_of, pair)
        shared[pair] = counts

        apart[pair] = [COUNTED[column] for column in split.apart[pair]]
        apart[pair].append("recordings")
        if twins is not None and refuse_near_duplicates:
            apart[pair].append("near_duplicates")

    require_apart([split], dataset, twins if refuse_near_duplicates else None)
    used_hashes = [hashes[row] for row in part_of]
    return Audit(shared, apart, duplicates=len(used_hashes) - len(set(used_hashes)))


def _shared_values(
    split: Split, pair: str, column: str, values: Sequence[str | None]
) -> int | None:
    """The number of values of a column that are in both splits of a pair; None if unknown.

    Raises:
        UserError: if the protocol keeps the values of this column apart.
    """
    first, second = pair.split("/")
    first_values = {values[row] for row in split.rows[first]}
    second_values = {values[row] for row in split.rows[second]}
    common = sorted((first_values & second_values) - {None})

    if common and column in split.apart[pair]:
        raise UserError(
            f"protocol {split.title}: {column} {common[0]!r} is in {first} and in {second}"
        )
    # Unknown values may be shared too, so a count of 0 among the other values would prove nothing.
    if not common and None in first_values | second_values:
        return None
    return len(common)


def _twins_across(twins: Sequence[NearDuplicate], part_of: Mapping[int, str], pair: str) -> int:
    """The number of near duplicates with one clip in each of two splits."""
    parts = set(pair.split("/"))
    return sum({part_of.get(twin.first), part_of.get(twin.second)} == parts for twin in twins)


def require_apart(
    splits: Sequence[Split], dataset: Dataset, twins: Sequence[NearDuplicate] | None = None
) -> None:
    """Check that train, validation and test share no recording and no take.

    Args:
        splits: the folds of a protocol, or its only split.
        dataset: the dataset that was split.
        twins: pairs of rows with the same take; None if they were not searched for.

    Raises:
        UserError: if splits share a recording or a take, segments that overlap in time, or segments
            of one recording by the same or an unknown speaker. The message lists the first clips
            that are shared, and their number; the attribute `whole` of the error lists all of them.
    """
    ids = read_column(dataset, "id")
    hashes = _hashes(dataset)

    _require_segments_apart(splits, dataset, ids)
    copies = _repeated(hashes, range(len(hashes)))
    across = list(_in_two_parts(splits, copies, ids))
    if across:
        raise UserError(
            f"protocol {splits[0].name}: these are the same recording in two parts",
            items=across,
            remedy="list one of each in corpus.exclude",
        )

    takes = [(twin.first, twin.second) for twin in twins or ()]
    across = list(_in_two_parts(splits, takes, ids))
    if across:
        raise UserError(
            f"protocol {splits[0].name}: these are the same take, cut, re-encoded or changed in "
            "level, in two parts",
            items=across,
            remedy="list one of each in corpus.exclude, or set protocol.near_duplicates: tell if "
            "you have listened to them and they differ",
        )


def _require_segments_apart(splits: Sequence[Split], dataset: Dataset, ids: Sequence[str]) -> None:
    """Check that splits share no time of a recording, and no voice of a recording.

    Two speakers of one recording may be in two splits if they do not speak at the same time.
    """
    across = list(_in_two_parts(splits, overlapping(dataset), ids))
    if across:
        raise UserError(
            f"protocol {splits[0].name}: these segments of one recording overlap in time, in two "
            "parts",
            items=across,
            remedy="correct their times, or list one of each in corpus.exclude",
        )
    across = list(_in_two_parts(splits, of_one_voice(dataset), ids))
    if across:
        raise UserError(
            f"protocol {splits[0].name}: these segments of one recording, by the same or an "
            "unknown speaker, are in two parts",
            items=across,
            remedy="choose a protocol that keeps speakers apart, such as speaker_independent",
        )


def _in_two_parts(
    splits: Sequence[Split], groups: Sequence[Sequence[int]], ids: Sequence[str]
) -> Iterator[str]:
    """The groups of rows that are in two parts of a split, as text.

    A group that is in two parts of several splits is described once, for the first of them.
    """
    parts_of_splits = [(split, _part_of(split)) for split in splits]
    for group in groups:
        for split, part_of in parts_of_splits:
            ids_by_part = {
                part: [ids[row] for row in group if part_of.get(row) == part] for part in PARTS
            }
            listed = [f"{', '.join(ids)} ({part})" for part, ids in ids_by_part.items() if ids]
            if len(listed) > 1:
                fold = f" in fold {split.fold}" if split.fold else ""
                yield " and ".join(listed) + fold
                break


def contradictions(splits: Sequence[Split], dataset: Dataset) -> str | None:
    """A sentence about recordings in the splits that have several labels; None without any."""
    names = dataset.features["label"].names
    ids = read_column(dataset, "id")
    labels = read_column(dataset, "label")

    used: set[int] = set()
    for split in splits:
        for rows in split.rows.values():
            used.update(rows)

    listed = []
    for rows_of_recording in _repeated(_hashes(dataset), sorted(used)):
        group = [row for row in rows_of_recording if labels[row] >= 0]  # -1: without a label
        if len({labels[row] for row in group}) > 1:
            listed.append(" and ".join(f"{ids[row]} ({names[labels[row]]})" for row in group))
    if not listed:
        return None
    counted = "1 recording has" if len(listed) == 1 else f"{len(listed)} recordings have"
    return f"{counted} several labels, of which at most one is right: {_first_of(listed)}."


def _repeated(values: Sequence[Any], rows: Sequence[int]) -> list[list[int]]:
    """The groups of at least two rows with the same value, in the order of their first rows."""
    groups: dict[Any, list[int]] = {}
    for row in rows:
        groups.setdefault(values[row], []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _hashes(dataset: Dataset) -> list[str]:
    hashes = read_column(dataset, "content_hash")
    if None in hashes:
        raise ValueError(
            "content_hash is unknown before ser_hf.audio.prepare has decoded the audio"
        )
    return hashes


def _part_of(split: Split) -> dict[int, str]:
    """The part (train, validation or test) of each row in the split."""
    part_of = {}
    for part in PARTS:
        for row in split.rows[part]:
            part_of[row] = part
    return part_of


def _first_of(groups: Sequence[str]) -> str:
    """The first groups as text, and the number of all groups if there are more."""
    text = "; ".join(groups[:_LISTED])
    if len(groups) > _LISTED:
        text += f"; and {len(groups) - _LISTED} more, {len(groups)} in all"
    return text


def worst_audit(audits: Sequence[Audit]) -> Audit:
    """Combine the audits of several folds: the largest counts, and the kinds kept apart in all."""
    shared: dict[str, Counts] = {}
    apart: dict[str, list[str]] = {}
    for pair, counts in audits[0].shared.items():
        shared[pair] = {
            kind: _largest([audit.shared[pair][kind] for audit in audits]) for kind in counts
        }
        apart[pair] = [
            kind
            for kind in audits[0].apart[pair]
            if all(kind in audit.apart[pair] for audit in audits)
        ]
    return Audit(shared, apart, duplicates=max(audit.duplicates for audit in audits))


def _largest(counts: Sequence[int | None]) -> int | None:
    """The largest count; None if a count is unknown and the others are 0."""
    largest = max((count for count in counts if count is not None), default=None)
    if None in counts and not largest:
        return None
    return largest

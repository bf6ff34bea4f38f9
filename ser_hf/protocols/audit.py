"""The leakage audit: what two splits share, counted for the report, and an error if the protocol
forbids it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..audio import NearDuplicate
from ..utils.errors import UserError
from .split import PAIRS, PARTS, Split, read_column

# Column -> its name in reports.
COUNTED = {"speaker": "speakers", "session": "sessions", "sentence": "sentences"}
_LISTED = 10


def audit(
    split: Split,
    dataset: Dataset,
    twins: Sequence[NearDuplicate] | None = None,
    refuse_near_duplicates: bool = True,
) -> dict[str, Any]:
    """Count what each pair of splits shares: speakers, sessions, sentences, recordings (by decoded
    content) and near duplicates (clips of the same take that was cut, re-encoded or changed in
    level).

    A shared recording is an error in every protocol, a near duplicate if `refuse_near_duplicates`,
    and the rest if the protocol keeps it apart (`Split.apart`). Other shared sentences are only
    counted. Example: `ser_hf.audit(split, dataset)["shared"]`

    Args:
        twins: pairs of rows of the same take (`ser_hf.audio.near_duplicates`); None without a
            search.
        refuse_near_duplicates: whether a pair in two splits is an error; it is counted either way.

    Returns:
        ``{"shared": {"train/test": {"speakers": 0, "sentences": 2, "recordings": 0,
        "near_duplicates": 0}, ...}, "apart": {"train/test": ["speakers", ...], ...}, "duplicates":
        n}`` where `duplicates` counts rows that repeat another row's recording within the splits. A
        count of None means unknown.

    Raises:
        UserError: naming a speaker, session or sentence in two splits against the protocol; and as
            `require_apart`.
    """
    columns = {name: read_column(dataset, name) for name in COUNTED if name in dataset.column_names}
    hashes = _hashes(dataset)
    where = f"protocol {split.name}" + (f", fold {split.fold}" if split.fold else "")
    part_of = _part_of(split)
    shared: dict[str, dict[str, int | None]] = {}
    apart: dict[str, list[str]] = {}
    for pair in PAIRS:
        a, b = pair.split("/")
        counts: dict[str, int | None] = {}
        for name, values in columns.items():
            inside = [{values[row] for row in split.rows[part]} for part in (a, b)]
            common = sorted(inside[0] & inside[1] - {None})
            # Unknown values may be shared too: no shared value among the others proves nothing.
            counts[COUNTED[name]] = (
                None if None in inside[0] | inside[1] and not common else len(common)
            )
            if common and name in split.apart[pair]:
                raise UserError(f"{where}: {name} {common[0]!r} is in {a} and in {b}")
        crossing = [
            twin
            for twin in twins or ()
            if {part_of.get(twin.first), part_of.get(twin.second)} == {a, b}
        ]
        shared[pair] = counts | {
            "recordings": 0,
            "near_duplicates": None if twins is None else len(crossing),
        }
        promised = [*(COUNTED[name] for name in split.apart[pair]), "recordings"]
        if twins is not None and refuse_near_duplicates:
            promised.append("near_duplicates")
        apart[pair] = promised
    require_apart([split], dataset, twins if refuse_near_duplicates else None)
    used = [hashes[row] for row in part_of]
    return {"shared": shared, "apart": apart, "duplicates": len(used) - len(set(used))}


def require_apart(
    splits: Sequence[Split], dataset: Dataset, twins: Sequence[NearDuplicate] | None = None
) -> None:
    """Check that the parts of each split share no recording and no take.

    Args:
        splits: of a protocol.
        dataset: whose rows the splits name.
        twins: pairs of rows of the same take; None without a search.

    Raises:
        UserError: naming the first ten such pairs and the number of all.
    """
    ids = read_column(dataset, "id")
    hashes = _hashes(dataset)
    copies = [group for group in _by_value(hashes, range(len(hashes))) if len(group) > 1]
    found = list(_in_two_parts(splits, copies, ids))
    if found:
        raise UserError(
            f"protocol {splits[0].name}: these are the same recording in two parts: {_first_of(found)}; list one of "
            "each in corpus.exclude"
        )
    found = list(_in_two_parts(splits, [(twin.first, twin.second) for twin in twins or ()], ids))
    if found:
        raise UserError(
            f"protocol {splits[0].name}: these are the same take, cut, re-encoded or changed in level, in two parts: "
            f"{_first_of(found)}; list one of each in corpus.exclude, or set protocol.near_duplicates: tell if you "
            "have listened to them and they differ"
        )


def _in_two_parts(
    splits: Sequence[Split], groups: Sequence[Sequence[int]], ids: Sequence[str]
) -> Iterator[str]:
    """The groups of rows in two parts of a split, as text: each once, for the first such split."""
    parts_of = [
        (f" in fold {split.fold}" if split.fold else "", _part_of(split)) for split in splits
    ]
    for group in groups:
        for fold, part_of in parts_of:
            parts = {
                part: [ids[row] for row in group if part_of.get(row) == part] for part in PARTS
            }
            listed = [f"{', '.join(own)} ({part})" for part, own in parts.items() if own]
            if len(listed) > 1:
                yield " and ".join(listed) + fold
                break


def contradictions(splits: Sequence[Split], dataset: Dataset) -> str | None:
    """A sentence about recordings with several labels in the splits, or None."""
    names = dataset.features["label"].names
    ids = read_column(dataset, "id")
    labels = read_column(dataset, "label")
    hashes = _hashes(dataset)
    used = sorted({row for split in splits for rows in split.rows.values() for row in rows})
    groups = [group for group in _by_value(hashes, used) if len({labels[row] for row in group}) > 1]
    if not groups:
        return None
    listed = [
        " and ".join(f"{ids[row]} ({names[labels[row]]})" for row in group) for group in groups
    ]
    counted = "1 recording has" if len(groups) == 1 else f"{len(groups)} recordings have"
    return f"{counted} several labels, of which at most one is right: {_first_of(listed)}."


def _by_value(values: Sequence[Any], rows: Sequence[int]) -> list[list[int]]:
    """Rows that share a value, in the order of their first."""
    groups: dict[Any, list[int]] = {}
    for row in rows:
        groups.setdefault(values[row], []).append(row)
    return list(groups.values())


def _hashes(dataset: Dataset) -> list[str]:
    hashes = read_column(dataset, "content_hash")
    if None in hashes:
        raise ValueError(
            "content_hash is unknown before ser_hf.audio.prepare has decoded the audio"
        )
    return hashes


def _part_of(split: Split) -> dict[int, str]:
    return {row: part for part in PARTS for row in split.rows[part]}


def _first_of(groups: Sequence[str]) -> str:
    more = (
        f"; and {len(groups) - _LISTED} more, {len(groups)} in all" if len(groups) > _LISTED else ""
    )
    return "; ".join(groups[:_LISTED]) + more


def worst_audit(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The audit over several folds: the largest of each count, and what every fold keeps apart."""
    first = audits[0]
    shared = {
        pair: {
            kind: _largest([own["shared"][pair][kind] for own in audits])
            for kind in first["shared"][pair]
        }
        for pair in first["shared"]
    }
    apart = {
        pair: [kind for kind in kinds if all(kind in own["apart"][pair] for own in audits)]
        for pair, kinds in first["apart"].items()
    }
    return {
        "shared": shared,
        "apart": apart,
        "duplicates": max(own["duplicates"] for own in audits),
    }


def _largest(counts: Sequence[int | None]) -> int | None:
    most = max((count for count in counts if count is not None), default=None)
    return None if None in counts and not most else most


def audit_table(audited: Mapping[str, Any]) -> str:
    """The audit as lines to print, one row per pair of splits."""
    kinds = list(next(iter(audited["shared"].values())))
    lines = [f"{'shared by':<17} " + " ".join(f"{kind.replace('_', ' '):>16}" for kind in kinds)]
    allowed = False
    for pair, counts in audited["shared"].items():
        cells = ["unknown" if counts[kind] is None else str(counts[kind]) for kind in kinds]
        marks = [
            "!" if counts[kind] and kind not in audited["apart"][pair] else " " for kind in kinds
        ]
        allowed |= "!" in marks
        lines.append(
            f"{pair:<17} "
            + " ".join(f"{cell:>15}{mark}" for cell, mark in zip(cells, marks, strict=True))
        )
    return "\n".join([*lines, "! overlaps that this protocol allows"] if allowed else lines)

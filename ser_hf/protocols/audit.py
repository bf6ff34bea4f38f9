"""The leakage audit: what two parts share, counted for the report and refused where the protocol forbids it."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..audio import NearDuplicate
from ..errors import UserError
from .split import PAIRS, PARTS, Split, read_column

# What is counted, under the plural that reports use; the columns of `Split.apart` are the singulars.
COUNTED = {"speaker": "speakers", "session": "sessions", "sentence": "sentences"}


def audit(
    split: Split, dataset: Dataset, twins: Sequence[NearDuplicate] | None = None, refuse_near_duplicates: bool = True
) -> dict[str, Any]:
    """Counts what each pair of parts shares: speakers, sessions, sentences, recordings (by decoded content) and near
    duplicates (clips of one part that are another part's take, cut, re-encoded or re-levelled).

    Recordings are forbidden in two parts by every protocol, near duplicates where they are looked for and refused, and
    the rest where the split promises it (`Split.apart`); sentences are otherwise told, not refused: in corpora with a
    fixed list of sentences every speaker says all of them.

    Args:
        twins: pairs of rows that hold the same take (`ser_hf.audio.near_duplicates`); None where nobody looked.
        refuse_near_duplicates: whether a pair in two parts is an error; it is counted either way.

    Returns:
        ``{"shared": {"train/test": {"speakers": 0, "sentences": 2, "recordings": 0, "near_duplicates": 0}, ...},
        "apart": {"train/test": ["speakers", ...], ...}, "duplicates": n}`` where `duplicates` counts rows that repeat
        another row's recording within the parts. A count of None means unknown: the corpus does not
        tell, or nobody looked.

    Raises:
        UserError: naming the first thing that stands in two parts against the protocol.
    """
    columns = {name: read_column(dataset, name) for name in COUNTED if name in dataset.column_names}
    ids, hashes = read_column(dataset, "id"), read_column(dataset, "content_hash")
    if None in hashes:
        raise ValueError("content_hash is unknown before ser_hf.audio.prepare has decoded the audio")
    where = f"protocol {split.name}" + (f", fold {split.fold}" if split.fold else "")
    part_of = {row: part for part in PARTS for row in split.rows[part]}
    shared: dict[str, dict[str, int | None]] = {}
    apart: dict[str, list[str]] = {}
    for pair in PAIRS:
        a, b = pair.split("/")
        counts: dict[str, int | None] = {}
        for name, values in columns.items():
            inside = [{values[row] for row in split.rows[part]} for part in (a, b)]
            common = sorted(inside[0] & inside[1] - {None})
            # What is unknown of some clips may be shared too: no shared value among the others proves nothing.
            counts[COUNTED[name]] = None if None in inside[0] | inside[1] and not common else len(common)
            if common and name in split.apart[pair]:
                raise UserError(f"{where}: {name} {common[0]!r} stands in {a} and in {b}")
        one, other = ({hashes[row]: row for row in reversed(split.rows[part])} for part in (a, b))
        recordings = sorted(one.keys() & other.keys(), key=lambda key: one[key])
        if recordings:
            first, second = one[recordings[0]], other[recordings[0]]
            raise UserError(
                f"{where}: {ids[first]} ({a}) and {ids[second]} ({b}) are the same recording, {len(recordings)} such "
                "in all; list one of each in corpus.exclude"
            )
        crossing = [twin for twin in twins or () if {part_of.get(twin.first), part_of.get(twin.second)} == {a, b}]
        if crossing and refuse_near_duplicates:
            first, second = crossing[0].first, crossing[0].second
            raise UserError(
                f"{where}: {ids[first]} ({part_of[first]}) and {ids[second]} ({part_of[second]}) are the same take, "
                f"cut, re-encoded or re-levelled, {len(crossing)} such in all; list one of each in corpus.exclude, or "
                "set protocol.near_duplicates: tell if you have heard that they differ"
            )
        shared[pair] = counts | {"recordings": 0, "near_duplicates": None if twins is None else len(crossing)}
        promised = [*(COUNTED[name] for name in split.apart[pair]), "recordings"]
        if twins is not None and refuse_near_duplicates:
            promised.append("near_duplicates")
        apart[pair] = promised
    used = [hashes[row] for row in part_of]
    return {"shared": shared, "apart": apart, "duplicates": len(used) - len(set(used))}


def worst(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The audit over several folds: of each count the largest, of what is kept apart what every fold keeps."""
    first = audits[0]
    shared = {
        pair: {kind: _worst([own["shared"][pair][kind] for own in audits]) for kind in first["shared"][pair]}
        for pair in first["shared"]
    }
    apart = {
        pair: [kind for kind in kinds if all(kind in own["apart"][pair] for own in audits)]
        for pair, kinds in first["apart"].items()
    }
    return {"shared": shared, "apart": apart, "duplicates": max(own["duplicates"] for own in audits)}


def _worst(counts: Sequence[int | None]) -> int | None:
    most = max((count for count in counts if count is not None), default=None)
    return None if None in counts and not most else most


def audit_table(audited: Mapping[str, Any]) -> str:
    """The audit as lines to print: one row a pair of parts; `!` marks what the protocol does not keep apart."""
    kinds = list(next(iter(audited["shared"].values())))
    lines = [f"{'shared by':<17} " + " ".join(f"{kind.replace('_', ' '):>16}" for kind in kinds)]
    for pair, counts in audited["shared"].items():
        cells = ["unknown" if counts[kind] is None else str(counts[kind]) for kind in kinds]
        marks = ["!" if counts[kind] and kind not in audited["apart"][pair] else " " for kind in kinds]
        lines.append(f"{pair:<17} " + " ".join(f"{cell:>15}{mark}" for cell, mark in zip(cells, marks, strict=True)))
    return "\n".join(lines)

"""The leakage audit: what two parts share that they must not, counted for the report and refused where forbidden."""

from itertools import combinations
from typing import Any

from datasets import Dataset

from ..errors import UserError
from .split import PARTS, Split


def audit(split: Split, dataset: Dataset) -> dict[str, Any]:
    """Counts what each pair of parts shares: speakers, recordings (by decoded content) and sentences.

    Sentences are told, not refused: in corpora with a fixed list of sentences every speaker says all of them.

    Returns:
        ``{"shared": {"train/test": {"speakers": 0, "recordings": 0, "sentences": 2}, ...}, "duplicates": n}`` where
        `duplicates` counts rows that repeat another row's recording anywhere in the split.

    Raises:
        UserError: if two parts share a speaker or a recording, naming the first.
    """
    ids, hashes, sentences = dataset["id"][:], dataset["content_hash"][:], dataset["sentence"][:]
    if None in hashes:
        raise ValueError("content_hash is unknown before ser_hf.audio.prepare has decoded the audio")
    first_with = {part: {hashes[row]: row for row in reversed(split.rows[part])} for part in PARTS}
    spoken = {part: {sentences[row] for row in split.rows[part]} - {None} for part in PARTS}
    shared = {}
    for a, b in combinations(PARTS, 2):
        speakers = sorted(set(split.speakers[a]) & set(split.speakers[b]))
        recordings = sorted(set(first_with[a]) & set(first_with[b]))
        if speakers:
            raise UserError(f"protocol {split.name}: speaker {speakers[0]} stands in {a} and in {b}")
        if recordings:
            one, other = first_with[a][recordings[0]], first_with[b][recordings[0]]
            raise UserError(
                f"protocol {split.name}: {ids[one]} ({a}) and {ids[other]} ({b}) are the same recording; "
                f"{len(recordings)} recordings stand in both parts; remove one of each"
            )
        shared[f"{a}/{b}"] = {
            "speakers": len(speakers),
            "recordings": len(recordings),
            "sentences": len(spoken[a] & spoken[b]),
        }
    used = [hashes[row] for part in PARTS for row in split.rows[part]]
    return {"shared": shared, "duplicates": len(used) - len(set(used))}

"""Any audio data set of the Hub, or parquet files of that kind (corpus name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion, speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` the commit that the recipe means: a branch moves, and what
follows one is not the same recipe next month. Or `corpus.root` is a folder with such a repository's files (parquet
with a card, or the layout of `ser_hf.corpora.audio_folder`), or one parquet file. `corpus.config` and `corpus.splits`
choose among what the card lists; the column `split` has the part, and the protocol `column` splits by it.

Columns are mapped by name: `corpus.audio`, `corpus.label`, `corpus.speaker`, and `corpus.columns` for sex, age,
language, sentence, intensity, take and id. Labels that are class numbers are read by the names that the file has for
them. Every other plain column is carried along; one that has the name of one of ours (`duration`) as ``own_duration``,
and so a column `split` beside parts that files or the card tell. Features and further recordings are not read.

What `ser-hf publish-corpus` has pushed is the corpus that it was, ids and speakers too, where `corpus.corpus_name` is
that corpus's name; its column of votes is not read.

Embedded audio is written to the cache once, as the files that it was, so that rows have paths like every corpus's.
That is the environment's SER_HF_CACHE, else ~/.cache/ser_hf.
Nothing is decoded: `datasets` itself needs torchcodec for that.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from ..errors import UserError
from . import audio_folder, pieces
from .cells import carried, with_parts
from .hub_files import commit_of, data_files, require_parts, snapshot
from .parquet_table import audio_of, bytes_of, contents_of, opened, rows_of
from .schema import Clip, Listing
from .table_rows import KNOWN, NoSpeaker, Reading, Row, clips_of
from .told import facts

__all__ = ["facts", "parse"]

_COMMIT = re.compile(r"[0-9a-f]{40}")


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    dataset: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    splits: list[str] | None = None,
    audio: str = "audio",
    label: str = "label",
    speaker: str = "speaker",
    columns: dict[str, str] | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    corpus_name: str = "hub",
    language: str | None = None,
    **told: Any,
) -> Listing:
    """Reads the rows of a data set.

    Args:
        root: a folder or a parquet file, in place of `dataset`.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out and told.
        dataset, revision: id on the Hub, and the commit (40 hexadecimal digits).
        config: one of the configurations in the data set's card; by default its default.
        splits: the parts to read; by default all.
        audio, label, speaker, columns: names of its columns (above).
        label_map, speaker_pattern, no_speaker, corpus_name, language: see `ser_hf.corpora.table_rows.Reading`. A
            speaker pattern is matched with the name that a clip's file had.
        told: what `ser_hf.corpora.told.facts` takes.

    Raises:
        UserError: naming the key, or the file and row.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
    if (root is None) == (dataset is None):
        raise UserError("corpus.dataset: name an id on the Hub here, or a folder or parquet file in corpus.root")
    if dataset is not None:
        _require_commit(dataset, revision)
        root = snapshot(dataset, revision, config, splits)
    root = Path(os.path.normpath(root))
    files = data_files(root, config, splits)
    if files.tables:
        return Listing(
            corpus_name,
            *_parse_tables(files.tables, {"audio": audio, "label": label, "speaker": speaker}, reading, on_unknown),
        )
    listing = audio_folder.read_folder(root, reading, on_unknown, label, speaker, files.chosen)
    if splits is None:
        return listing
    parts = [clip.extra.get("split") or "train" for clip in listing.clips]  # as `datasets` has it without parts
    if not any((files.chosen or {}).values()):  # else the card has told them
        require_parts(parts, splits)
    kept = [clip for clip, part in zip(listing.clips, parts, strict=True) if part in splits]
    return dataclasses.replace(listing, clips=kept)


def _require_commit(dataset: str, revision: str | None) -> None:
    if revision is None or not _COMMIT.fullmatch(revision):
        now = commit_of(dataset, revision)
        raise UserError(
            f"corpus.revision: {'missing' if revision is None else f'{revision} may move'}; write the commit that the "
            f"recipe means, 40 digits: {revision or 'the newest'} is {now} today"
        )


def _parse_tables(
    files: Sequence[tuple[str | None, Path]], needed: dict[str, str], reading: Reading, on_unknown: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Labels and speakers first: audio is unpacked where they let a clip be, a folder a file."""
    tables = {path: _open(path, needed) for _, path in files}
    rows = _rows([(part, path, tables[path]) for part, path in files], needed, reading)
    inside = {str(row.path): number for number, row in enumerate(rows) if row.inside}
    clips, skipped = clips_of(rows, reading, on_unknown)
    wanted = {rows[inside[clip.path]].path.parent for clip in clips if clip.path in inside}
    column = needed["audio"]
    unpacked = {
        path: pieces.unpacked(path, column, contents_of(table, column), bytes_of(table, column))
        for path, table in tables.items()
        if path in wanted
    }
    for i, clip in enumerate(clips):
        if clip.path in inside:
            place = rows[inside[clip.path]].path
            clips[i] = dataclasses.replace(clip, path=str(unpacked[place.parent][int(place.name)]))
    return clips, skipped


def _rows(
    tables: Sequence[tuple[str | None, Path, pq.ParquetFile]], needed: dict[str, str], reading: Reading
) -> list[Row]:
    """The rows of all files. The path of audio that is inside is a table's with the number of its row below it."""
    column = needed["audio"]
    used = {*needed.values(), *map(reading.column, KNOWN)}
    places, cells, parts = [], [], []
    for part, path, table in tables:
        told = zip(audio_of(table, column), rows_of(table, used - {column}), strict=True)
        for number, ((size, name), row) in enumerate(told):
            places.append((path, number, size, name))
            cells.append(row)
            parts.append(part)
    extra = carried(cells, used, guess=False)
    if any(parts) or not any("split" in own for own in extra):
        parts = [part or "train" for part in parts]
    names = _names([name for *_, name in places], [part or "train" for part in parts])
    rows = []
    for (path, number, size, name), own, others, called in zip(
        places, cells, with_parts(parts, extra), names, strict=True
    ):
        inside = bool(size)
        there = path / str(number) if inside else path.parent / (name or "no audio")
        absent = f"no audio at {there}" if size is None else "its audio has no bytes"
        rows.append(
            Row(
                where=f"{path}, row {number}",
                path=there,
                name=called,
                place=name,
                label=own.get(needed["label"]),
                speaker=own.get(needed["speaker"]),
                cells=own,
                extra=others,
                absent=None
                if inside or (size is None and name and there.is_file())
                else f"{absent}; mend the table, or set corpus.on_unknown: skip",
                inside=inside,
            )
        )
    return rows


def _open(path: Path, needed: dict[str, str]) -> pq.ParquetFile:
    table = opened(path)
    columns = table.schema_arrow.names
    for key in ("audio", "label"):
        if needed[key] not in columns:
            raise UserError(
                f"corpus.{key}: {path} has no column {needed[key]!r}; it has {', '.join(columns)}; name the one that "
                "holds it"
            )
    return table


def _names(paths: Sequence[str | None], splits: Sequence[str]) -> list[str]:
    """Names of the clips: those of their files where each has one of its own, else part and number."""
    stems = [None if not path else re.sub(r"\.[A-Za-z0-9]{1,4}$", "", path).lstrip("./") for path in paths]
    if None not in stems and len(set(stems)) == len(stems):
        return stems
    counts: dict[str, int] = {}
    names = []
    for split in splits:
        names.append(f"{split}/{counts.get(split, 0):07d}")
        counts[split] = counts.get(split, 0) + 1
    return names

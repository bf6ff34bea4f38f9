"""Any audio data set of the Hub, or parquet files of that kind (corpus name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion, speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` the commit that the recipe means: a branch moves, and what
follows one is not the same recipe next month. Or `corpus.root` is a folder with such a repository's files (parquet
with a card, or the layout of `ser_hf.corpora.audio_folder`), or one parquet file. `corpus.config` and `corpus.splits`
choose among what the card lists; the column `split` has the part, and the protocol `column` splits by it.

Columns are mapped by name: `corpus.audio`, `corpus.label`, `corpus.speaker`, and `corpus.columns` for sex, age,
language, sentence, intensity, take and id. Labels that are class numbers are read by the names that the file has for
them. Every other plain column is carried along; one that has the name of one of ours (`duration`) as ``own_duration``.

Embedded audio is written to the cache once, as the files that it was, so that rows have paths like every corpus's.
Nothing is decoded: `datasets` itself needs torchcodec for that.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from ..cache import key_of
from ..errors import UserError
from . import audio_folder, pieces
from .files import audio_paths
from .hub_files import commit_of, data_files, snapshot
from .schema import Listing
from .table_rows import KNOWN, NoSpeaker, Reading, Row, carried, clips_of
from .told import facts

__all__ = ["facts", "parse"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BATCH = 64


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
    files = data_files(Path(root), config, splits)
    if files is None:
        if not audio_paths(Path(root)):
            raise UserError(f"corpus.root: {root} holds neither parquet nor audio files")
        options = {"label": label, "speaker": speaker, "columns": columns, "label_map": label_map}
        options |= {"speaker_pattern": speaker_pattern, "no_speaker": no_speaker, "language": language}
        listing = audio_folder.parse(root, on_unknown, corpus_name=corpus_name, **options)
        kept = [clip for clip in listing.clips if splits is None or clip.extra.get("split") in splits]
        return Listing(corpus_name, kept, listing.skipped)
    rows = _rows(files, {"audio": audio, "label": label, "speaker": speaker}, reading)
    return Listing(corpus_name, *clips_of(rows, reading, on_unknown))


def _require_commit(dataset: str, revision: str | None) -> None:
    if revision is None or not _COMMIT.fullmatch(revision):
        now = commit_of(dataset, revision)
        raise UserError(
            f"corpus.revision: {'missing' if revision is None else f'{revision} may move'}; write the commit that the "
            f"recipe means, 40 digits: {revision or 'the newest'} is {now} today"
        )


def _rows(files: Sequence[tuple[str, Path]], needed: dict[str, str], reading: Reading) -> list[Row]:
    tables = [(split, path, _open(path, needed)) for split, path in files]
    where, cells, words, audio = [], [], [], []
    for split, path, table in tables:
        names = _class_names(table)
        for number, row in enumerate(_without_bytes(table, needed["audio"])):
            audio.append((row.pop(needed["audio"]), path))
            named = {name: _named(value, names.get(name)) for name, value in row.items()}
            words.append(named)
            cells.append({"split": split} | named)
            where.append(f"{path}, row {number}")
    used = {*needed.values(), *map(reading.column, KNOWN)}
    extra = carried(cells, used, guess=False, rename=True)
    paths = _paths(tables, needed["audio"], audio)
    names = _names([None if told is None else told[1] for told, _ in audio], [own["split"] for own in cells])
    rows = []
    for i, path in enumerate(paths):
        told, name = words[i], names[i]
        absent = None if path.is_file() else f"no audio at {path}; mend the table, or set corpus.on_unknown: skip"
        spoken, who = (told.get(needed[key]) for key in ("label", "speaker"))
        rows.append(
            Row(
                where=where[i],
                path=path,
                name=name,
                place=(audio[i][0] or (None, None))[1] or name,
                label=None if spoken in (None, "") else str(spoken),
                speaker=None if who in (None, "") else str(who),
                cells=told,
                extra=extra[i],
                absent=absent,
            )
        )
    return rows


def _open(path: Path, needed: dict[str, str]) -> pq.ParquetFile:
    try:
        table = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())}") from None
    columns = table.schema_arrow.names
    for key in ("audio", "label"):
        if needed[key] not in columns:
            raise UserError(
                f"corpus.{key}: {path} has no column {needed[key]!r}; it has {', '.join(columns)}; name the one that "
                "holds it"
            )
    return table


def _class_names(table: pq.ParquetFile) -> dict[str, list[str]]:
    """Names of the classes, of the columns that hold their numbers."""
    try:
        features = Features.from_arrow_schema(table.schema_arrow)
    except ValueError:  # features of a later version of datasets
        return {}
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _without_bytes(table: pq.ParquetFile, audio: str) -> Iterator[dict[str, Any]]:
    """The rows; their audio as (whether there are bytes, the path), or None. Bytes are never held together."""
    for batch in table.iter_batches(_BATCH):
        place = batch.schema.get_field_index(audio)
        column = batch.column(place)
        rest = batch.drop_columns([audio]).to_pylist() if batch.num_columns > 1 else [{}] * batch.num_rows
        for row, told in zip(rest, _audio(column, audio), strict=True):
            yield row | {audio: told}


def _audio(column: pa.Array, name: str) -> list[tuple[bool, str | None] | None]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [None if path is None else (False, path) for path in column.to_pylist()]
    if not pa.types.is_struct(column.type) or not {"bytes", "path"} <= {field.name for field in column.type}:
        raise UserError(
            f"corpus.audio: the column {name!r} holds {column.type}, not audio (bytes and path, or a path); name the "
            "one that does"
        )
    known = column.field("bytes").is_valid().to_pylist()
    paths = column.field("path").to_pylist()
    told = zip(known, paths, strict=True)
    return [(there, path) if there or path is not None else None for there, path in told]


def _paths(
    tables: Sequence[tuple[str, Path, pq.ParquetFile]],
    audio: str,
    told: Sequence[tuple[tuple[bool, str | None] | None, Path]],
) -> list[Path]:
    """Where each row's audio lies: its own file, or what its bytes were written to."""
    inside = [i for i, (own, _) in enumerate(told) if own is not None and own[0]]
    paths = [path.parent / ((own or (False, None))[1] or "no audio") for own, path in told]
    if not inside:
        return paths
    described = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for _, path, _ in tables]
    size = sum(_bytes_of(table, audio) for *_, table in tables)
    source = f"{len(tables)} parquet files" if len(tables) > 1 else str(tables[0][1])
    folder = pieces.unpacked(key_of([described, audio]), _clips(tables, audio), size, source)
    for i, path in zip(inside, pieces.files_of(folder), strict=True):
        paths[i] = path
    return paths


def _clips(tables: Sequence[tuple[str, Path, pq.ParquetFile]], audio: str) -> Iterator[tuple[str | None, bytes]]:
    for *_, table in tables:
        for batch in table.iter_batches(_BATCH, columns=[audio]):
            for clip in batch.column(0).to_pylist():
                if isinstance(clip, dict) and clip["bytes"] is not None:
                    yield clip["path"], clip["bytes"]


def _bytes_of(table: pq.ParquetFile, audio: str) -> int:
    groups = (table.metadata.row_group(i) for i in range(table.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == audio)


def _names(paths: Sequence[str | None], splits: Sequence[str]) -> list[str]:
    """Names of the clips: those of their files where each has one of its own, else part and number."""
    stems = [None if path is None else re.sub(r"\.[A-Za-z0-9]{1,4}$", "", path).lstrip("./") for path in paths]
    if None not in stems and len(set(stems)) == len(stems):
        return stems
    counts: dict[str, int] = {}
    names = []
    for split in splits:
        names.append(f"{split}/{counts.get(split, 0):07d}")
        counts[split] = counts.get(split, 0) + 1
    return names

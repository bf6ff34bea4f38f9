"""What is to be heard: files, folders and tables that a user names, or the rows of a corpus."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Audio, ClassLabel, Dataset

from ..corpora.files import AUDIO_SUFFIXES, audio_paths
from ..delimited import read_table
from ..errors import UserError
from ..strict import read_text

TABLES = {".csv", ".tsv"}
_PATHS = ("path", "file_name")  # ours, and the name that datasets has for it


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: the file at `path`, or `data` where a dataset holds its bytes. `label` is what it is known as, in
    any words, None where nothing is known."""

    id: str
    path: str
    label: str | None = None
    speaker: str | None = None
    data: bytes | None = None


def from_paths(inputs: Sequence[str | Path]) -> list[Recording]:
    """The recordings that paths lead to, in the order of the paths, those of a folder by their names.

    A path is an audio file, a folder that holds some at any depth, or a table (CSV or TSV) with a column `path` or
    `file_name`, relative to the table's folder; its columns `id`, `label` and `speaker` are kept. The id of any other
    recording is its path. A file that several inputs lead to is heard once.

    Raises:
        UserError: naming the path or line that leads nowhere, or the id that stands for two recordings.
    """
    found: dict[str, Recording] = {}
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            own = [_of_file(inside) for inside in audio_paths(path)]
            if not own:
                raise UserError(f"{given}: holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
        elif not path.is_file():
            raise UserError(f"{given}: no such file or folder")
        else:
            own = list(_of_table(path)) if path.suffix.lower() in TABLES else [_of_file(path)]
        for recording in own:
            before = found.setdefault(recording.id, recording)
            if os.path.abspath(before.path) != os.path.abspath(recording.path):
                raise UserError(
                    f"{recording.path}: its id {recording.id} is that of {before.path} too; name each once"
                )
    return list(found.values())


def from_dataset(dataset: Dataset) -> Iterator[Recording]:
    """The rows of a dataset, as `ser_hf.load_corpus` returns it or any other with a column `audio`; those of the
    columns `id`, `label` and `speaker` that it has are kept. Bytes that it holds are read row by row.

    Raises:
        UserError: if there is no column `audio`.
    """
    if "audio" not in dataset.column_names:
        raise UserError(f"inputs: a dataset without a column audio ({', '.join(dataset.column_names)})")
    kept = [name for name in ("audio", "id", "label", "speaker") if name in dataset.column_names]
    label = dataset.features.get("label")
    names = label.names if isinstance(label, ClassLabel) else None
    for number, row in enumerate(dataset.select_columns(kept).cast_column("audio", Audio(decode=False))):
        audio, known = row["audio"], row.get("label")
        if names and known is not None:
            known = names[known] if known >= 0 else None  # -1 where a public test part hides its labels
        path = audio["path"] or f"row {number}"
        yield Recording(str(row.get("id", path)), path, _text(known), _text(row.get("speaker")), audio["bytes"])


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _of_file(path: Path) -> Recording:
    return Recording(path.as_posix(), str(path))


def _of_table(table: Path) -> Iterator[Recording]:
    columns, rows = read_table(table, read_text(table))
    column = next((name for name in _PATHS if name in columns), None)
    if column is None:
        raise UserError(f"{table}: has no column {' or '.join(_PATHS)}; there are {', '.join(columns) or 'none'}")
    if not rows:
        raise UserError(f"{table}: lists no recording")
    for line, row in rows:
        cell = row[column]
        if not cell:
            raise UserError(f"{table}, line {line}: the cell of {column!r} is empty")
        path = Path(os.path.normpath(table.parent / cell))
        yield Recording(row.get("id") or path.as_posix(), str(path), row.get("label"), row.get("speaker"))

"""Finds recordings in files, folders, tables and data sets."""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets import Audio, ClassLabel, Dataset

from ..audio.decode import SUFFIXES
from ..utils.cells import means_missing, text
from ..utils.errors import UserError
from ..utils.files import folders_below
from ..utils.find_file import FileFinder
from ..utils.recordings import OTHER_SUFFIXES
from ..utils.segments import (
    END,
    START,
    Segment,
    refuse_unread_segments,
    segments_of_columns,
)
from ..utils.tables import read_table

logger = logging.getLogger(__name__)

TABLE_SUFFIXES = {".csv", ".tsv"}
# Suffixes of all formats that libsndfile reads.
AUDIO_SUFFIXES = SUFFIXES | {
    ".8svx",
    ".aifc",
    ".avr",
    ".bwf",
    ".caf",
    ".ircam",
    ".mp2",
    ".nist",
    ".paf",
    ".pvf",
    ".rf64",
    ".sds",
    ".snd",
    ".sph",
    ".svx",
    ".voc",
    ".w64",
}
# The name in tables of ser_hf, and the name that the library datasets uses.
_PATH_COLUMNS = ("path", "file_name")


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording, or a segment of one.

    Args:
        id: the name of the recording or segment, different for all of a prediction.
        path: the path of the file, or only a name if `data` is given.
        label, speaker: None if unknown.
        data: the bytes of the file, if they are in memory.
        segment: the part of the file to predict; None for all of it.
    """

    id: str
    path: str
    label: str | None = None
    speaker: str | None = None
    data: bytes | None = None
    segment: Segment | None = None


def from_dataset(dataset: Dataset) -> Iterator[Recording]:
    """Yield the rows of a data set with a column `audio`; `ser_hf.load_corpus` returns such a set.

    The columns `id`, `label`, `speaker`, `start` and `end` are used if they exist. A row without an
    id gets the path of its audio, with the times of a segment, and with the number of the row if
    that repeats.

    Raises:
        UserError: if there is no column `audio`, or two rows have the same id.
    """
    if "audio" not in dataset.column_names:
        columns = ", ".join(dataset.column_names)
        raise UserError(f"inputs: the dataset has no column audio (it has {columns})")
    if "id" in dataset.column_names:
        _require_unique(dataset["id"][:])
    return _rows(dataset)


def _require_unique(ids: Iterable[str | None]) -> None:
    rows_of_id = Counter(row_id for row_id in ids if row_id is not None)
    most_frequent = rows_of_id.most_common(1)
    if most_frequent and most_frequent[0][1] > 1:
        row_id, count = most_frequent[0]
        raise UserError(
            f"inputs: {count} rows of the dataset have the id {row_id!r}; give each row another id"
        )


def _rows(dataset: Dataset) -> Iterator[Recording]:
    names = ("audio", "id", "label", "speaker", START, END)
    columns = [name for name in names if name in dataset.column_names]
    times = segments_of_columns(columns)
    label_feature = dataset.features.get("label")
    label_names = label_feature.names if isinstance(label_feature, ClassLabel) else None
    rows = dataset.select_columns(columns).cast_column("audio", Audio(decode=False))

    seen_names = set()
    for number, row in enumerate(rows):
        audio = row["audio"] or {"path": None, "bytes": None}
        path = audio["path"] or f"row {number}"
        row_id = text(row.get("id"))
        segment = None if times is None else times.segment(row, f"inputs: row {number}")
        name = path if segment is None else f"{path}@{segment.name}"
        if row_id is None:
            row_id = f"{name} (row {number})" if name in seen_names else name
        seen_names.add(name)

        label = row.get("label")
        if label_names and label is not None:
            # A public test split that hides its labels has -1 instead.
            label = label_names[label] if label >= 0 else None
        yield Recording(
            id=row_id,
            path=path,
            label=text(label),
            speaker=text(row.get("speaker")),
            data=audio["bytes"],
            segment=segment,
        )


def from_paths(paths: Iterable[str | os.PathLike], skip: bool = False) -> list[Recording]:
    """Find the recordings at the given paths, in the order of the paths.

    A path is an audio file, a folder that contains audio files at any depth, or a table (see
    `listed`). The recordings of a folder are sorted by name. The id of a
    recording is its path, unless a table has ids. A file that is found twice is read once, unless
    rows of tables give it different ids.

    Args:
        skip: keep audio files that are missing, to be reported when they are decoded.

    Raises:
        UserError: naming a path or line without a file, or an id that two recordings share.
    """
    recordings = _UniqueRecordings()
    for name in paths:
        path = Path(name)
        suffix = path.suffix.lower()
        if path.is_dir():
            for file in _audio_files(path, str(name)):
                recordings.add_file(file)
        elif path.is_file() and suffix in TABLE_SUFFIXES:
            for where, recording in listed(path):
                recordings.add_row(recording, where)
        elif path.is_file() or (skip and not path.exists() and suffix in AUDIO_SUFFIXES):
            recordings.add_file(path)
        elif path.exists():
            raise UserError(f"{name}: not a regular file; save it as one")
        else:
            raise UserError(f"{name}: no such file or folder")
    return recordings.listed()


class _UniqueRecordings:
    """Collects recordings without duplicates, in the order in which they are added."""

    def __init__(self):
        self._recording_of_id: dict[str, Recording] = {}
        self._files: set[str] = set()

    def listed(self) -> list[Recording]:
        return list(self._recording_of_id.values())

    def add_file(self, path: Path) -> None:
        """Add a file, unless it was added before under this path or another."""
        if os.path.realpath(path) not in self._files:
            self._add(Recording(path.as_posix(), str(path)), str(path))

    def add_row(self, recording: Recording, where: str) -> None:
        """Add a row of a table; `where` names the row in messages."""
        if "\0" in recording.path:
            raise UserError(f"{where}: a path with a NUL character; correct it")
        self._add(recording, where)

    def _add(self, recording: Recording, where: str) -> None:
        self._files.add(os.path.realpath(recording.path))
        earlier = self._recording_of_id.get(recording.id)
        # A row of a table replaces an earlier entry of the same file without label and speaker.
        plain = Recording(recording.id, recording.path)
        if earlier not in (None, recording, plain):
            raise UserError(
                f"{where}: {recording.id} is listed twice, as another file or with another label "
                "or speaker; list it once, or give each row another id"
            )
        self._recording_of_id[recording.id] = recording


def _audio_files(root: Path, name: str) -> list[Path]:
    """Find files and broken links with an audio suffix, sorted by the parts of their paths.

    Hidden files are left out. `name` is the name of the folder in messages.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None

    suffixes = AUDIO_SUFFIXES | OTHER_SUFFIXES
    files = []
    for folder, file_names in folders_below(root, refuse):
        for file_name in file_names:
            path = Path(folder, file_name)
            # A pipe is left out: reading it would wait until another program writes to it.
            regular_or_broken = path.is_file() or not path.exists()
            if path.suffix.lower() in suffixes and regular_or_broken:
                files.append(path)
    if not files:
        raise UserError(f"{name}: holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return sorted(files, key=lambda path: path.parts)


def listed(table: Path) -> Iterator[tuple[str, Recording]]:
    """Yield the rows of a table: the file and line as text for messages, and the recording.

    The columns are `path` or `file_name`, and optionally `id`, `label` and `speaker`, and `start`
    and `end` of segments. Relative paths start from the table's folder.

    Raises:
        UserError: if there is no column of paths, no row, a row without a path, or a wrong time.
    """
    content = read_table(table).named((*_PATH_COLUMNS, "id", "label", "speaker", START, END))
    for note in content.notes:
        logger.warning("%s", note)
    columns = content.columns
    rows = content.rows
    path_column = next((name for name in _PATH_COLUMNS if name in columns), None)
    if path_column is None:
        raise UserError(
            f"{table}: has no column {' or '.join(_PATH_COLUMNS)}; there are "
            f"{', '.join(columns) or 'none'}; name the one with the paths of the recordings path"
        )
    if not rows:
        raise UserError(f"{table}: lists no recording")
    times = segments_of_columns(columns)
    if times is None:
        refuse_unread_segments(
            table,
            columns,
            rows,
            f"name them {START} and {END} (in seconds), or otherwise if the files are cut already",
        )

    finder = FileFinder()
    for line, row in rows:
        where = f"{table}, line {line}"
        cell = row.get(path_column)
        if cell is None:
            raise UserError(f"{where}: the cell of {path_column!r} is empty")
        path = finder.find(Path(os.path.normpath(table.parent / cell)))
        label = row.get("label")
        speaker = row.get("speaker")
        segment = None if times is None else times.segment(row, where)
        name = path.as_posix() if segment is None else f"{path.as_posix()}@{segment.name}"
        recording = Recording(
            id=row.get("id") or name,
            path=str(path),
            label=None if means_missing(label) else label,
            speaker=None if means_missing(speaker) else speaker,
            segment=segment,
        )
        yield where, recording

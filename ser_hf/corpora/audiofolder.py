"""A folder of audio in the layout that `datasets` calls audiofolder (corpus name `audiofolder`).

    data/train/angry/anna_01.wav           data/metadata.csv
    data/test/sad/ben_07.wav               data/calls/0001.wav

Without metadata the label of a file is the name of its parent folder; folders that name a split are
passed over, as in 0001/Angry/train/0001_000351.wav. Any folder that is not hidden
may contain a table of metadata, `metadata.csv` or `metadata.jsonl`. Its column `file_name` contains
paths of audio files relative to the folder of the table. It may also have a column for the label
(`corpus.label`; without this column the label is read from the folders), a column for the speaker
(`corpus.speaker`) and the other columns that every table may have (`ser_hf.corpora.tables`), also
`start` and `end` of segments. If
there is any metadata, files that it does not list are left out with a warning.

If a folder in the path of a file is named train, validation, test or a synonym
(`ser_hf.corpora.columns.SPLIT_WORDS`), the outermost of these folders gives the value of the column
`split`, and the protocol `column` can use it. A column `split` of the metadata is then renamed to
``own_split``. The speaker is read from the column, or from the path relative to the root by the
regular expression `corpus.speaker_pattern`, such as ``(?P<speaker>[a-z]+)_[0-9]+``. The speaker is
never guessed.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from ..utils.errors import UserError
from ..utils.files import folders_below, parse_json
from ..utils.find_file import FileFinder
from ..utils.segments import Segment
from ..utils.tables import read_table
from ..utils.yaml import read_text
from .columns import extra_columns, split_name, with_splits
from .files import audio_files, other_recordings
from .name_patterns import hint
from .rows import STANDARD_COLUMNS, Row, RowParser, absent, relative
from .schema import NO_LABEL, Listing
from .segments import SegmentSettings, require_single_rows

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"


class _Entry(NamedTuple):
    """An audio file with its row of metadata; `cells` is empty if the folder has no metadata."""

    path: Path
    where: str
    cells: dict[str, Any]
    segment: Segment | None = None


class AudiofolderSettings(SegmentSettings):
    """Settings of a folder of audio."""

    name: Annotated[Literal["audiofolder"], Field(description="a folder of audio")] = "audiofolder"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "audiofolder"


def parse(settings: AudiofolderSettings) -> Listing:
    """Read the audio files below the root with their metadata.

    The settings `label` and `speaker` name columns of the metadata; these columns may be missing.
    """
    folder = settings.root and os.path.normpath(settings.root)
    files = audio_files(folder, settings.corpus_name)
    root = Path(folder)
    parser = RowParser(settings.corpus_name, settings)
    finder = FileFinder()
    metadata = _metadata(root, parser, finder)
    entries = metadata.entries
    listed_files = {entry.path for entry in entries}
    if entries:
        unlisted_files = [path for path in files if path not in listed_files]
    else:
        entries = [_Entry(path, str(path), {}) for path in files]
        unlisted_files = []

    rows = _rows(entries, root, parser, finder)
    if settings.label is not None and all(row.label is None for row in rows):
        raise UserError(
            f"corpus.root: no folder in {folder} names a label, and no metadata.csv has one; if "
            f"the names of the files do, make a table of them: {hint(folder)}"
        )
    listing = parser.listing(rows, metadata.notes, metadata.accounts)
    skipped = list(listing.skipped)
    for path in unlisted_files:
        skipped.append((str(path), "not in any metadata"))
    for path in other_recordings(root):
        if path not in listed_files:
            reason = f"{path.suffix} is not supported; convert it to .wav or .flac"
            skipped.append((str(path), reason))
    return dataclasses.replace(listing, skipped=skipped)


def _used_columns(parser: RowParser) -> list[str | None]:
    """The columns of metadata that have a meaning."""
    settings = parser.settings
    standard_columns = [parser.column(name) for name in STANDARD_COLUMNS]
    return [
        settings.label,
        settings.speaker,
        settings.start,
        settings.end,
        _FILE,
        *standard_columns,
    ]


def _rows(
    entries: Sequence[_Entry], root: Path, parser: RowParser, finder: FileFinder
) -> list[Row]:
    """Make the row of each entry, with its label, split and further columns."""
    settings = parser.settings
    used = _used_columns(parser)
    if all(entry.segment is None for entry in entries):
        used = [column for column in used if column not in (settings.start, settings.end)]
    extra = extra_columns([entry.cells for entry in entries], used)
    splits = [_split_of_folders(entry.path, root) for entry in entries]
    rows = []
    for entry, kept in zip(entries, with_splits(splits, extra), strict=True):
        path = relative(entry.path, root)
        label = NO_LABEL
        is_folder = settings.label is not None and settings.label not in entry.cells
        hint = None
        if is_folder:
            folders = [name for name in path.split("/")[:-1] if split_name(name) is None]
            label = folders[-1] if folders else None
            hint = _folder_hint(folders, parser)
        elif settings.label is not None:
            label = entry.cells[settings.label]
        row = Row(
            where=entry.where,
            path=entry.path,
            name=path.removesuffix(entry.path.suffix),
            searched_path=path,
            label=label,
            speaker=entry.cells.get(settings.speaker),
            cells=entry.cells,
            extra=kept,
            missing=absent(entry.path, finder),
            label_of_folder=is_folder,
            label_hint=hint,
            segment=entry.segment,
        )
        rows.append(row)
    require_single_rows(rows)
    return rows


def _folder_hint(folders: Sequence[str], parser: RowParser) -> str | None:
    """A remedy if not the folder of a file, but one above it is an emotion."""
    if not folders or parser.emotion(folders[-1]) is not None:
        return None
    for folder in reversed(folders[:-1]):
        if parser.emotion(folder) is not None:
            return (
                f"the folder {folder!r} above it is; put the folders of labels below the others, "
                "or list the files with their labels in metadata.csv"
            )
    return None


def _split_of_folders(path: Path, root: Path) -> str | None:
    """The split named by the outermost folder that has the name of a split; None without one."""
    for folder in relative(path, root).split("/")[:-1]:
        split = split_name(folder)
        if split:
            return split
    return None


@dataclasses.dataclass(frozen=True)
class _Metadata:
    """The rows of all metadata tables below a folder, and what is to say of the tables."""

    entries: list[_Entry]
    notes: list[str]
    accounts: list[str]


def _metadata(root: Path, parser: RowParser, finder: FileFinder) -> _Metadata:
    """Read the rows of all metadata tables below `root`."""
    entries: list[_Entry] = []
    notes: list[str] = []
    accounts: list[str] = []
    for table in _metadata_files(root):
        columns: Sequence[str] = ()
        if table.suffix == ".parquet":
            raise UserError(f"{table}: Parquet is not read here; save it as metadata.csv")
        if table.suffix == ".jsonl":
            lines = list(read_json_lines(table))
            columns = list(dict.fromkeys(name for _, cells in lines for name in cells))
            has_label_column = False  # an object without the label has the label of its folder
        else:
            content = read_table(table).named(_used_columns(parser))
            columns = content.columns
            lines = content.rows
            notes += content.notes
            accounts.append(content.account)
            has_label_column = parser.settings.label in columns
        if not lines:
            raise UserError(f"{table}: no row; fill it in, or remove it to use folders as labels")
        settings = parser.settings
        times = settings.segment_columns(table, columns)
        unread_columns = set(columns).difference(_used_columns(parser))
        settings.refuse_other_segments(table, unread_columns, lines)
        # A row with an empty label has no label: the name of the folder does not replace it.
        empty_label = {parser.settings.label: None} if has_label_column else {}
        for line, cells in lines:
            where = f"{table}, line {line}"
            name = cells.get(_FILE)
            if not isinstance(name, str) or not name:
                raise UserError(
                    f"{where}: no {_FILE}; "
                    "it is the path of the audio, relative to the table's folder"
                )
            path = finder.find(Path(os.path.normpath(table.parent / name)))
            segment = None if times is None else times.segment(cells, where)
            entries.append(_Entry(path, where, empty_label | cells, segment))
    return _Metadata(entries, notes, accounts)


def _metadata_files(root: Path) -> list[Path]:
    """The paths of the metadata tables below `root`, sorted."""
    files = []
    # `audio_files` has reported unreadable folders.
    for folder, names in folders_below(root, lambda error: None):
        for name in names:
            if name in METADATA:
                files.append(Path(folder, name))
    return sorted(files)


def read_json_lines(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line of a JSON Lines file, without blank lines."""
    for line, text in enumerate(read_text(table).split("\n"), start=1):
        if text.strip():
            content = parse_json(text, f"{table}, line {line}")
            if not isinstance(content, dict):
                raise UserError(f"{table}, line {line}: expected a JSON object, such as {{...}}")
            yield line, content

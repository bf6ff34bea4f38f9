"""A user's table: one row per clip, in a CSV or TSV file (corpus name `csv`).

    path,label,speaker,sex,session
    calls/0001.wav,anger,anna,female,monday

`corpus.root` is the file. It is UTF-8 text (or UTF-16 with a byte order mark) with a header line;
columns are separated by commas, semicolons, tabs or vertical bars. Three columns are required: the
path of the audio, its label and its speaker. `corpus.path`, `corpus.label` and `corpus.speaker`
name these columns. Instead of a column, `corpus.speaker_pattern` can find the speaker in the path.
The columns sex, age, language, sentence, intensity and take are read by name. The column `id` is
the name of the clip; without this column it is the path. Every other column is kept, as integers,
numbers or text. A column with a reserved name such as `duration` is renamed to ``own_duration``.

A label is a canonical emotion, a synonym (`ser_hf.corpora.schema.SYNONYMS`), or a key of
`corpus.label_map`. Names of columns, labels and speakers are compared without case, Unicode form
and invisible characters (`ser_hf.utils.names`). Cells such as NA, ?, - and unknown are read as
empty (`ser_hf.utils.cells.MISSING_WORDS`). License and citation are options, which cards and
reports quote.

    path,start,end,label,speaker
    calls/0001.wav,12.34,15.2,anger,anna
    calls/0001.wav,15.9,0 days 00:00:18.1,neutral,ben

With the columns `start` and `end` (or those that `corpus.start` and `corpus.end` name) a row is a
segment of its recording. Times are seconds, or timedeltas as pandas writes them; in a column whose
name ends with ms, milliseconds. If both cells are empty, the row is the whole recording; if only
the end is empty, the segment ends with the recording. The id of a segment has its times.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import Field

from ..utils.errors import UserError
from ..utils.find_file import FileFinder
from ..utils.tables import read_table
from .columns import extra_columns
from .rows import STANDARD_COLUMNS, Row, RowParser, absent, relative
from .schema import NO_LABEL, Listing
from .segments import SegmentSettings, require_single_rows
from .settings import AnyPath


class CsvSettings(SegmentSettings):
    """Settings of a table; the root is its file."""

    name: Annotated[Literal["csv"], Field(description="a table of clips")] = "csv"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "csv"
    path: Annotated[str, Field(description="the column of the audio files")] = "path"
    audio_root: Annotated[
        AnyPath | None, Field(description="the folder of relative paths; null: the table's")
    ] = None


def parse(settings: CsvSettings) -> Listing:
    """Read the clips in a table.

    The speaker pattern is searched in the path of the audio as the table has it.
    """
    table = Path(settings.root or "")
    if not table.is_file():
        problem = f"{settings.root}: no such file" if settings.root else "missing"
        raise UserError(f"corpus.root: {problem}; csv needs a table of clips")
    parser = RowParser(settings.corpus_name, settings)
    standard_columns = [parser.column(name) for name in STANDARD_COLUMNS]
    used = [
        settings.path,
        settings.label,
        settings.speaker,
        settings.start,
        settings.end,
        *standard_columns,
    ]
    content = read_table(table).named(used)
    _require_columns(table, content.columns, settings)
    times = settings.segment_columns(table, content.columns)
    settings.refuse_other_segments(table, set(content.columns).difference(used), content.rows)
    if times is None:
        used = [column for column in used if column not in (settings.start, settings.end)]

    base = table.parent if settings.audio_root is None else settings.audio_root
    folder = Path(os.path.normpath(base))
    finder = FileFinder()
    extra = extra_columns([cells for _, cells in content.rows], used)
    rows = []
    for (line, cells), kept in zip(content.rows, extra, strict=True):
        where = f"{table}, line {line}"
        row = _row(where, cells, kept, folder, finder, settings)
        segment = None if times is None else times.segment(cells, where)
        rows.append(dataclasses.replace(row, segment=segment))
    require_single_rows(rows)
    return parser.listing(rows, content.notes, [content.account])


def _require_columns(table: Path, columns: Sequence[str], settings: CsvSettings) -> None:
    """Raise a UserError if the settings name a column that the table lacks."""
    required = {"path": settings.path}
    if settings.label is not None:
        required["label"] = settings.label
    if settings.speaker_pattern is None and settings.no_speaker == "error":
        required["speaker"] = settings.speaker
    for key, column in required.items():
        if column not in columns:
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; "
                f"it has {', '.join(columns) or 'none'}; name the column (the first line is the "
                "header)"
            )


def _row(
    where: str,
    cells: Mapping[str, Any],
    extra: Mapping[str, Any],
    folder: Path,
    finder: FileFinder,
    settings: CsvSettings,
) -> Row:
    """Make the row of one line; relative paths of audio are relative to `folder`."""
    listed_path = cells.get(settings.path, "")
    audio = finder.find(Path(os.path.normpath(os.path.join(folder, listed_path))))
    if listed_path:
        missing = absent(audio, finder)
        if missing is not None and _is_of_windows(listed_path):
            missing = (
                f"{listed_path} is a path of Windows, which does not exist on this computer; "
                "write paths relative to the table, or to a folder (corpus.audio_root), or set "
                "corpus.on_unknown: skip"
            )
    else:
        missing = f"the cell of {settings.path!r} (corpus.path) is empty; fill it in"
    return Row(
        where=where,
        path=audio,
        name=relative(audio, folder).removesuffix(audio.suffix),
        searched_path=listed_path,
        label=cells.get(settings.label) if settings.label else NO_LABEL,
        speaker=cells.get(settings.speaker),
        cells=cells,
        extra=extra,
        missing=missing,
    )


def _is_of_windows(path: str) -> bool:
    """Whether a path has a drive of Windows, such as ``C:``, and this computer has no drives."""
    return os.name != "nt" and bool(PureWindowsPath(path).drive)

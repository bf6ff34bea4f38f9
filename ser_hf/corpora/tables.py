"""A user's table: one row per clip, in a CSV or TSV file (corpus name `csv`).

    path,label,speaker,sex,session
    calls/0001.wav,anger,anna,female,monday

`corpus.root` is the file: UTF-8, a header line, separated by commas, semicolons or tabs. Three
columns are required, the path of the audio, its label and its speaker; `corpus.path`,
`corpus.label` and `corpus.speaker` name them. The columns sex, age, language, sentence, intensity
and take are read by name; `id` names the clip (by default its path does); every other column is
kept, as integers, numbers or text. A column with a reserved name (`duration`) is renamed to
``own_duration``. `corpus.speaker_pattern` can find the speaker in the path instead.

Labels are the canonical emotions, their synonyms (`ser_hf.corpora.schema.SYNONYMS`, in any case),
or the words of `corpus.label_map`. License and citation are options, which cards and reports quote.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.yaml import read_text
from .columns import extra_columns
from .rows import NO_LABEL, STANDARD_COLUMNS, Row, RowParser, TableSettings, absent, relative
from .schema import Listing
from .settings import AnyPath


class CsvSettings(TableSettings):
    """Keys of a table in a file; the root is the table."""

    name: Annotated[Literal["csv"], Field(description="a table of clips")] = "csv"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "csv"
    path: Annotated[str, Field(description="the column of the audio files")] = "path"
    audio_root: Annotated[
        AnyPath | None, Field(description="the folder of relative paths; null: the table's")
    ] = None


def parse(settings: CsvSettings) -> Listing:
    """Read the rows of a table. A speaker pattern is matched with the path as the table has it."""
    table = Path(settings.root or "")
    if not table.is_file():
        problem = f"{settings.root}: no such file" if settings.root else "missing"
        raise UserError(f"corpus.root: {problem}; csv needs a table of clips")
    columns, lines = read_table(table, read_text(table))
    _require_columns(table, columns, settings)

    parser = RowParser(settings.corpus_name, settings)
    base = table.parent if settings.audio_root is None else settings.audio_root
    folder = Path(os.path.normpath(base))
    used = {settings.path, settings.label, settings.speaker, *map(parser.column, STANDARD_COLUMNS)}
    extra = extra_columns([cells for _, cells in lines], used)
    rows = []
    line_of_audio: dict[str, int] = {}
    for (line, cells), kept in zip(lines, extra, strict=True):
        row = _row(f"{table}, line {line}", cells, kept, folder, settings)
        audio = str(row.path)
        if row.searched_path and line_of_audio.setdefault(audio, line) != line:
            raise UserError(
                f"{row.where}: {row.searched_path} is also in line {line_of_audio[audio]}; "
                "list each clip once"
            )
        rows.append(row)
    return parser.listing(rows)


def _require_columns(table: Path, columns: Sequence[str], settings: CsvSettings) -> None:
    """Raise a UserError for a column that the settings name and the table lacks."""
    required = {"path": settings.path}
    if settings.label is not None:
        required["label"] = settings.label
    if settings.speaker_pattern is None and settings.no_speaker == "error":
        required["speaker"] = settings.speaker
    for key, column in required.items():
        if column not in columns:
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; "
                f"it has {', '.join(columns) or 'none'}; name the column"
            )


def _row(
    where: str,
    cells: Mapping[str, Any],
    extra: Mapping[str, Any],
    folder: Path,
    settings: CsvSettings,
) -> Row:
    """The row of one line; relative paths of audio start from the folder."""
    listed = cells.get(settings.path, "")
    audio = Path(os.path.normpath(os.path.join(folder, listed)))
    if listed:
        missing = absent(audio)
    else:
        missing = f"the cell of {settings.path!r} (corpus.path) is empty; fill it in"
    return Row(
        where=where,
        path=audio,
        name=relative(audio, folder).removesuffix(audio.suffix),
        searched_path=listed,
        label=cells.get(settings.label) if settings.label else NO_LABEL,
        speaker=cells.get(settings.speaker),
        cells=cells,
        extra=extra,
        missing=missing,
    )

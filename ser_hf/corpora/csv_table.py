"""A user's table: one row per clip, in a CSV or TSV file (corpus name `csv`).

`corpus.root` is the file: UTF-8, a header line, separated by commas, semicolons or tabs. Three columns are required,
the path of the audio, its label and its speaker; `corpus.path`, `corpus.label` and `corpus.speaker` name them. The
columns sex, age, language, sentence, intensity and take are known by name; `id` names the clip (by default its path
does); every other column is kept, as integers, numbers or text. A column with a reserved name (`duration`) is renamed
to ``own_duration``. `corpus.speaker_pattern` can find the speaker in the path instead.

    path,label,speaker,sex,session
    calls/0001.wav,anger,anna,female,monday

Labels are the canonical emotions, the common words of `ser_hf.corpora.tables.SYNONYMS` (in any case), or the words of
`corpus.label_map`. License and citation are options, which cards and reports quote.
"""

import os
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.yaml import read_text
from . import tables
from .schema import Listing
from .tables import KNOWN, Row, RowParser, absent, extra_columns, relative

ROW_OPTIONS = RowParser
facts = tables.facts


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    path: str = "path",
    label: str = "label",
    speaker: str = "speaker",
    audio_root: str | None = None,
    corpus_name: str = "csv",
    **options: Any,
) -> Listing:
    """Reads the rows of a table.

    Args:
        root: the CSV or TSV file.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out.
        path, label, speaker: names of the three columns; the speaker's may be missing with a `speaker_pattern` or
            `no_speaker`.
        audio_root: the folder of relative paths; by default the table's.
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and `ser_hf.corpora.tables.facts`. The speaker
            pattern is matched with the path as the table has it.
    """
    parser = RowParser.from_options(corpus_name, options)
    table = Path(root or "")
    if not table.is_file():
        raise UserError(f"corpus.root: {root or 'missing'}; csv needs the CSV or TSV file that lists the audio")
    columns, lines = read_table(table, read_text(table))
    needed = {"path": path, "label": label, "speaker": speaker}
    if parser.speaker_pattern is not None or parser.no_speaker != "error":
        needed.pop("speaker")
    for key, column in needed.items():
        if column not in columns:
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; it has {', '.join(columns) or 'none'}; name the "
                f"column of the {key}"
            )
    folder = os.path.normpath(table.parent if audio_root is None else audio_root)
    extra = extra_columns([cells for _, cells in lines], {path, label, speaker, *map(parser.column, KNOWN)})
    rows, first = [], {}
    for (line, cells), kept in zip(lines, extra, strict=True):
        where = f"{table}, line {line}"
        listed = cells[path] or ""
        audio = os.path.normpath(os.path.join(folder, listed))
        if listed and first.setdefault(audio, line) != line:
            raise UserError(f"{where}: {listed} is in line {first[audio]} too; list each clip once")
        rows.append(
            Row(
                where=where,
                path=Path(audio),
                name=relative(Path(audio), Path(folder)).removesuffix(Path(audio).suffix),
                place=listed,
                label=cells[label],
                speaker=cells.get(speaker),
                cells=cells,
                extra=kept,
                missing=absent(Path(audio)) if listed else f"the cell of {path!r} (corpus.path) is empty; fill it in",
            )
        )
    return Listing(corpus_name, *parser.clips(rows, on_unknown))

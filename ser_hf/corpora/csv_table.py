"""A table of the user's own: one row a clip, in a CSV or TSV file (corpus name `csv`).

`corpus.root` is the file: UTF-8, a header line, separated by commas, semicolons or tabs. Three columns are needed, the
path of the audio, its label and its speaker; what they are called is said by `corpus.path`, `corpus.label` and
`corpus.speaker`. The columns sex, age, language, sentence, intensity and take are known by name; `id` names the clip
(else its path does); every other column is carried along, as whole numbers, numbers or text, whichever fits all its
cells; one that has the name of one of ours (`duration`) as ``own_duration``. An empty cell is null. In place of a
column, `corpus.speaker_pattern` may find the speaker in the path.

    path,label,speaker,sex,session
    calls/0001.wav,anger,anna,female,monday

Labels are the canonical emotions, the common words of `ser_hf.corpora.tables.SYNONYMS` (in any capitals), or what
`corpus.label_map` says.
Licence, citation and kin are the user's to tell; cards and reports quote them.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.yaml import read_text
from .schema import Listing
from .tables import KNOWN, SYNONYMS, NoSpeaker, Reading, Row, carried, clips_of, facts

__all__ = ["SYNONYMS", "facts", "parse"]


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    path: str = "path",
    label: str = "label",
    speaker: str = "speaker",
    columns: dict[str, str] | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    audio_root: str | None = None,
    corpus_name: str = "csv",
    language: str | None = None,
    **told: Any,
) -> Listing:
    """Reads the rows of a table.

    Args:
        root: the CSV or TSV file.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out and told.
        path, label, speaker: names of the three columns; that of the speaker may be missing where `speaker_pattern`
            or `no_speaker` does without.
        columns: what the table calls sex, age, language, sentence, intensity, take or id, such as ``{sex: gender}``.
        label_map, speaker_pattern, no_speaker: see `ser_hf.corpora.tables.Reading`; the pattern is matched with
            the path as the table has it.
        audio_root: the folder that relative paths start from; by default the table's own.
        corpus_name: prefix of ids and speakers, and the rows' `corpus`.
        language: of the rows whose column `language` is empty or missing (ISO 639).
        told: what `ser_hf.corpora.tables.facts` takes.

    Raises:
        UserError: naming file and line, or the key.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
    if root is None:
        raise UserError("corpus.root: missing; csv needs the CSV or TSV file that lists the audio")
    table = Path(root)
    needed = {"path": path, "label": label, "speaker": speaker}
    told_otherwise = {"speaker"} if speaker_pattern is not None or no_speaker != "error" else set()
    lines = _lines(table, needed, told_otherwise)
    folder = os.path.normpath(table.parent if audio_root is None else audio_root)
    extra = carried([cells for _, cells in lines], {*needed.values(), *map(reading.column, KNOWN)})
    rows, first = [], {}
    for (line, cells), others in zip(lines, extra, strict=True):
        where = f"{table}, line {line}"
        named = cells[path] or ""
        audio = os.path.normpath(os.path.join(folder, named))
        if named and first.setdefault(audio, line) != line:
            raise UserError(f"{where}: {named} stands in line {first[audio]} too; list each clip once")
        absent = f"no file {audio}; relative paths start from {folder} (corpus.audio_root)"
        absent = absent if named else f"the cell of {path!r} (corpus.path) is empty; fill it in"
        rows.append(
            Row(
                where=where,
                path=Path(audio),
                name=_stem(audio, folder),
                place=named,
                label=cells[label],
                speaker=cells.get(speaker),
                cells=cells,
                extra=others,
                absent=None if named and os.path.isfile(audio) else f"{absent}; or set corpus.on_unknown: skip",
            )
        )
    return Listing(corpus_name, *clips_of(rows, reading, on_unknown))


def _lines(table: Path, needed: Mapping[str, str], spare: Collection[str]) -> list[tuple[int, dict[str, str | None]]]:
    """Line number and cells (None where empty) of each row that is not blank; `spare` columns may be missing."""
    if not table.is_file():
        raise UserError(f"corpus.root: {table} is not a file; csv needs the CSV or TSV file that lists the audio")
    columns, rows = read_table(table, read_text(table))
    for key, column in needed.items():
        if column not in columns and key not in spare:
            why = ""
            if key == "speaker":
                why = (
                    ", or set corpus.speaker_pattern or corpus.no_speaker; a split by speaker needs to know who speaks"
                )
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; it has {', '.join(columns) or 'none'}; "
                f"name the column that holds it{why}"
            )
    return rows


def _stem(audio: str, folder: str) -> str:
    """A clip's name: its path without the suffix, from `folder` on where it is below it. Both paths are normal."""
    below = os.path.join(folder, "")
    stem = os.path.splitext(audio[len(below) :] if audio.startswith(below) else audio)[0]
    return stem.replace(os.sep, "/")

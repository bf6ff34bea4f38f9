"""A table of the user's own: one row a clip, in a CSV or TSV file (corpus name `csv`).

`corpus.root` is the file: UTF-8, a header line, separated by commas, semicolons or tabs. Three columns are needed, the
path of the audio, its label and its speaker; what they are called is said by `corpus.path`, `corpus.label` and
`corpus.speaker`. The columns sex, age, language, sentence, intensity and take are known by name; `id` names the clip
(else its path does); every other column is carried along, as whole numbers, numbers or text, whichever fits all its
cells. An empty cell is null.

    path,label,speaker,sex,session
    calls/0001.wav,anger,anna,female,monday

Labels are the canonical emotions, the common words of `SYNONYMS` (in any capitals), or what `corpus.label_map` says.
Licence, citation and kin are the user's to tell; cards and reports quote them.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..delimited import read_table
from ..errors import UserError
from ..strict import read_text
from .files import is_lfs_pointer
from .schema import EMOTIONS, Clip, Listing

SYNONYMS = {
    "anger": "angry",
    "ang": "angry",
    "disgusted": "disgust",
    "dis": "disgust",
    "fearful": "fear",
    "fea": "fear",
    "happiness": "happy",
    "hap": "happy",
    "neu": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    "sur": "surprise",
    "calmness": "calm",
    "bored": "boredom",
    "excitement": "excited",
    "exc": "excited",
    "frustration": "frustrated",
    "fru": "frustrated",
    "contemptuous": "contempt",
    "oth": "other",
}
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
_KNOWN = ("id", "sex", "age", "language", "sentence", "intensity", "take")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)  # not 007, which names something; 64 bits hold 18 digits
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_KINDS = {int: _WHOLE, float: _NUMBER}


def facts(
    corpus_name: str = "csv",
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    url: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """What cards and reports say of the corpus: as much as its options tell (`others` are those of `parse`)."""
    return {
        "title": title or corpus_name,
        "license": license,
        "language": language,
        "url": url,
        "citation": citation,
        "acted": acted,
    }


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    path: str = "path",
    label: str = "label",
    speaker: str = "speaker",
    label_map: dict[str, str] | None = None,
    audio_root: str | None = None,
    corpus_name: str = "csv",
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    url: str | None = None,
    citation: str | None = None,
    acted: bool = False,
) -> Listing:
    """Reads the rows of a table.

    Args:
        root: the CSV or TSV file.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out and told.
        path, label, speaker: names of the three columns that are needed.
        label_map: the table's words -> canonical emotions.
        audio_root: the folder that relative paths start from; by default the table's own.
        corpus_name: prefix of ids and speakers, and the rows' `corpus`.
        language: of the rows whose column `language` is empty or missing (ISO 639), and, as title, license, url,
            citation and acted, for cards (`facts`).

    Raises:
        UserError: naming file and line, or the key.
    """
    for word, emotion in (label_map or {}).items():
        if emotion not in EMOTIONS:
            raise UserError(f"corpus.label_map.{word}: {emotion!r} is none of {', '.join(EMOTIONS)}")
    if root is None:
        raise UserError("corpus.root: missing; csv needs the CSV or TSV file that lists the audio")
    table = Path(root)
    needed = {"path": path, "label": label, "speaker": speaker}
    rows = _rows(table, needed)
    folder = Path(audio_root) if audio_root is not None else table.parent
    extra = _extra([row for _, row in rows], {*needed.values(), *_KNOWN})

    clips, skipped, lines = [], [], {}
    for position, (line, row) in enumerate(rows):
        where = f"{table}, line {line}"
        for key, column in needed.items():
            if not row[column]:
                raise UserError(f"{where}: the cell of {column!r} (corpus.{key}) is empty")
        audio = Path(os.path.normpath(folder / row[path]))
        first = lines.setdefault(audio, line)
        if first != line:
            raise UserError(f"{where}: {row[path]} stands in line {first} too; list each clip once")
        emotion = _emotion(row[label], label_map or {})
        if emotion is not None and audio.is_file():
            if is_lfs_pointer(audio):
                raise UserError(f"{where}: {audio} is a Git LFS pointer, not audio; run `git lfs pull` in that clone")
            clips.append(
                Clip(
                    path=str(audio),
                    emotion=emotion,
                    speaker=f"{corpus_name}:{row[speaker]}",
                    id=f"{corpus_name}/{row.get('id') or _stem(audio, folder)}",
                    sex=SEXES.get((row.get("sex") or "").lower(), row.get("sex")),
                    age=_whole(row, "age", where),
                    take=_whole(row, "take", where),
                    language=row.get("language") or language,
                    sentence=row.get("sentence"),
                    intensity=row.get("intensity"),
                    extra={name: values[position] for name, values in extra.items()},
                )
            )
        elif on_unknown == "skip":
            skipped.append((where, f"label {row[label]!r} is not an emotion" if emotion is None else "no such file"))
        elif emotion is None:
            nearest = difflib.get_close_matches(row[label].lower(), EMOTIONS, n=1, cutoff=0.0)[0]
            raise UserError(
                f"{where}: {row[label]!r} is not an emotion known here; say which it is with corpus.label_map, such "
                f"as {{{row[label]}: {nearest}}}, or set corpus.on_unknown: skip"
            )
        else:
            raise UserError(
                f"{where}: no file {audio}; relative paths start from {folder} (corpus.audio_root); or set "
                "corpus.on_unknown: skip"
            )
    return Listing(corpus_name, clips, skipped)


def _rows(table: Path, needed: Mapping[str, str]) -> list[tuple[int, dict[str, str | None]]]:
    """Line number and cells (None where empty) of each row that is not blank."""
    if not table.is_file():
        raise UserError(f"corpus.root: {table} is not a file; csv needs the CSV or TSV file that lists the audio")
    columns, rows = read_table(table, read_text(table))
    for key, column in needed.items():
        if column not in columns:
            why = "; a speaker-independent split needs to know who speaks" if key == "speaker" else ""
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; it has {', '.join(columns) or 'none'}; "
                f"name the column that holds it{why}"
            )
    return rows


def _emotion(word: str, label_map: Mapping[str, str]) -> str | None:
    """The canonical emotion of a table's word, or None."""
    if word in label_map:
        return label_map[word]
    lower = word.lower()
    return lower if lower in EMOTIONS else SYNONYMS.get(lower)


def _stem(audio: Path, folder: Path) -> str:
    """A clip's name: its path without the suffix, from `folder` on where it is below it."""
    base = Path(os.path.normpath(folder))
    return (audio.relative_to(base) if audio.is_relative_to(base) else audio).with_suffix("").as_posix()


def _whole(row: Mapping[str, str | None], column: str, where: str) -> int | None:
    cell = row.get(column)
    if cell is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", cell, re.ASCII):
        raise UserError(f"{where}: {column} should be a whole number or empty, got {cell!r}")
    return int(cell)


def _extra(rows: list[dict[str, str | None]], known: set[str]) -> dict[str, list[Any]]:
    """The other columns as whole numbers, numbers or text, whichever fits all cells; empty columns are left out.

    `session` names something, so that it is text whatever stands in it.
    """
    extra: dict[str, list[Any]] = {}
    for name in [name for name in (rows[0] if rows else ()) if name not in known]:
        cells = [row[name] for row in rows]
        filled = [cell for cell in cells if cell is not None]
        fits = [kind for kind, grammar in _KINDS.items() if all(grammar.fullmatch(cell) for cell in filled)]
        kind = fits[0] if fits and name != "session" else str
        if filled:
            extra[name] = [None if cell is None else kind(cell) for cell in cells]
    return extra

"""A folder of audio in the layout that `datasets` calls audiofolder (corpus name `audiofolder`).

    data/train/angry/anna_01.wav           data/metadata.csv
    data/test/sad/ben_07.wav               data/calls/0001.wav

Without metadata the folder above a file is its label. A `metadata.csv` or `metadata.jsonl` in the root, or in any
folder below it, names its files in the column `file_name`, from its own folder on; it may tell the label
(`corpus.label`), the speaker (`corpus.speaker`) and the columns that every table may (`ser_hf.corpora.csv_table`), and
files that no metadata names are then left out and told. Where metadata has no column of labels, the folder stays the
label.

A folder of the root named train, validation (dev, valid, val) or test is a part: the column `split` has it, and the
protocol `column` splits by it. Who speaks is told by the column, or by `corpus.speaker_pattern`, a regular expression
over the path from the root on: ``(?P<speaker>[a-z]+)_[0-9]+``. It is never guessed.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ..delimited import read_table
from ..errors import UserError
from ..strict import read_text
from .files import audio_files
from .schema import Listing
from .table_rows import KNOWN, NoSpeaker, Reading, Row, carried, clips_of
from .told import facts

__all__ = ["PARTS", "facts", "parse", "read_json_lines"]

METADATA = ("metadata.csv", "metadata.jsonl")
# Names of a part, as `datasets` knows them.
PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_FILE = "file_name"


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    label: str = "label",
    speaker: str = "speaker",
    columns: dict[str, str] | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    corpus_name: str = "audiofolder",
    language: str | None = None,
    **told: Any,
) -> Listing:
    """Reads the files below `root` with what metadata says of them.

    Args:
        on_unknown: with ``"skip"``, files whose label is not an emotion, and rows of metadata without audio, are left
            out and told.
        label, speaker: names of these columns of the metadata, which may lack them.
        columns: what the metadata calls sex, age, language, sentence, intensity, take or id, such as
            ``{sex: gender}``.
        label_map: words of labels -> canonical emotions.
        speaker_pattern, no_speaker, corpus_name, language: see `ser_hf.corpora.table_rows.Reading`.
        told: what `ser_hf.corpora.told.facts` takes.

    Raises:
        UserError: naming the file, the line of metadata, or the key.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
    root = None if root is None else Path(os.path.normpath(root))
    files = audio_files(root, corpus_name)
    described = _described(root)
    used = {label, speaker, _FILE, *map(reading.column, KNOWN)}
    guess = all(where.rpartition(", ")[0].endswith(".csv") for _, where, _ in described)
    extra = carried([cells for *_, cells in described], used, guess)
    rows, named = [], {}
    for (path, where, cells), others in zip(described, extra, strict=True):
        if named.setdefault(path, where) != where:
            raise UserError(f"{where}: {path} stands in {named[path]} too; list each file once")
        word = cells.get(label, path.parent.name)
        rows.append(_row(root, path, where, word, cells.get(speaker), cells, others))
    unnamed = [path for path in files if path not in named]
    if not described:
        rows = [_row(root, path, str(path), path.parent.name, None, {}, {}) for path in unnamed]
        unnamed = []
    clips, skipped = clips_of(rows, reading, on_unknown)
    return Listing(corpus_name, clips, skipped + [(str(path), "in no metadata") for path in unnamed])


def _row(
    root: Path, path: Path, where: str, label: Any, speaker: Any, cells: dict[str, Any], extra: dict[str, Any]
) -> Row:
    place = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    part = PARTS.get(place.partition("/")[0].lower()) if "/" in place else None
    return Row(
        where=where,
        path=path,
        name=place.removesuffix(path.suffix),
        place=place,
        label=None if label in (None, "") else str(label),
        speaker=None if speaker in (None, "") else str(speaker),
        cells=cells,
        extra=({"split": part} if part else {}) | extra,
        absent=None if path.is_file() else f"no file {path}; mend the row, or set corpus.on_unknown: skip",
    )


def _described(root: Path) -> list[tuple[Path, str, dict[str, Any]]]:
    """Of each row of metadata below `root` the file, where the row stands, and its cells."""
    found = []
    for table in sorted(path for name in METADATA for path in root.rglob(name) if path.is_file()):
        lines = list(_lines(table))
        if not lines:
            raise UserError(f"{table}: no row; fill it in, or remove it for labels by folder")
        for line, cells in lines:
            name = cells.get(_FILE)
            if not isinstance(name, str) or not name:
                raise UserError(f"{table}, line {line}: no {_FILE}; it names the audio, from the table's folder on")
            found.append((Path(os.path.normpath(table.parent / name)), f"{table}, line {line}", cells))
    return found


def _lines(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if table.suffix == ".jsonl":
        yield from read_json_lines(table)
    else:
        yield from read_table(table, read_text(table))[1]


def read_json_lines(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that is not blank, of a file with one JSON object a line.

    Raises:
        UserError: naming the line that is none.
    """
    for line, text in enumerate(read_text(table).split("\n"), start=1):
        if text.strip():
            try:
                content = json.loads(text)
            except ValueError as error:
                raise UserError(f"{table}, line {line}: not valid JSON ({error})") from None
            if not isinstance(content, dict):
                raise UserError(f"{table}, line {line}: expected a JSON object, such as {{...}}")
            yield line, content

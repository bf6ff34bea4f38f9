"""A folder of audio in the layout that `datasets` calls audiofolder (corpus name `audiofolder`).

    data/train/angry/anna_01.wav           data/metadata.csv
    data/test/sad/ben_07.wav               data/calls/0001.wav

Without metadata the folder above a file is its label. A `metadata.csv`, `metadata.jsonl` or `metadata.parquet` in the
root, or in any folder below it that is not hidden, names its files in the column `file_name`, from its own folder on;
it may tell the label (`corpus.label`), the speaker (`corpus.speaker`) and the columns that every table may
(`ser_hf.corpora.csv_table`), and files that no metadata names are then left out and told. Where metadata has no column
of labels, the folder stays the label.

The outermost folder named train, validation, test or one of their kin (`ser_hf.corpora.tables`) is a part, as in
``data/train/angry``: the column `split` has it, and the protocol `column` splits by it; a column `split` of the
metadata's own is ``own_split`` then. Who speaks is told by the column, or by `corpus.speaker_pattern`, a regular
expression over the path from the root on: ``(?P<speaker>[a-z]+)_[0-9]+``. It is never guessed.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..utils.errors import UserError
from ..utils.files import folders_below, read_table
from ..utils.yaml import read_text
from .files import audio_files, other_recordings
from .schema import Listing
from .tables import KNOWN, NoSpeaker, Reading, Row, carried, clips_of, facts, opened, part_of, rows_of, with_parts

__all__ = ["facts", "parse", "read_folder", "read_json_lines"]

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"


class _Described(NamedTuple):
    """A row of metadata: its file, the table and the place in it, its cells."""

    path: Path
    table: Path
    where: str
    cells: dict[str, Any]


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
        speaker_pattern, no_speaker, corpus_name, language: see `ser_hf.corpora.tables.Reading`.
        told: what `ser_hf.corpora.tables.facts` takes.

    Raises:
        UserError: naming the file, the line of metadata, or the key.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
    return read_folder(root, reading, on_unknown, label, speaker)


def read_folder(
    root: str | Path | None,
    reading: Reading,
    on_unknown: Literal["error", "skip"],
    label: str,
    speaker: str,
    chosen: Mapping[Path, str | None] | None = None,
) -> Listing:
    """As `parse`.

    Args:
        chosen: the files of audio that are meant, or the tables of metadata, where only some of what lies there is;
            each with its part where a card tells it.
    """
    root = None if root is None else Path(os.path.normpath(root))
    files = audio_files(root, reading.corpus_name)
    described = _described(root)
    others = other_recordings(root) if chosen is None else []
    if chosen is not None:
        by_table = any(path.name in METADATA for path in chosen) and chosen.keys().isdisjoint(files)
        described = [row for row in described if (row.table if by_table else row.path) in chosen]
        files = [row.path for row in described] if by_table else [path for path in files if path in chosen]
    used = {label, speaker, _FILE, *map(reading.column, KNOWN)}
    guess = all(row.table.suffix == ".csv" for row in described)
    extra = carried([row.cells for row in described], used, guess)
    named: dict[Path, str] = {}
    for row in described:
        if named.setdefault(row.path, row.where) != row.where:
            raise UserError(f"{row.where}: {row.path} stands in {named[row.path]} too; list each file once")
    unnamed = [path for path in files if path not in named]
    if not described:
        described, extra, unnamed = [_Described(path, path, str(path), {}) for path in unnamed], [{}] * len(files), []
    told = chosen or {}
    parts = [told.get(row.path) or told.get(row.table) or _part(_place(root, row.path)) for row in described]
    rows = [
        Row(
            where=row.where,
            path=row.path,
            name=_place(root, row.path).removesuffix(row.path.suffix),
            place=_place(root, row.path),
            label=row.cells.get(label, row.path.parent.name),
            speaker=row.cells.get(speaker),
            cells=row.cells,
            extra=own,
            absent=None if row.path.is_file() else f"no file {row.path}; mend the row, or set corpus.on_unknown: skip",
        )
        for row, own in zip(described, with_parts(parts, extra), strict=True)
    ]
    clips, skipped = clips_of(rows, reading, on_unknown)
    skipped += [(str(path), "in no metadata") for path in unnamed]
    skipped += [
        (str(path), f"{path.suffix} is not read here; convert it to .wav or .flac")
        for path in others
        if path not in named
    ]
    return Listing(reading.corpus_name, clips, skipped)


def _place(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _part(place: str) -> str | None:
    """The part that the outermost folder named like one tells."""
    return next((part for folder in place.split("/")[:-1] if (part := part_of(folder))), None)


def _described(root: Path) -> list[_Described]:
    """The rows of all metadata below `root`."""
    found = []
    below = folders_below(root, lambda error: None)  # whoever looked for audio has complained of it
    for table in sorted(Path(folder, name) for folder, names in below for name in names if name in METADATA):
        lines = list(_lines(table))
        if not lines:
            raise UserError(f"{table}: no row; fill it in, or remove it for labels by folder")
        for where, cells in lines:
            name = cells.get(_FILE)
            if not isinstance(name, str) or not name:
                raise UserError(f"{where}: no {_FILE}; it names the audio, from the table's folder on")
            found.append(_Described(Path(os.path.normpath(table.parent / name)), table, where, cells))
    return found


def _lines(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands, and its cells."""
    if table.suffix == ".parquet":
        yield from ((f"{table}, row {number}", cells) for number, cells in enumerate(rows_of(opened(table), ())))
        return
    lines = read_json_lines(table) if table.suffix == ".jsonl" else read_table(table, read_text(table))[1]
    for line, cells in lines:
        yield f"{table}, line {line}", cells


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

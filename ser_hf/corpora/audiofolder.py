"""A folder of audio in the layout that `datasets` calls audiofolder (corpus name `audiofolder`).

    data/train/angry/anna_01.wav           data/metadata.csv
    data/test/sad/ben_07.wav               data/calls/0001.wav

Without metadata the parent folder of a file is its label. A `metadata.csv` or `metadata.jsonl` in
any folder that is not hidden names its files in the column `file_name`, relative to its own folder.
It may give the label (`corpus.label`; else the folder is the label), the speaker (`corpus.speaker`)
and the columns of every table (`ser_hf.corpora.tables`); files that no metadata names are then left
out with a warning.

The outermost folder named train, validation, test or a synonym
(`ser_hf.corpora.tables.SPLIT_WORDS`) is the split: it fills the column `split`, and the protocol
`column` splits by it; a `split` column of the metadata is then called ``own_split``. The speaker
comes from the column, or from `corpus.speaker_pattern`, a regular expression for the path relative
to the root: ``(?P<speaker>[a-z]+)_[0-9]+``. It is never guessed.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..utils.errors import UserError
from ..utils.files import folders_below, parse_json, read_table
from ..utils.yaml import read_text
from . import tables
from .files import audio_files, other_recordings
from .schema import Listing
from .tables import (
    KNOWN,
    NO_LABEL,
    Row,
    RowParser,
    absent,
    extra_columns,
    relative,
    split_name,
    with_splits,
)

ROW_OPTIONS = RowParser
facts = tables.facts
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"


class _Entry(NamedTuple):
    """One row of metadata, or a file without any."""

    path: Path
    where: str
    cells: dict[str, Any]


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    label: str | None = "label",
    speaker: str = "speaker",
    corpus_name: str = "audiofolder",
    **options: Any,
) -> Listing:
    """Read the files below `root` with their metadata.

    Args:
        on_unknown: with ``"skip"``, files whose label is not an emotion and rows without audio are
            left out.
        label, speaker: names of these columns of the metadata, which may lack them; without labels
            (null, for ratings) every clip is of the emotion other.
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and
            `ser_hf.corpora.tables.facts`.
    """
    parser = RowParser.from_options(corpus_name, options)
    files = audio_files(root and os.path.normpath(root), corpus_name)
    root = Path(os.path.normpath(root))
    entries = list(_metadata(root, label))
    listed = {entry.path for entry in entries}
    unlisted = [path for path in files if path not in listed]
    if not entries:
        entries = [_Entry(path, str(path), {}) for path in files]
        unlisted = []
    used = {label, speaker, _FILE, *map(parser.column, KNOWN)}
    extra = extra_columns([entry.cells for entry in entries], used)
    folders = [relative(entry.path, root).split("/")[:-1] for entry in entries]
    splits = [next(filter(None, map(split_name, names)), None) for names in folders]
    rows = [
        Row(
            where=entry.where,
            path=entry.path,
            name=relative(entry.path, root).removesuffix(entry.path.suffix),
            place=relative(entry.path, root),
            label=entry.cells.get(label, entry.path.parent.name) if label else NO_LABEL,
            speaker=entry.cells.get(speaker),
            cells=entry.cells,
            extra=kept,
            missing=absent(entry.path),
        )
        for entry, kept in zip(entries, with_splits(splits, extra), strict=True)
    ]
    clips, skipped = parser.clips(rows, on_unknown)
    skipped += [(str(path), "not in any metadata") for path in unlisted]
    others = [path for path in other_recordings(root) if path not in listed]
    skipped += [
        (str(path), f"{path.suffix} is not supported; convert it to .wav or .flac")
        for path in others
    ]
    return Listing(corpus_name, clips, skipped)


def _metadata(root: Path, label: str) -> Iterator[_Entry]:
    """The rows of all metadata below `root`; `label` is the column of the labels."""
    below = folders_below(root, lambda error: None)  # `audio_files` has reported unreadable folders
    for table in sorted(
        Path(folder, name) for folder, names in below for name in names if name in METADATA
    ):
        columns: Sequence[str] = ()
        if table.suffix == ".parquet":
            raise UserError(f"{table}: Parquet is not read here; save it as metadata.csv")
        if table.suffix == ".jsonl":
            lines = list(read_json_lines(table))
        else:
            columns, lines = read_table(table, read_text(table))
        # an empty cell is no label, not even the folder's
        blank = {label: None} if label in columns else {}
        if not lines:
            raise UserError(f"{table}: no row; fill it in, or remove it to use folders as labels")
        for line, cells in lines:
            where = f"{table}, line {line}"
            name = cells.get(_FILE)
            if not isinstance(name, str) or not name:
                raise UserError(
                    f"{where}: no {_FILE}; it is the path of the audio, relative to the table's folder"
                )
            yield _Entry(Path(os.path.normpath(table.parent / name)), where, blank | cells)


def read_json_lines(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line of a JSON Lines file; blank lines are skipped."""
    for line, text in enumerate(read_text(table).split("\n"), start=1):
        if text.strip():
            content = parse_json(text, f"{table}, line {line}")
            if not isinstance(content, dict):
                raise UserError(f"{table}, line {line}: expected a JSON object, such as {{...}}")
            yield line, content

"""An audio dataset of the Hub, or parquet files in the same form (corpus name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion,
        speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` a commit: a branch moves, and a recipe
that follows one is not reproducible. Or `corpus.root` is a folder with the files of such a
repository, or one parquet file. Data sets are loaded by `datasets.load_dataset`; `corpus.config`
and `corpus.splits` choose among what the card lists. The column `split` holds the split of each
row, and the protocol `column` uses it. A repository that holds audio files instead of parquet can
be downloaded and read as `audiofolder`.

Columns are mapped by name: `corpus.audio`, `corpus.label`, `corpus.speaker`, and `corpus.columns`
for sex, age, language, sentence, intensity, take and id. Every other plain column is kept; one with
a reserved name (`duration`) is renamed to ``own_duration``, and a column `split` becomes
``own_split``. A corpus of ser_hf that was pushed (by `Split.apply(dataset).push_to_hub(...)`) keeps
its ids and speakers if `corpus.corpus_name` is its name.

Embedded audio is written to the cache once (SER_HF_CACHE, else ~/.cache/ser_hf) and not decoded.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
from datasets import Audio, ClassLabel, Dataset, Value, load_dataset

from ..utils.cache import built_once, cache_root, key_of
from ..utils.errors import UserError, one_line
from . import tables
from .schema import Listing
from .tables import KNOWN, NO_LABEL, Row, RowParser, extra_columns, with_splits

ROW_OPTIONS = RowParser
facts = tables.facts
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAGIC = (
    (b"RIFF", ".wav"),
    (b"RF64", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"FORM", ".aiff"),
)


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    dataset: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    splits: list[str] | None = None,
    audio: str = "audio",
    label: str | None = "label",
    speaker: str = "speaker",
    corpus_name: str = "hub",
    **options: Any,
) -> Listing:
    """Read the rows of a dataset. Audio is unpacked after labels and speakers are checked.

    Args:
        root: a folder or a parquet file, instead of `dataset`.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are
            left out.
        dataset, revision: id on the Hub, and the commit (40 hexadecimal digits).
        config: a configuration of the dataset's card; by default the card's default.
        splits: the splits to read; by default all.
        label: its column; null (for ratings) makes every clip one of the emotion other.
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and
            `ser_hf.corpora.tables.facts`. The speaker pattern is matched with the original file
            name of the clip.
    """
    parser = RowParser.from_options(corpus_name, options)
    if (root is None) == (dataset is None):
        raise UserError(
            "corpus.dataset: give an id on the Hub, or a folder or parquet file in corpus.root"
        )
    by_split = _load(str(dataset or root), root, revision, config)
    for split in splits or ():
        if split not in by_split:
            raise UserError(
                f"corpus.splits: no split {split!r}; the dataset has {', '.join(by_split)}"
            )
    chosen = {split: rows for split, rows in by_split.items() if splits is None or split in splits}
    columns = {"audio": audio, "label": label, "speaker": speaker}
    # One parquet file has no name of a split; its own column `split` stays.
    named = root is None or Path(root).is_dir()
    clips, skipped = parser.clips(_rows(chosen, columns, parser, named), on_unknown)
    files: dict[str, Path] = {}
    for split in dict.fromkeys(clip.path.partition("/")[0] for clip in clips):
        numbered = unpack(chosen[split], audio, f"{dataset or Path(root).stem} {split}")
        files |= {f"{split}/{number}": path for number, path in numbered.items()}
    if lost := next((clip.path for clip in clips if clip.path not in files), None):
        raise UserError(
            f"{cache_root() / 'unpacked'}: the audio of {lost} is missing; delete this folder"
        )
    return Listing(
        corpus_name,
        [dataclasses.replace(clip, path=str(files[clip.path])) for clip in clips],
        skipped,
    )


def _load(
    name: str, root: str | Path | None, revision: str | None, config: str | None
) -> dict[str, Dataset]:
    """The splits of a dataset on the Hub or in `root`."""
    try:
        if root is None:
            if Path(name).exists():  # which load_dataset prefers
                raise UserError(
                    f"corpus.dataset: {name} is a folder on this machine; name it in corpus.root"
                )
            if revision is None or not _COMMIT.fullmatch(revision):
                raise UserError(
                    f"corpus.revision: expected a commit of 40 hexadecimal digits, got {revision}; the page of the "
                    "dataset lists them under History"
                )
            return dict(load_dataset(name, config, revision=revision))
        if Path(root).is_file():
            return dict(load_dataset("parquet", data_files=str(root)))
        return dict(load_dataset(str(Path(root).absolute()), config))
    except UserError:
        raise
    except Exception as error:
        # of many kinds: network, card, parquet, an extra package that is missing
        key = "root" if root is not None else "dataset"
        raise UserError(
            f"corpus.{key}: {name} cannot be loaded: {one_line(error)}; a repository of audio files instead of "
            "parquet can be downloaded and read as corpus.name: audiofolder"
        ) from None


def _rows(
    by_split: Mapping[str, Dataset],
    columns: Mapping[str, str | None],
    parser: RowParser,
    named: bool,
) -> list[Row]:
    """The rows of all splits, with SPLIT/NUMBER as the path of each."""
    cells = []
    splits = []
    numbers = []
    sizes = []
    names = []
    for split, rows in by_split.items():
        for key in ("audio", "label"):
            if columns[key] is not None and columns[key] not in rows.column_names:
                known = ", ".join(rows.column_names)
                raise UserError(f"corpus.{key}: no column {columns[key]!r}; name one of {known}")
        plain = [
            name
            for name, feature in rows.features.items()
            if isinstance(feature, Value | ClassLabel) and "binary" not in feature.dtype
        ]
        classes = {
            name: feature.names
            for name, feature in rows.features.items()
            if isinstance(feature, ClassLabel)
        }
        try:
            for row in rows.select_columns(plain):
                cells.append(
                    {name: _class_name(value, classes.get(name)) for name, value in row.items()}
                )
        except (OverflowError, ValueError) as error:  # a date that Python does not have
            raise UserError(f"corpus.columns: a row of {split} cannot be read: {error}") from None
        content = _audio(rows, columns["audio"]).data.column(columns["audio"])
        sizes += pc.binary_length(pc.struct_field(content, "bytes")).to_pylist()
        names += pc.struct_field(content, "path").to_pylist()
        splits += [split] * len(rows)
        numbers += range(len(rows))
    used = {*columns.values(), *map(parser.column, KNOWN)}
    extra = with_splits(
        splits if named else [None] * len(cells), extra_columns(cells, used, guess=False)
    )
    # Clips are named after their files if all have a name and no two are equal.
    stems = [re.sub(r"\.[A-Za-z0-9]{1,4}$", "", name or "").lstrip("./") for name in names]
    distinct = all(stems) and len(set(stems)) == len(stems)
    return [
        Row(
            where=f"split {splits[i]}, row {numbers[i]}",
            path=Path(splits[i], str(numbers[i])),
            name=stems[i] if distinct else f"{splits[i]}/{numbers[i]:07d}",
            place=names[i],
            label=row.get(columns["label"]) if columns["label"] else NO_LABEL,
            speaker=row.get(columns["speaker"]),
            cells=row,
            extra=extra[i],
            missing=None
            if sizes[i]
            else "no embedded audio; correct the table, or set corpus.on_unknown: skip",
        )
        for i, row in enumerate(cells)
    ]


def _class_name(value: Any, names: Sequence[str] | None) -> Any:
    """The name of a class number; other values as they are. None for -1, which means no label."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _audio(rows: Dataset, column: str) -> Dataset:
    """The column of audio alone, as bytes and path."""
    try:
        return rows.select_columns([column]).cast_column(column, Audio(decode=False))
    except (TypeError, ValueError, NotImplementedError):
        raise UserError(
            f"corpus.audio: the column {column!r} holds {rows.features[column]}, not audio"
        ) from None


def unpack(rows: Dataset, column: str, title: str) -> dict[int, Path]:
    """Write the embedded audio to files in the cache once: number of a row -> file,
    ``row_0000007.wav``. The folder's name has the `title`, so that a message about a file shows its
    origin."""
    content = _audio(rows, column)
    key = key_of([rows._fingerprint, column])
    folder = cache_root() / "unpacked" / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', title)[:80]}-{key}"
    with built_once(folder) as fresh:
        for number, row in enumerate(() if fresh is None else content):
            cell = row[column]
            if cell and cell["bytes"]:
                (fresh / f"row_{number:07d}{_suffix(cell['path'], cell['bytes'])}").write_bytes(
                    cell["bytes"]
                )
    return {int(path.stem.removeprefix("row_")): path for path in folder.iterdir()}


def _suffix(name: str | None, content: bytes) -> str:
    """From the first bytes of the content, else from the original name; MP3 has no reliable
    signature.
    """
    found = next((suffix for mark, suffix in _MAGIC if content.startswith(mark)), None)
    own = os.path.splitext(name or "")[1].lower()
    return found or (own if re.fullmatch(r"\.[a-z0-9]{1,8}", own) else ".mp3")

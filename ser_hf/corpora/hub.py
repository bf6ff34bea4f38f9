"""Audio datasets of the Hugging Face Hub, or Parquet files in the same format (name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion,
        speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` is a commit. A branch is not accepted,
because it changes, and the recipe would not be reproducible. Instead of an id, `corpus.root` may
name a folder with the files of such a repository, or one Parquet file. Data sets are loaded by
`datasets.load_dataset`; `corpus.config` and `corpus.splits` select a configuration and splits that
the card lists. The column `split` contains the split of each row, and the protocol `column` can use
it. A repository that has audio files instead of Parquet can be downloaded and read as
`audiofolder`.

`corpus.audio`, `corpus.label` and `corpus.speaker` name the columns with these values, and
`corpus.columns` those for sex, age, language, sentence, intensity, take and id. Every other plain
column is kept. A column with a reserved name such as `duration` is renamed to ``own_duration``, and
a column `split` to ``own_split``. Columns `start` and `end` (seconds, or timedeltas) make rows
segments of their recordings, as in `ser_hf.corpora.tables`. If a corpus of ser_hf was uploaded (by
`Split.apply(dataset).push_to_hub(...)`), it keeps its ids and speakers when `corpus.corpus_name` is
its original name.

Embedded audio is written to the cache once (SER_HF_CACHE, else ~/.cache/ser_hf) and not decoded.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from datasets import ClassLabel, Dataset, Value
from pydantic import Field, model_validator

from ..utils.errors import UserError, one_line
from ..utils.segments import Segment
from .columns import extra_columns, with_splits
from .hub_audio import AudioColumn, unpack
from .hub_files import load_splits
from .rows import STANDARD_COLUMNS, Row, RowParser
from .schema import NO_LABEL, Clip, Listing
from .segments import SegmentSettings
from .settings import refuse

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ONE_SOURCE = "give an id on the Hub, or a folder or parquet file in corpus.root"


class HubSettings(SegmentSettings):
    """Settings of an audio dataset: `dataset` is an id on the Hub, or `root` a folder or file."""

    name: Annotated[Literal["hub"], Field(description="an audio dataset of the Hub")] = "hub"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "hub"
    dataset: Annotated[str | None, Field(description="the id on the Hub")] = None
    revision: Annotated[str | None, Field(description="the commit, of 40 hexadecimal digits")] = (
        None
    )
    config: Annotated[
        str | None,
        Field(description="a configuration on the dataset's card; null: the card's default"),
    ] = None
    splits: Annotated[list[str] | None, Field(description="the splits to read; null: all")] = None
    audio: Annotated[str, Field(description="the column of the audio")] = "audio"

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        # Both may be missing: the metadata of a dataset can be described without the dataset.
        if self.root is not None and self.dataset is not None:
            refuse(self.dataset, _ONE_SOURCE, "dataset")
        return self


def parse(settings: HubSettings) -> Listing:
    """Read the clips of a dataset.

    Labels and speakers are checked before any audio is unpacked. The speaker pattern is searched in
    the original file name of a clip.
    """
    if settings.root is None and settings.dataset is None:
        raise UserError(f"corpus.dataset: {_ONE_SOURCE}")
    rows_of_split = _chosen_splits(_load(settings), settings)
    parser = RowParser(settings.corpus_name, settings)
    listing = parser.listing(_rows(rows_of_split, parser, settings))
    clips = _with_files(listing.clips, rows_of_split, settings)
    return dataclasses.replace(listing, clips=clips)


def _chosen_splits(
    rows_of_split: Mapping[str, Dataset], settings: HubSettings
) -> dict[str, Dataset]:
    """Select the splits that the settings name; all splits by default."""
    if settings.splits is None:
        return dict(rows_of_split)
    for split in settings.splits:
        if split not in rows_of_split:
            raise UserError(
                f"corpus.splits: no split {split!r}; the dataset has {', '.join(rows_of_split)}"
            )
    return {split: rows for split, rows in rows_of_split.items() if split in settings.splits}


def _with_files(
    clips: Sequence[Clip], rows_of_split: Mapping[str, Dataset], settings: HubSettings
) -> list[Clip]:
    """Unpack the audio, and replace each clip's path SPLIT/NUMBER by the path of its audio file."""
    files: dict[str, Path] = {}
    for split in dict.fromkeys(clip.path.partition("/")[0] for clip in clips):
        title = f"{settings.dataset or Path(settings.root).stem} {split}"
        file_of_number = unpack(rows_of_split[split], settings.audio, title)
        for number, path in file_of_number.items():
            files[f"{split}/{number}"] = path

    clips_with_files = []
    for clip in clips:
        clips_with_files.append(dataclasses.replace(clip, path=str(files[clip.path])))
    return clips_with_files


def _load(settings: HubSettings) -> dict[str, Dataset]:
    """Load the splits of a dataset from the Hub or from the root."""
    name = settings.dataset or settings.root
    try:
        if settings.root is None:
            _require_commit(settings)
            return load_splits(name, settings.config, settings.revision)
        return load_splits(name, settings.config)
    except UserError:
        raise
    except Exception as error:
        # datasets raises many types of errors: network, card, Parquet, missing packages.
        key = "dataset" if settings.root is None else "root"
        raise UserError(
            f"corpus.{key}: {name} cannot be loaded: {one_line(error)}; a repository of audio "
            "files instead of parquet can be downloaded and read as corpus.name: audiofolder"
        ) from None


def _require_commit(settings: HubSettings) -> None:
    """Raise a UserError unless the revision of a dataset on the Hub is a commit."""
    if Path(settings.dataset).exists():  # load_dataset would read this folder and not the Hub
        raise UserError(
            f"corpus.dataset: {settings.dataset} is a folder on this machine; "
            "name it in corpus.root"
        )
    if settings.revision is None or not _COMMIT.fullmatch(settings.revision):
        raise UserError(
            "corpus.revision: expected a commit of 40 hexadecimal digits, "
            f"got {settings.revision}; the page of the dataset lists them under History"
        )


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One row of a dataset before it becomes a `Row`.

    Attributes:
        split: the name of the split.
        number: the position of the row in the split.
        cells: column -> value, for the plain columns.
        file_name: the original file name of the audio.
        problem: why the audio cannot be used, with the remedy; None if it can.
        segment: the part of the recording; None if the clip is the whole recording.
    """

    split: str
    number: int
    cells: Mapping[str, Any]
    file_name: str | None
    problem: str | None
    segment: Segment | None = None


def _rows(
    rows_of_split: Mapping[str, Dataset], parser: RowParser, settings: HubSettings
) -> list[Row]:
    """Make the rows of all splits; the path of each row is SPLIT/NUMBER."""
    entries = []
    for split, rows in rows_of_split.items():
        _require_columns(rows, settings)
        entries += _entries(split, rows, settings)

    # A single Parquet file has no named splits. If it has a column `split`, this column is kept.
    has_splits = settings.root is None or Path(settings.root).is_dir()
    splits = [entry.split if has_splits else None for entry in entries]
    used = {settings.audio, settings.label, settings.speaker, *map(parser.column, STANDARD_COLUMNS)}
    if any(entry.segment is not None for entry in entries):
        used |= {settings.start, settings.end}
    extra = extra_columns([entry.cells for entry in entries], used, guess=False)

    parsed = []
    names = _clip_names(entries)
    for entry, name, kept in zip(entries, names, with_splits(splits, extra), strict=True):
        row = Row(
            where=_where(entry.split, entry.number),
            path=Path(entry.split, str(entry.number)),
            name=name,
            searched_path=entry.file_name,
            label=entry.cells.get(settings.label) if settings.label else NO_LABEL,
            speaker=entry.cells.get(settings.speaker),
            cells=entry.cells,
            extra=kept,
            missing=entry.problem,
            segment=entry.segment,
        )
        parsed.append(row)
    return parsed


def _require_columns(rows: Dataset, settings: HubSettings) -> None:
    """Raise a UserError if the settings name a column that the dataset lacks."""
    for key, column in {"audio": settings.audio, "label": settings.label}.items():
        if column is not None and column not in rows.column_names:
            raise UserError(
                f"corpus.{key}: no column {column!r}; name one of {', '.join(rows.column_names)}"
            )


def _entries(split: str, rows: Dataset, settings: HubSettings) -> list[_Entry]:
    """Read the rows of a split: plain columns as Python values, and class numbers as names."""
    plain_columns = []
    names_of_classes = {}
    for column, feature in rows.features.items():
        if isinstance(feature, Value | ClassLabel) and "binary" not in feature.dtype:
            plain_columns.append(column)
        if isinstance(feature, ClassLabel):
            names_of_classes[column] = feature.names

    times = settings.segment_columns(f"split {split}", plain_columns)
    audio = AudioColumn.of(rows, settings.audio)
    problems = audio.problems()
    file_names = audio.names()
    entries = []
    try:
        for number, row in enumerate(rows.select_columns(plain_columns)):
            cells = {
                name: _class_name(value, names_of_classes.get(name)) for name, value in row.items()
            }
            segment = None if times is None else times.segment(cells, _where(split, number))
            entry = _Entry(split, number, cells, file_names[number], problems[number], segment)
            entries.append(entry)
    except (OverflowError, ValueError) as error:  # a date that Python does not have
        raise UserError(f"corpus.columns: a row of {split} cannot be read: {error}") from None
    return entries


def _clip_names(entries: Sequence[_Entry]) -> list[str]:
    """The name of each clip: its file name if all exist and differ, otherwise SPLIT/NUMBER.

    Segments of one recording may have the same file name.
    """
    stems = []
    for entry in entries:
        stem = re.sub(r"\.[A-Za-z0-9]{1,4}$", "", entry.file_name or "")
        stems.append(stem.lstrip("./"))
    segments = [entry.segment for entry in entries]
    if all(stems) and len(set(zip(stems, segments, strict=True))) == len(stems):
        return stems
    return [f"{entry.split}/{entry.number:07d}" for entry in entries]


def _where(split: str, number: int) -> str:
    """A row for messages."""
    return f"split {split}, row {number}"


def _class_name(value: Any, names: Sequence[str] | None) -> Any:
    """Convert a class number to the name of the class; other values are unchanged.

    The number -1 means that there is no label, and becomes None.
    """
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None

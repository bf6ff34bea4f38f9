"""Finds and decodes recordings: files, folders, tables, datasets, and the overlapping windows of a
timeline; checks what the configuration of a model says of its input and its labels."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from datasets import Audio, ClassLabel, Dataset
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from ..audio.decode import SUFFIXES, AudioError, NotAudioError, decode, read_header
from ..models.preparation import Preparation, prepare_waveform
from ..utils.cells import text
from ..utils.errors import UserError
from ..utils.files import first_problem, folders_below, read_table
from ..utils.order import in_order
from ..utils.recordings import OTHER_SUFFIXES, conversion_advice, is_lfs_pointer
from ..utils.yaml import read_text

TABLE_SUFFIXES = {".csv", ".tsv"}
# What libsndfile reads.
AUDIO_SUFFIXES = SUFFIXES | {
    *(
        ".8svx",
        ".aifc",
        ".avr",
        ".bwf",
        ".caf",
        ".ircam",
        ".mp2",
        ".nist",
        ".paf",
        ".pvf",
        ".rf64",
        ".sds",
        ".snd",
    ),
    *(".sph", ".svx", ".voc", ".w64"),
}
CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk by itself
# the first chunk is ready soon, later ones fill their batches better
_FIRST_SAMPLES = 2**19
_MOST_SAMPLES = 2**23
_PATHS = ("path", "file_name")  # ours, and the name that datasets has for it


class ModelSettings(BaseModel):
    """Labels and waveforms in a model's configurations, or in the metadata of an ONNX file."""

    id2label: dict[int, Annotated[str, Field(min_length=1, max_length=100)]] | None = None
    num_labels: Annotated[int, Field(ge=1, le=10_000)] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    target_ranges: (
        dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] | None
    ) = None
    sampling_rate: Annotated[int, Field(strict=True, ge=1000, le=768_000)] = 16000
    padding_value: Annotated[float, Field(strict=True)] = 0.0


def check_settings(values: Any, source: str) -> None:
    """Raise a `UserError` naming `source` unless these are `ModelSettings`, whatever else they
    contain.
    """
    try:
        settings = ModelSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"{source}: {first_problem(error)}; correct the model's configuration"
        ) from None
    names = settings.id2label or {}
    if set(names) != set(range(len(names))):
        raise UserError(
            f"{source}: its labels have the numbers {', '.join(map(str, names))}, not 0 to {len(names) - 1}; correct "
            "id2label in its config.json"
        )


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: the file at `path`, or `data`, its bytes. `label` and `speaker`: None if
    unknown.
    """

    id: str
    path: str
    label: str | None = None
    speaker: str | None = None
    data: bytes | None = None


def from_dataset(dataset: Dataset) -> Iterator[Recording]:
    """The rows of a dataset with a column `audio`, such as `ser_hf.load_corpus` returns, and its
    columns `id`, `label` and `speaker`. Without an id a row gets the path of its audio, with the
    number of the row if the path repeats."""
    if "audio" not in dataset.column_names:
        raise UserError(
            f"inputs: the dataset has no column audio (it has {', '.join(dataset.column_names)})"
        )
    if "id" in dataset.column_names:
        own, count = Counter(name for name in dataset["id"][:] if name is not None).most_common(1)[
            0
        ]
        if count > 1:
            raise UserError(
                f"inputs: {count} rows of the dataset have the id {own!r}; give each row another id"
            )
    return _rows(dataset)


def _rows(dataset: Dataset) -> Iterator[Recording]:
    kept = [name for name in ("audio", "id", "label", "speaker") if name in dataset.column_names]
    label = dataset.features.get("label")
    names = label.names if isinstance(label, ClassLabel) else None
    seen = set()
    for number, row in enumerate(
        dataset.select_columns(kept).cast_column("audio", Audio(decode=False))
    ):
        audio = row["audio"] or {"path": None, "bytes": None}
        known = row.get("label")
        if names and known is not None:
            # -1 where a public test split hides its labels
            known = names[known] if known >= 0 else None
        path = audio["path"] or f"row {number}"
        own = text(row.get("id")) or (f"{path} (row {number})" if path in seen else path)
        seen.add(path)
        yield Recording(own, path, text(known), text(row.get("speaker")), audio["bytes"])


def from_paths(inputs: Iterable[str | os.PathLike], skip: bool = False) -> list[Recording]:
    """Find the recordings of paths, in the order of the paths; those of a folder are sorted by
    name.

    A path is an audio file, a folder with some at any depth, or a table (`listed`). The id of a
    recording is its path, unless a table has ids. A file that is found twice is read once, unless
    rows of tables give it different ids.

    Args:
        skip: keep audio files that are missing, to be reported when they are decoded.

    Raises:
        UserError: naming the path or line that leads nowhere, or an id of two different recordings.
    """
    found: dict[str, Recording] = {}
    known_files: set[str] = set()

    def add(recording: Recording, where: str | None = None) -> None:
        if "\0" in recording.path:
            raise UserError(f"{where}: a path with a NUL character; correct it")
        file = os.path.realpath(recording.path)
        if where is None and file in known_files:
            return
        known_files.add(file)
        before = found.get(recording.id)
        # A row of a table knows more about a file than its path.
        if before not in (None, recording, Recording(recording.id, recording.path)):
            raise UserError(
                f"{where or recording.path}: {recording.id} is listed twice, as another file or with another label or "
                "speaker; list it once, or give each row another id"
            )
        found[recording.id] = recording

    for given in inputs:
        path = Path(given)
        if path.is_dir():
            inside = list(_below(path))
            if not inside:
                raise UserError(
                    f"{given}: holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})"
                )
            for file in inside:
                add(Recording(file.as_posix(), str(file)))
        elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            for where, recording in listed(path):
                add(recording, where)
        elif path.is_file() or (
            skip and not path.exists() and path.suffix.lower() in AUDIO_SUFFIXES
        ):
            add(Recording(path.as_posix(), str(path)))
        elif path.exists():
            raise UserError(f"{given}: not a regular file; save it as one")
        else:
            raise UserError(f"{given}: no such file or folder")
    return list(found.values())


def _below(root: Path) -> Iterator[Path]:
    """Files and broken links with a suffix of audio, by the parts of their paths; hidden files are
    left out.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None

    paths = (Path(folder, name) for folder, names in folders_below(root, refuse) for name in names)
    for path in sorted(paths, key=lambda path: path.parts):
        # A pipe would wait for its writer.
        if path.suffix.lower() in AUDIO_SUFFIXES | OTHER_SUFFIXES and (
            path.is_file() or not path.exists()
        ):
            yield path


def listed(table: Path) -> Iterator[tuple[str, Recording]]:
    """The position of each row, for messages, and its recording; relative paths start from the
    table's folder.
    """
    columns, rows = read_table(table, read_text(table))
    column = next((name for name in _PATHS if name in columns), None)
    if column is None:
        raise UserError(
            f"{table}: has no column {' or '.join(_PATHS)}; there are {', '.join(columns) or 'none'}; name the one "
            "with the paths of the recordings path"
        )
    if not rows:
        raise UserError(f"{table}: lists no recording")
    for line, row in rows:
        where = f"{table}, line {line}"
        cell = row.get(column)
        if cell is None:
            raise UserError(f"{where}: the cell of {column!r} is empty")
        path = Path(os.path.normpath(table.parent / cell))
        yield (
            where,
            Recording(
                row.get("id") or path.as_posix(), str(path), row.get("label"), row.get("speaker")
            ),
        )


class Grid(NamedTuple):
    """Windows of `window` samples, one every `hop` samples."""

    window: int
    hop: int


class Place(NamedTuple):
    """A window: its number from 0, the number of windows of its recording, start and end in seconds
    of the file.
    """

    number: int
    windows: int
    start: float
    end: float


def sliding(samples: int, grid: Grid) -> list[tuple[int, int]]:
    """(start, length) of the windows of a recording, all as long as the grid says. The last one is
    moved back to end with the recording; a shorter recording is one window."""
    if samples <= grid.window:
        return [(0, samples)]
    last = samples - grid.window
    return [(start, grid.window) for start in (*range(0, last, grid.hop), last)]


class NoneReadable(AudioError):
    """None of the recordings can be read."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some recordings with their waveforms, float32 (samples,) each, read like a
    `ser_hf.audio.WaveformStore`. With `places` each entry is a window of its recording."""

    recordings: list[Recording]
    waveforms: list[np.ndarray]
    sampling_rate: int
    places: list[Place] | None = None

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.waveforms[row]

    @property
    def lengths(self) -> np.ndarray:
        """Samples per clip, shape (clips,)."""
        return np.array([len(waveform) for waveform in self.waveforms], dtype=np.int64)


def read_chunks(
    recordings: Iterable[Recording],
    sampling_rate: int,
    preparation: Preparation,
    skipped: Callable[[Recording, str], None] | None = None,
    grid: Grid | None = None,
) -> Iterator[Chunk]:
    """Decode on threads, ahead of the reader by no more than `CHUNK_SAMPLES`, or by one recording;
    chunks come in the order of the recordings, small ones first.

    Args:
        skipped: receives each recording that cannot be read, and why; if None, the first one
            raises.
        grid: cuts recordings into these windows, each then prepared as a clip by itself; a chunk
            may end between two.

    Raises:
        AudioError: naming the file, without `skipped`.
    """

    def work(recording: Recording) -> tuple[Recording, np.ndarray | AudioError]:
        try:
            samples = _decoded(recording, sampling_rate)
        except AudioError as error:
            return recording, error
        # The bytes are not needed any more.
        recording = dataclasses.replace(recording, data=None)
        return recording, samples if timed else prepare_waveform(
            samples, sampling_rate, preparation
        )

    # The length of functionals does not show the seconds that they describe.
    timed = grid is not None or preparation.functionals is not None
    chunk = []
    places = []
    samples = 0
    enough = _FIRST_SAMPLES

    def made() -> Chunk:
        own, waveforms = zip(*chunk, strict=True)
        return Chunk(list(own), list(waveforms), sampling_rate, places if timed else None)

    for recording, waveform in in_order(
        work,
        recordings,
        size=lambda recording: _samples(recording, sampling_rate),
        most=CHUNK_SAMPLES,
    ):
        if isinstance(waveform, AudioError):
            if skipped is None:
                raise AudioError(f"{waveform} (--on-error skip leaves such files out)")
            skipped(recording, str(waveform))
            continue
        windows = sliding(len(waveform), grid) if grid else [(0, len(waveform))]
        for number, (start, length) in enumerate(windows):
            window = waveform[start : start + length]
            if timed:
                seconds = (sample / sampling_rate for sample in (start, start + length))
                places.append(Place(number, len(windows), *seconds))
                window = prepare_waveform(window, sampling_rate, preparation)
            chunk.append((recording, window))
            samples += len(window)
            if samples >= min(enough, CHUNK_SAMPLES):
                yield made()
                chunk = []
                places = []
                samples = 0
                enough = min(2 * enough, _MOST_SAMPLES)
    if chunk:
        yield made()


def _decoded(recording: Recording, sampling_rate: int) -> np.ndarray:
    path = Path(recording.path)
    try:
        if recording.data is None and path.is_file() and is_lfs_pointer(path):
            raise AudioError(
                f"{path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
        return decode(recording.path, recording.data, sampling_rate).samples
    except NotAudioError:
        if path.suffix.lower() in OTHER_SUFFIXES - AUDIO_SUFFIXES:
            raise AudioError(f"{path}: {conversion_advice(path)}") from None
        raise
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None


def _samples(recording: Recording, sampling_rate: int) -> float:
    """Most samples in memory while a recording is decoded and afterwards, from its header; 0 if
    that is unreadable.
    """
    header = read_header(recording.path, recording.data)
    return (
        header.duration * max(header.samplerate * header.channels, sampling_rate) if header else 0
    )

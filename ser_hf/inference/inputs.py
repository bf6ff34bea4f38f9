"""Where the overlapping windows of a recording lie that tell emotion over time."""

import dataclasses
import io
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from datasets import Audio, ClassLabel, Dataset

from ..audio.decode import SUFFIXES, AudioError, NotAudioError, decode
from ..corpora import files
from ..corpora.audiofolder import read_json_lines
from ..corpora.files import is_lfs_pointer
from ..corpora.tables import is_empty, read_parquet, text
from ..models.preparation import Preparation, prepare_waveform
from ..utils.errors import UserError
from ..utils.files import folders_below, read_table
from ..utils.order import in_order
from ..utils.yaml import read_text


class Grid(NamedTuple):
    """Windows of so many samples, one every `hop` samples."""

    window: int
    hop: int


class Place(NamedTuple):
    """Which of its recording's windows one is, from 0, how many there are, and the seconds of the file where it begins
    and ends."""

    number: int
    windows: int
    start: float
    end: float


def sliding(samples: int, grid: Grid) -> list[tuple[int, int]]:
    """(start, length) of the windows of a recording, in order.

    All have the length of the grid, so that none is judged on next to nothing: the last one ends with the recording
    and overlaps the one before it by more. A recording that is no longer than a window is one.
    """
    if samples <= grid.window:
        return [(0, samples)]
    last = samples - grid.window
    return [(start, grid.window) for start in (*range(0, last, grid.hop), last)]


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: the file at `path`, or `data` where its bytes are at hand. `label` is what it is known as, in any
    words, None where nothing is known. `start` and `end` are seconds of the file, where a part of it is meant. `fault`
    is why it cannot be heard, where that is known beforehand, with the remedy."""

    id: str
    path: str
    label: str | None = None
    speaker: str | None = None
    data: bytes | None = None
    start: float = 0.0
    end: float | None = None
    fault: str | None = None

    @property
    def place(self) -> tuple[str, float, float | None]:
        """The same whatever path leads to the file."""
        file = os.path.realpath(self.path) if self.data is None else self.id
        return file, self.start, self.end


def from_dataset(dataset: Dataset) -> Iterator[Recording]:
    """The rows of a dataset, as `ser_hf.load_corpus` returns it or any other with a column `audio`; those of the
    columns `id`, `label` and `speaker` that it has are kept. Bytes that it holds are read row by row. Without an id of
    its own a row has the path of its audio, with the number of the row where that was met before.

    Raises:
        UserError: if there is no column `audio`, or an id stands in two rows.
    """
    if "audio" not in dataset.column_names:
        raise UserError(f"inputs: a dataset without a column audio ({', '.join(dataset.column_names)})")
    if "id" in dataset.column_names:
        own, count = Counter(name for name in dataset["id"][:] if name is not None).most_common(1)[0]
        if count > 1:
            raise UserError(f"inputs: {count} rows of the dataset have the id {own!r}; give each one of its own")
    return _rows(dataset)


def _rows(dataset: Dataset) -> Iterator[Recording]:
    kept = [name for name in ("audio", "id", "label", "speaker") if name in dataset.column_names]
    label = dataset.features.get("label")
    names = label.names if isinstance(label, ClassLabel) else None
    met = set()
    for number, row in enumerate(dataset.select_columns(kept).cast_column("audio", Audio(decode=False))):
        audio, known = row["audio"] or {"path": None, "bytes": None}, row.get("label")
        if names and known is not None:
            known = names[known] if known >= 0 else None  # -1 where a public test part hides its labels
        path = audio["path"] or f"row {number}"
        fault = f"row {number}: holds no audio" if audio["path"] is None and audio["bytes"] is None else None
        own = text(row.get("id")) or (f"{path} (row {number})" if path in met else path)
        met.add(path)
        yield Recording(own, path, text(known), text(row.get("speaker")), audio["bytes"], fault=fault)


LIST_SUFFIXES = {".csv", ".jsonl", ".parquet", ".tsv"}
_PATHS = ("path", "file_name")  # ours, and the name that datasets has for it
# The columns that only our own answers have. Their times are of what a model heard, silence trimmed off.
_ANSWERS = {"window", "windows", "predicted"}


def listed(table: Path) -> Iterator[tuple[str, bool, Recording]]:
    """Of each row where it stands, whether it has an id of its own, and the recording; relative paths start from the
    table's folder.

    The columns `id`, `label` and `speaker` are kept; `start` and `end` are seconds of the file, of which that part
    alone is heard. Without an id of its own a part is called as a media fragment (https://www.w3.org/TR/media-frags/),
    ``calls/one.wav#t=1.5,4``. Of a table that `ser-hf predict` wrote, files are heard whole.

    Raises:
        UserError: naming the table or the row that cannot be used.
    """
    columns, rows = _read(table)
    column = next((name for name in _PATHS if name in columns), None)
    if column is None:
        inside = "; audio inside a table is heard by ser_hf.predict, as a Dataset" if "audio" in columns else ""
        raise UserError(
            f"{table}: has no column {' or '.join(_PATHS)}; there are {', '.join(columns) or 'none'}; call the one "
            f"that holds the paths of the recordings path{inside}"
        )
    whole = set(columns) >= _ANSWERS
    empty = True
    for where, row in rows:
        empty = False
        cell = row.get(column)
        if not cell:
            raise UserError(f"{where}: the cell of {column!r} is empty")
        if not isinstance(cell, str):
            raise UserError(f"{where}: {column} is {cell!r}, not the path of a file")
        path = Path(os.path.normpath(table.parent / cell))
        start, end = (0.0, None) if whole else (_seconds(where, row, "start") or 0.0, _seconds(where, row, "end"))
        if end is not None and end <= start:
            raise UserError(f"{where}: ends at {end:g} s, where it starts at {start:g} s")
        own = text(row.get("id"))
        part = "" if start == 0 and end is None else f"#t={start:g}" + ("" if end is None else f",{end:g}")
        name = own or path.as_posix() + part
        known = text(row.get("label")), text(row.get("speaker"))
        yield where, own is not None, Recording(name, str(path), *known, start=start, end=end)
    if empty:
        raise UserError(f"{table}: lists no recording")


def _read(table: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    """The columns, and of each row where it stands and its cells."""
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        columns, rows = read_parquet(table)
        return columns, ((f"{table}, row {number}", row) for number, row in enumerate(rows, start=1))
    if suffix == ".jsonl":
        lines = list(read_json_lines(table))
        columns = list(dict.fromkeys(name for _, row in lines for name in row))
    else:
        columns, lines = read_table(table, read_text(table))
    return columns, ((f"{table}, line {line}", row) for line, row in lines)


def _seconds(where: str, row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    if is_empty(value):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(
            f"{where}: {column} is {value!r}, where seconds of the recording are expected; rename the column if it "
            "says something else"
        )
    return seconds


PIPED = "-"
# What libsndfile reads.
_RARER = {".8svx", ".aifc", ".avr", ".bwf", ".caf", ".ircam", ".mp2", ".nist", ".paf", ".pvf", ".rf64", ".sds"}
HEARD = set().union(*SUFFIXES.values()) | _RARER | {".snd", ".sph", ".svx", ".voc", ".w64"}
_NOT_READ = files.OTHER_SUFFIXES - HEARD
# By the first bytes: MP4's box `ftyp`, ADTS's twelve set bits with layer 0, Matroska's EBML, ASF's GUID, AMR's mark.
_PIPED_KINDS: dict[str, Callable[[bytes], bool]] = {
    "an MP4 file (m4a, AAC)": lambda head: head[4:8] == b"ftyp",
    "a stream of AAC": lambda head: head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0,
    "a Matroska file (WebM)": lambda head: head[:4] == b"\x1a\x45\xdf\xa3",
    "an ASF file (WMA)": lambda head: head[:4] == b"\x30\x26\xb2\x75",
    "AMR": lambda head: head[:5] == b"#!AMR",
}
_NO_AUDIO = {".json", ".lst", ".md", ".ndjson", ".ods", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml"}


def from_paths(inputs: Iterable[str | os.PathLike], skip: bool = False) -> list[Recording]:
    """The recordings that paths lead to, in the order of the paths, those of a folder by their names.

    A path is an audio file, a folder that holds some at any depth, a table (`ser_hf.inference.inputs.listed`), or
    ``"-"``, the bytes of one recording on standard input. The id of a recording is its path, unless a table says
    otherwise. A file that several inputs lead to, by whatever path or link, is heard once, with what a table says of
    it; rows of tables that give it several ids, or several times, are a recording each.

    Args:
        skip: keep what cannot be heard, with its `fault`: formats of a folder that are not read here, lost links, and
            audio files that are named and missing.

    Raises:
        UserError: naming the path or line that leads nowhere, the id that stands for two recordings, the row that says
            of a recording something else than another, or, unless they are skipped, the first file with a fault.
    """
    found = _Found()
    for given in inputs:
        path = Path(given)
        if str(given) == PIPED:
            found.add(Recording(PIPED, "standard input", data=sys.stdin.buffer.read()))
        elif path.is_dir():
            inside = list(_below(path))
            faults = [recording.fault for recording in inside if recording.fault]
            if not inside:
                raise UserError(f"{given}: holds no audio file ({', '.join(sorted(HEARD))})")
            if faults and not skip:
                more = f", and {len(faults) - 1} more files like it" if len(faults) > 1 else ""
                raise UserError(f"{faults[0]}{more} (--on-error skip leaves such files out)")
            for recording in inside:
                found.add(recording)
        elif not path.exists() and skip and path.suffix.lower() in HEARD | _NOT_READ:
            found.add(_of_file(path, f"{given}: no such file"))
        elif not path.exists():
            raise UserError(f"{given}: no such file or folder")
        elif not path.is_file():
            raise UserError(f"{given}: no regular file; save it as one first, or pipe one recording to {PIPED}")
        elif path.suffix.lower() in LIST_SUFFIXES:
            for where, named, recording in listed(path):
                found.add(recording, where, named)
        elif path.suffix.lower() in _NO_AUDIO:
            told = ", ".join(sorted(LIST_SUFFIXES))
            raise UserError(f"{given}: no audio; lists of recordings are tables ({told}) with a column path")
        else:
            found.add(_of_file(path))
    return found.recordings


class _Found:
    """Recordings as they are met; of each the row that it stands in, and whether it has an id of its own."""

    def __init__(self):
        self.recordings: list[Recording] = []
        self.rows: list[tuple[str | None, bool]] = []
        self.by_id: dict[str, int] = {}
        self.by_place: dict[tuple, list[int]] = {}

    def add(self, recording: Recording, where: str | None = None, named: bool = False) -> None:
        here = self.by_place.setdefault(recording.place, [])
        if where is None and here:
            return
        if here and self.rows[here[0]][0] is None:
            # A file that was named by itself before: the table knows more of it.
            number = here[0]
            del self.by_id[self.recordings[number].id]
        else:
            same = [number for number in here if not (named and self.rows[number][1])]
            same += [number for number in here if self.recordings[number].id == recording.id]
            if same:
                self._agree(self.recordings[same[0]], self.rows[same[0]][0], recording, where)
                return
            number = len(self.recordings)
            here.append(number)
            self.recordings.append(recording)
            self.rows.append((where, named))
        before = self.by_id.setdefault(recording.id, number)
        if before != number:
            first = self.recordings[before]
            raise UserError(
                f"{where or recording.path}: the id {recording.id} of {recording.path} is that of {first.path} "
                f"({self.rows[before][0] or first.path}) too; give each one of its own"
            )
        self.recordings[number], self.rows[number] = recording, (where, named)

    def _agree(self, before: Recording, stands: str | None, recording: Recording, where: str | None) -> None:
        for known in ("label", "speaker"):
            first, second = getattr(before, known), getattr(recording, known)
            if first != second:
                raise UserError(
                    f"{where}: {recording.path} stands in {stands} too, where its {known} is {first or 'missing'}, "
                    f"not {second or 'missing'}; list it once, or give each row an id of its own"
                )


def _below(root: Path) -> Iterator[Recording]:
    """What is audio by its name, or may have lost it, by the parts of their paths; hidden files are left out."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None

    paths = (Path(folder, name) for folder, names in folders_below(root, refuse) for name in names)
    for path in sorted(paths, key=lambda path: path.parts):
        suffix = path.suffix.lower()
        lost = os.path.islink(path) and not os.path.exists(path)
        if lost and (suffix in HEARD | _NOT_READ or not suffix):  # without a suffix it may have led to a folder
            fault = f"a link to {os.readlink(path)}, which is not there; fetch that (`git annex get`), or remove it"
            yield _of_file(path, f"{path}: {fault}")
        elif suffix in HEARD and not _is_other(path):
            yield _of_file(path)
        elif suffix in _NOT_READ and not _is_other(path):
            yield _of_file(path, _suffix_not_read(path))


def _is_other(path: Path) -> bool:
    """Whether it is neither a file nor perhaps one, such as a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)


def not_read(recording: Recording) -> str | None:
    """What to do about a recording whose format is none that is read here; None of others."""
    if recording.id == PIPED:
        head = (recording.data or b"")[:12]
        kind = next((name for name, is_it in _PIPED_KINDS.items() if is_it(head)), "no audio that is known here")
        return (
            f"{recording.path}: {kind}, and only what libsndfile reads is (WAV, FLAC, Ogg, MP3, AIFF and the like); "
            "convert it on the way: ffmpeg -i FILE -vn -f wav - | ser-hf predict MODEL -"
        )
    return _suffix_not_read(Path(recording.path))


def _suffix_not_read(path: Path) -> str | None:
    return f"{path}: {files.conversion_advice(path)}" if path.suffix.lower() in _NOT_READ else None


def _of_file(path: Path, fault: str | None = None) -> Recording:
    return Recording(path.as_posix(), str(path), fault=fault)


CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk of its own
_FIRST_SAMPLES, _MOST_SAMPLES = 2**19, 2**23  # the first chunk answers soon, later ones fill their batches better


class NoneReadable(AudioError):
    """Not one of the recordings can be heard."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some recordings with their waveforms, float32 (samples,) each: as much of a waveform store
    (`ser_hf.audio.WaveformStore`) as batches are made of. With `places` each entry is a window of its recording."""

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
    """Decodes on threads, ahead of the reader by no more than `CHUNK_SAMPLES`, or by one recording; chunks come in the
    order of the recordings, small ones first.

    Args:
        sampling_rate: Hz that the waveforms have afterwards.
        preparation: what is done to each waveform then, as it was for those that the model learnt from.
        skipped: hears of each recording that cannot be read, and why; None has the first one end it all.
        grid: cuts recordings into these windows, each then prepared as a clip by itself; a chunk may end between two.

    Raises:
        AudioError: naming the file, without `skipped`.
    """

    def work(recording: Recording) -> tuple[Recording, np.ndarray | UserError]:
        try:
            if recording.fault:
                raise AudioError(recording.fault)
            if recording.data is None and Path(recording.path).is_file() and is_lfs_pointer(Path(recording.path)):
                raise AudioError(f"{recording.path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone")
            part = recording.start, recording.end
            samples = decode(recording.path, recording.data, sampling_rate, *part).samples
            # Bytes are not needed any more.
            recording = dataclasses.replace(recording, data=None)
            return recording, samples if grid else prepare_waveform(samples, sampling_rate, preparation)
        except NotAudioError as error:
            told = not_read(recording)
            return recording, error if told is None else AudioError(told)
        except AudioError as error:
            return recording, error
        except OSError as error:
            return recording, AudioError(f"{recording.path}: cannot be read ({error.strerror})")

    def size(recording: Recording) -> float:
        return _samples(recording, sampling_rate)

    heard, waveforms, places, samples, enough = [], [], [], 0, _FIRST_SAMPLES
    for recording, waveform in in_order(work, recordings, size=size, most=CHUNK_SAMPLES):
        if isinstance(waveform, AudioError):
            if skipped is None:
                raise AudioError(f"{waveform} (--on-error skip leaves such files out)")
            skipped(recording, str(waveform))
            continue
        windows = sliding(len(waveform), grid) if grid else [(0, len(waveform))]
        for number, (start, length) in enumerate(windows):
            window = waveform[start : start + length]
            if grid:
                seconds = (recording.start + sample / sampling_rate for sample in (start, start + length))
                places.append(Place(number, len(windows), *seconds))
                window = prepare_waveform(window, sampling_rate, preparation)
            heard.append(recording)
            waveforms.append(window)
            samples += len(window)
            if samples >= min(enough, CHUNK_SAMPLES):
                yield Chunk(heard, waveforms, sampling_rate, places if grid else None)
                heard, waveforms, places, samples, enough = [], [], [], 0, min(2 * enough, _MOST_SAMPLES)
    if heard:
        yield Chunk(heard, waveforms, sampling_rate, places if grid else None)


def _samples(recording: Recording, sampling_rate: int) -> float:
    """What a recording takes in memory while it is decoded and afterwards, at most, as its header tells; 0 where that
    cannot be read, as nothing comes of it then."""
    if recording.data is None and not os.path.isfile(recording.path):  # a pipe would not be left
        return 0
    try:
        header = soundfile.info(recording.path if recording.data is None else io.BytesIO(recording.data))
    except (RuntimeError, OSError, ValueError):
        return 0
    end = header.duration if recording.end is None else min(recording.end, header.duration)
    return max(0.0, end - recording.start) * max(header.samplerate * header.channels, sampling_rate)

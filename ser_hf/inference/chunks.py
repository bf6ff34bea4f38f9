"""Decodes recordings on threads, and gathers them into chunks that fit in memory."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..audio.decode import AudioError, Decoded, NotAudioError, decode, read_header
from ..audio.remarks import Remark
from ..audio.segment_reader import decode_segments, runs
from ..models.preparation import Preparation, prepare_waveform
from ..utils.order import in_order
from ..utils.recordings import OTHER_SUFFIXES, conversion_advice, is_lfs_pointer
from .recordings import AUDIO_SUFFIXES, Recording
from .timeline import Grid, Position

CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk by itself
# The first chunk is ready soon; later ones fill their batches better.
_FIRST_SAMPLES = 2**19
_MOST_SAMPLES = 2**23


_UNSUPPORTED_SUFFIXES = OTHER_SUFFIXES - AUDIO_SUFFIXES


class NoneReadable(AudioError):
    """None of the recordings can be read."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Several recordings with their waveforms; it has the interface of a `WaveformStore`.

    Args:
        recordings: the recording of each waveform.
        waveforms: one float32 array (samples,) for each clip or window.
        positions: the position of each waveform in its recording, if the waveforms are windows;
            otherwise None.
    """

    recordings: list[Recording]
    waveforms: list[np.ndarray]
    sampling_rate: int
    positions: list[Position] | None = None

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.waveforms[row]

    @property
    def lengths(self) -> np.ndarray:
        """The number of samples of each clip, (clips,)."""
        return np.array([len(waveform) for waveform in self.waveforms], dtype=np.int64)


class _ChunkBuilder:
    """Collects clips until they fill a chunk; later chunks are larger."""

    def __init__(self, sampling_rate: int, positioned: bool):
        self.sampling_rate = sampling_rate
        self.positioned = positioned
        self.enough = _FIRST_SAMPLES
        self._clear()

    def _clear(self) -> None:
        self.samples = 0
        self.recordings: list[Recording] = []
        self.waveforms: list[np.ndarray] = []
        self.positions: list[Position] = []

    def __len__(self) -> int:
        return len(self.waveforms)

    @property
    def full(self) -> bool:
        return self.samples >= min(self.enough, CHUNK_SAMPLES)

    def add(
        self, recording: Recording, waveform: np.ndarray, position: Position | None = None
    ) -> None:
        self.recordings.append(recording)
        self.waveforms.append(waveform)
        self.samples += len(waveform)
        if position is not None:
            self.positions.append(position)

    def take(self) -> Chunk:
        """Return the chunk, and begin a new one."""
        positions = self.positions if self.positioned else None
        chunk = Chunk(self.recordings, self.waveforms, self.sampling_rate, positions)
        self._clear()
        self.enough = min(2 * self.enough, _MOST_SAMPLES)
        return chunk


def read_chunks(
    recordings: Iterable[Recording],
    sampling_rate: int,
    preparation: Preparation,
    skipped: Callable[[Recording, str], None] | None = None,
    grid: Grid | None = None,
    remarked: Callable[[Recording, Sequence[Remark]], None] | None = None,
) -> Iterator[Chunk]:
    """Decode recordings on threads, and yield them in chunks, in the order of the recordings.

    The first chunks are small. The threads decode at most `CHUNK_SAMPLES` samples, or one
    recording, before the caller takes them.

    Args:
        skipped: a function that receives each recording that cannot be read, and the reason. If it
            is None, the first such recording raises an error.
        grid: the windows into which recordings are cut. Each window is prepared as a clip by
            itself. A chunk may end between two windows of a recording.
        remarked: a function that receives each recording with remarks, such as a silent one.

    Raises:
        AudioError: naming the file that cannot be read, if `skipped` is None.
    """
    # The length of a vector of functionals does not show the duration of the clip, so positions are
    # needed.
    positioned = grid is not None or preparation.functionals is not None
    read = functools.partial(
        _read,
        sampling_rate=sampling_rate,
        preparation=None if positioned else preparation,
    )
    decoded = in_order(
        read,
        runs((recording, recording.path, recording.segment) for recording in recordings),
        size=lambda run: _samples_in_memory(run, sampling_rate),
        most=CHUNK_SAMPLES,
    )

    builder = _ChunkBuilder(sampling_rate, positioned)
    for recording, result in itertools.chain.from_iterable(decoded):
        if isinstance(result, AudioError):
            if skipped is None:
                raise AudioError(f"{result} (--on-error skip leaves such files out)")
            skipped(recording, str(result))
            continue
        if result.remarks and remarked is not None:
            remarked(recording, result.remarks)
        waveform = result.samples
        clips = [(waveform, None)]
        if positioned:
            clips = _prepared_windows(waveform, sampling_rate, preparation, grid)
        for clip, position in clips:
            builder.add(recording, clip, position)
            if builder.full:
                yield builder.take()
    if len(builder):
        yield builder.take()


def _read(
    run: list[Recording], sampling_rate: int, preparation: Preparation | None
) -> list[tuple[Recording, Decoded | AudioError]]:
    """Return recordings without their bytes, each with its samples or the error of reading it.

    The waveforms are prepared as one clip each, unless `preparation` is None.

    Args:
        run: one recording, or segments of one recording (`ser_hf.audio.segment_reader.runs`).
    """
    results = []
    for recording, decoded in zip(run, _decoded(run, sampling_rate), strict=True):
        if preparation is not None and isinstance(decoded, Decoded):
            waveform = prepare_waveform(decoded.samples, sampling_rate, preparation)
            decoded = dataclasses.replace(decoded, samples=waveform)
        results.append((dataclasses.replace(recording, data=None), decoded))
    return results


def _prepared_windows(
    waveform: np.ndarray, sampling_rate: int, preparation: Preparation, grid: Grid | None
) -> Iterator[tuple[np.ndarray, Position]]:
    """Return the prepared windows of a recording with their positions.

    Without a grid the whole recording is one window.
    """
    windows = [(0, len(waveform))] if grid is None else grid.windows(len(waveform))
    for number, (start, length) in enumerate(windows):
        end = start + length
        position = Position(
            number=number,
            windows=len(windows),
            start=start / sampling_rate,
            end=end / sampling_rate,
        )
        yield prepare_waveform(waveform[start:end], sampling_rate, preparation), position


def _decoded(run: list[Recording], sampling_rate: int) -> list[Decoded | AudioError]:
    """Decode one recording, or segments of one recording."""
    recording = run[0]
    path = Path(recording.path)
    try:
        if recording.data is None and path.is_file() and is_lfs_pointer(path):
            raise AudioError(
                f"{path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
        if recording.segment is None:
            return [decode(recording.path, recording.data, sampling_rate)]
        segments = [part.segment for part in run]
        results = decode_segments(recording.path, segments, recording.data, sampling_rate)
        if isinstance(results[0], NotAudioError):
            raise results[0]
        return results
    except AudioError as error:
        if isinstance(error, NotAudioError) and path.suffix.lower() in _UNSUPPORTED_SUFFIXES:
            return [AudioError(f"{path}: {conversion_advice(path)}")] * len(run)
        return [error] * len(run)
    except OSError as error:
        return [AudioError(f"{path}: cannot be read ({error.strerror})")] * len(run)


def _samples_in_memory(run: list[Recording], sampling_rate: int) -> float:
    """Estimate the most samples that a run needs in memory, during decoding and afterwards.

    The estimate uses the header of the file; it is 0 if the header is unreadable.
    """
    recording = run[0]
    header = read_header(recording.path, recording.data)
    if header is None:
        return 0
    seconds = header.duration
    if recording.segment is not None:
        lengths = [(part.segment.end or math.inf) - part.segment.start for part in run]
        seconds = min(seconds, sum(lengths))
    return seconds * max(header.samplerate * header.channels, sampling_rate)

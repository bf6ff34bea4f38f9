"""Decodes recordings on threads, and gathers them into chunks that fit in memory."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..audio.decode import AudioError, Decoded, NotAudioError, decode, read_header
from ..audio.remarks import Remark, RemarkKind
from ..audio.segment_reader import decode_segments, divisible_header, runs
from ..models.preparation import Preparation, prepare_waveform
from ..utils.order import in_order
from ..utils.recordings import OTHER_SUFFIXES, conversion_advice, is_lfs_pointer
from ..utils.segments import Segment
from .recordings import AUDIO_SUFFIXES, Recording
from .timeline import Grid, Position

CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk by itself
# The first chunk is ready soon; later ones fill their batches better.
_FIRST_SAMPLES = 2**19
_MOST_SAMPLES = 2**23
# The windows of a longer recording are decoded in stretches of about this length, in seconds.
_STRETCH_SECONDS = 300
# Seconds before and after a stretch that are decoded too, so that its resampled samples are those
# of the whole recording.
_MARGIN_SECONDS = 1

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


@dataclasses.dataclass(frozen=True)
class _Item:
    """What is decoded at once: a recording, a segment of it, or a stretch with several windows.

    Attributes:
        segment: the part to decode; None for the whole recording.
        windows: (start, length) of the windows of a stretch, in samples of the recording; None if
            the windows follow from the decoded samples.
        first: the number of the first of these windows.
        total: how many windows the recording has.
    """

    recording: Recording
    segment: Segment | None
    windows: list[tuple[int, int]] | None = None
    first: int = 0
    total: int = 0


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
    items = itertools.chain.from_iterable(
        _items(recording, sampling_rate, grid) for recording in recordings
    )
    decoded = in_order(
        read,
        runs((item, item.recording.path, item.segment) for item in items),
        size=lambda run: _samples_in_memory(run, sampling_rate),
        most=CHUNK_SAMPLES,
    )

    builder = _ChunkBuilder(sampling_rate, positioned)
    for item, result in _readable(decoded, skipped):
        remarks = result.remarks
        if item.windows is not None:
            # A stretch may be silent in a recording that is not.
            remarks = [remark for remark in remarks if remark.kind != RemarkKind.SILENT]
        if remarks and remarked is not None:
            remarked(item.recording, remarks)

        clips = [(result.samples, None)]
        if positioned:
            clips = _prepared_windows(result.samples, item, sampling_rate, preparation, grid)
        for clip, position in clips:
            builder.add(item.recording, clip, position)
            if builder.full:
                yield builder.take()
    if len(builder):
        yield builder.take()


def _readable(
    decoded: Iterable[list[tuple[_Item, Decoded | AudioError]]],
    skipped: Callable[[Recording, str], None] | None,
) -> Iterator[tuple[_Item, Decoded]]:
    """The items that can be read, with what was decoded.

    Raises:
        AudioError: for the first item that cannot be read, if `skipped` is None.
    """
    unreadable = None
    for item, result in itertools.chain.from_iterable(decoded):
        if not isinstance(result, AudioError):
            yield item, result
            continue
        if skipped is None:
            raise AudioError(f"{result} (--on-error skip leaves such files out)")
        # Several stretches of a recording are one message.
        if item.recording.id != unreadable:
            skipped(item.recording, str(result))
        unreadable = item.recording.id


def _items(recording: Recording, sampling_rate: int, grid: Grid | None) -> Iterator[_Item]:
    """What to decode of a recording; with a grid, a long recording is divided into stretches."""
    header = None
    if grid is not None and recording.segment is None:
        header = divisible_header(recording.path, recording.data)
    if header is None or header.duration <= 2 * _STRETCH_SECONDS:
        yield _Item(recording, recording.segment)
        return

    samples = round(header.frames * sampling_rate / header.samplerate)
    windows = grid.windows(samples)
    most = max(1, _STRETCH_SECONDS * sampling_rate // grid.hop)
    for first in range(0, len(windows), most):
        in_stretch = windows[first : first + most]
        last_start, length = in_stretch[-1]
        # Whole seconds are whole samples at all sampling rates.
        start = max(0, in_stretch[0][0] // sampling_rate - _MARGIN_SECONDS)
        end = (last_start + length) // sampling_rate + 1 + _MARGIN_SECONDS
        yield _Item(
            recording,
            Segment(float(start), float(end) if end < header.duration else None),
            windows=in_stretch,
            first=first,
            total=len(windows),
        )


def _read(
    run: list[_Item], sampling_rate: int, preparation: Preparation | None
) -> list[tuple[_Item, Decoded | AudioError]]:
    """Return items without the bytes of recordings, each with its samples or the error of reading.

    The waveforms are prepared as one clip each, unless `preparation` is None.

    Args:
        run: one recording, or parts of one (`ser_hf.audio.segment_reader.runs`).
    """
    results = []
    for item, decoded in zip(run, _decoded(run, sampling_rate), strict=True):
        if preparation is not None and isinstance(decoded, Decoded):
            waveform = prepare_waveform(decoded.samples, sampling_rate, preparation)
            decoded = dataclasses.replace(decoded, samples=waveform)
        recording = dataclasses.replace(item.recording, data=None)
        results.append((dataclasses.replace(item, recording=recording), decoded))
    return results


def _prepared_windows(
    waveform: np.ndarray,
    item: _Item,
    sampling_rate: int,
    preparation: Preparation,
    grid: Grid | None,
) -> Iterator[tuple[np.ndarray, Position]]:
    """Return the prepared windows of a decoded item with their positions.

    Without a grid the whole item is one window.
    """
    offset = 0
    total = item.total
    if item.windows is not None:
        offset = round(item.segment.start * sampling_rate)
        windows = item.windows
    elif grid is not None:
        windows = grid.windows(len(waveform))
        total = len(windows)
    else:
        windows = [(0, len(waveform))]
        total = 1
    for number, (start, length) in enumerate(windows, start=item.first):
        window = waveform[start - offset : start - offset + length]
        position = Position(
            number=number,
            windows=total,
            start=start / sampling_rate,
            end=(start + length) / sampling_rate,
        )
        yield prepare_waveform(window, sampling_rate, preparation), position


def _decoded(run: list[_Item], sampling_rate: int) -> list[Decoded | AudioError]:
    """Decode one recording, or parts of one recording."""
    recording = run[0].recording
    path = Path(recording.path)
    try:
        if recording.data is None and path.is_file() and is_lfs_pointer(path):
            raise AudioError(
                f"{path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
        if run[0].segment is None:
            return [decode(recording.path, recording.data, sampling_rate)]
        segments = [item.segment for item in run]
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


def _samples_in_memory(run: list[_Item], sampling_rate: int) -> float:
    """Estimate the most samples that a run needs in memory, during decoding and afterwards.

    The estimate uses the header of the file; it is 0 if the header is unreadable.
    """
    recording = run[0].recording
    header = read_header(recording.path, recording.data)
    if header is None:
        return 0
    seconds = header.duration
    if run[0].segment is not None:
        lengths = [(item.segment.end or math.inf) - item.segment.start for item in run]
        seconds = min(seconds, sum(lengths))
    return seconds * max(header.samplerate * header.channels, sampling_rate)

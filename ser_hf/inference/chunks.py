"""Decodes recordings on threads, and gathers them into chunks that fit in memory."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ..audio.decode import AudioError, NotAudioError, decode, read_header
from ..models.preparation import Preparation, prepare_waveform
from ..utils.order import in_order
from ..utils.recordings import OTHER_SUFFIXES, conversion_advice, is_lfs_pointer
from .recordings import AUDIO_SUFFIXES, Recording
from .timeline import Grid, Position

CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk by itself
# The first chunk is ready soon; later ones fill their batches better.
_FIRST_SAMPLES = 2**19
_MOST_SAMPLES = 2**23


class NoneReadable(AudioError):
    """None of the recordings can be read."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some recordings with their waveforms, read like a `ser_hf.audio.WaveformStore`.

    Args:
        recordings: one for each waveform.
        waveforms: float32 (samples,) each.
        positions: if each entry is a window of its recording, where it is; otherwise None.
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
        """Samples per clip, shape (clips,)."""
        return np.array([len(waveform) for waveform in self.waveforms], dtype=np.int64)


class _ChunkBuilder:
    """Collects clips until they are enough for a chunk; the sizes of chunks grow."""

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
        """The chunk, after which another one begins."""
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
) -> Iterator[Chunk]:
    """Decode recordings on threads; chunks come in the order of the recordings, small ones first.

    The threads are ahead of the reader by no more than `CHUNK_SAMPLES`, or by one recording.

    Args:
        skipped: receives each recording that cannot be read, and why; if None, the first one
            raises.
        grid: cuts recordings into these windows, each then prepared as a clip by itself; a chunk
            may end between two.

    Raises:
        AudioError: naming the file, without `skipped`.
    """
    # The length of functionals does not show the seconds that they describe.
    positioned = grid is not None or preparation.functionals is not None
    read = functools.partial(
        _read,
        sampling_rate=sampling_rate,
        preparation=None if positioned else preparation,
    )
    decoded = in_order(
        read,
        recordings,
        size=lambda recording: _samples_in_memory(recording, sampling_rate),
        most=CHUNK_SAMPLES,
    )

    builder = _ChunkBuilder(sampling_rate, positioned)
    for recording, waveform in decoded:
        if isinstance(waveform, AudioError):
            if skipped is None:
                raise AudioError(f"{waveform} (--on-error skip leaves such files out)")
            skipped(recording, str(waveform))
            continue
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
    recording: Recording, sampling_rate: int, preparation: Preparation | None
) -> tuple[Recording, np.ndarray | AudioError]:
    """A recording without its bytes, and its waveform, or why it cannot be read.

    The waveform is prepared as one clip, unless `preparation` is None.
    """
    try:
        waveform = _decoded(recording, sampling_rate)
    except AudioError as error:
        return recording, error
    if preparation is not None:
        waveform = prepare_waveform(waveform, sampling_rate, preparation)
    return dataclasses.replace(recording, data=None), waveform


def _prepared_windows(
    waveform: np.ndarray, sampling_rate: int, preparation: Preparation, grid: Grid | None
) -> Iterator[tuple[np.ndarray, Position]]:
    """The windows of a recording, each prepared, and their positions; without a grid one window."""
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


def _samples_in_memory(recording: Recording, sampling_rate: int) -> float:
    """The most samples in memory while a recording is decoded and afterwards, from its header.

    0 if the header is unreadable.
    """
    header = read_header(recording.path, recording.data)
    if header is None:
        return 0
    return header.duration * max(header.samplerate * header.channels, sampling_rate)

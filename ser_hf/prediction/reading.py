"""From recordings to waveforms in memory, a chunk at a time: nothing is kept on disk of what is heard once."""

import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..audio.decode import AudioError, NotAudioError, decode
from ..corpora.files import is_lfs_pointer
from ..errors import UserError
from ..models.preparation import Preparation, prepare_waveform
from ..threads import in_order
from .grid import Grid, Place, sliding
from .paths import not_read
from .recordings import Recording

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

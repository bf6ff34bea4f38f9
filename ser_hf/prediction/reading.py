"""From recordings to waveforms in memory, a chunk at a time: nothing is kept on disk of what is heard once."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ..audio.decode import AudioError, decode
from ..corpora.files import is_lfs_pointer
from ..errors import UserError
from ..models.waveform_preparation import Preparation, prepare_waveform
from ..threads import in_order
from .recordings import Recording

CHUNK_SAMPLES = 2**25  # about 35 minutes at 16 kHz, 134 MB; a longer recording is a chunk of its own


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some recordings with their waveforms, float32 (samples,) each: as much of a waveform store
    (`ser_hf.audio.WaveformStore`) as batches are made of."""

    recordings: list[Recording]
    waveforms: list[np.ndarray]
    sampling_rate: int

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
) -> Iterator[Chunk]:
    """Decodes on threads, a little ahead of the reader; chunks come in the order of the recordings.

    Args:
        sampling_rate: Hz that the waveforms have afterwards.
        preparation: what is done to each waveform then, as it was for those that the model learnt from.
        skipped: hears of each recording that cannot be read, and why; None has the first one end it all.

    Raises:
        AudioError: naming the file, without `skipped`.
    """

    def work(recording: Recording) -> tuple[Recording, np.ndarray | UserError]:
        try:
            if recording.data is None and Path(recording.path).is_file() and is_lfs_pointer(Path(recording.path)):
                raise AudioError(f"{recording.path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone")
            samples = decode(recording.path, recording.data, sampling_rate).samples
            # Bytes are not needed any more.
            recording = dataclasses.replace(recording, data=None)
            return recording, prepare_waveform(samples, sampling_rate, preparation)
        except AudioError as error:
            return recording, error
        except OSError as error:
            return recording, AudioError(f"{recording.path}: cannot be read ({error.strerror})")

    heard, waveforms, samples = [], [], 0
    for recording, waveform in in_order(work, recordings):
        if isinstance(waveform, AudioError):
            if skipped is None:
                raise AudioError(f"{waveform} (--on-error skip leaves such files out)")
            skipped(recording, str(waveform))
            continue
        heard.append(recording)
        waveforms.append(waveform)
        samples += len(waveform)
        if samples >= CHUNK_SAMPLES:
            yield Chunk(heard, waveforms, sampling_rate)
            heard, waveforms, samples = [], [], 0
    if heard:
        yield Chunk(heard, waveforms, sampling_rate)

"""A model's answers to the clips of a waveform store, some minutes of audio at a time."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from ..audio.noises import Waveforms
from ..models.preparation import prepare_waveform
from ..prediction.expert import Expert
from ..prediction.hearing import hear
from ..prediction.reading import Chunk
from ..prediction.recordings import Recording
from ..prediction.tables import probabilities
from ..prediction.vectors import listening
from .label_words import Meaning

_CHUNK_SAMPLES = 2**23  # nine minutes at 16 kHz, 34 MB


class Listener:
    """Asks a model about waveforms as it was judged, and puts its answers into the classes of a meaning.

    Args:
        window: seconds; longer clips are heard in windows. None is as the model's own recipe judged.
        batch_size: windows at a time.
    """

    def __init__(self, expert: Expert, meaning: Meaning, window: float | None = None, batch_size: int = 16):
        self.expert, self.meaning, self.batch_size = expert, meaning, batch_size
        self.rate = expert.extractor.sampling_rate
        self.window = expert.window(window)

    def answers(
        self,
        waveforms: Waveforms | Sequence[np.ndarray],
        ids: Sequence[str],
        vectors: bool = False,
        progress: bool = True,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities float32 (clips, classes), and where asked for what the classifier's last layer is given,
        float32 (clips, size). The waveforms are prepared as the model asks for it already."""
        shares, kept = [], []
        with contextlib.ExitStack() as held:
            taken = held.enter_context(listening(self.expert, None)) if vectors else None
            shown = {"desc": "judging", "unit": "clip", "disable": None if progress else True}
            bar = held.enter_context(tqdm(total=len(ids), **shown))
            for begin, end in _chunks([len(waveforms[i]) for i in range(len(ids))]):
                own = [Recording(ids[i], ids[i]) for i in range(begin, end)]
                chunk = Chunk(own, [np.asarray(waveforms[i]) for i in range(begin, end)], self.rate)
                heard = hear(self.expert, chunk, self.window, self.batch_size, taken, bar.update)
                heard = heard.by_clip(self.expert.multi_label)
                shares.append(probabilities(heard.logits, self.expert.multi_label))
                kept.append(heard.vectors)
        return self.meaning.judged(np.concatenate(shares)), np.concatenate(kept) if vectors else None

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Answers to recordings as they are: prepared here, as `pipeline` would."""
        prepared = [prepare_waveform(one, self.rate, self.expert.preparation) for one in waveforms]
        return self.answers(prepared, [f"clip {i}" for i in range(len(prepared))], progress=False)[0]


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = samples = 0
    for i, length in enumerate(lengths):
        samples += length
        if samples >= _CHUNK_SAMPLES or i + 1 == len(lengths):
            yield begin, i + 1
            begin, samples = i + 1, 0

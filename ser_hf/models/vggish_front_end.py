"""What VGGish hears: a clip's log-mel spectrogram in examples of 0.96 s, as it was computed for its training.

Published as `mel_features.py` and `vggish_input.py` beside the model (tensorflow/models, research/audioset/vggish):
frames of 25 ms every 10 ms, not centred, under a periodic Hann window; magnitudes of an FFT of 512 points; 64 bands
from 125 to 7500 Hz, triangles in mel (HTK's formula) rather than in Hz; the logarithm of their sum plus 0.01.
"""

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from .short_time import Derived, ShortTime

RATE, WINDOW, HOP, N_FFT = 16000, 400, 160, 512
FRAMES, BANDS = 96, 64
OFFSET = 0.01


class VGGishFrontEnd(Derived):
    """Waveform -> examples, each of `FRAMES` frames of `BANDS` bands, and a mask of those that are real.

    A clip shorter than one example is padded with silence to one. As published, what is left after the last whole
    example is dropped.

    Args:
        example_hop: frames from one example to the next.
    """

    def __init__(self, example_hop: int = FRAMES):
        super().__init__()
        self.example_hop = example_hop
        self.short_time = ShortTime(WINDOW, WINDOW, HOP, min_frames=FRAMES)
        self.derive("filters", N_FFT // 2 + 1, BANDS)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        if self.filters.is_meta:
            return
        filters = mel_filter_bank(
            num_frequency_bins=N_FFT // 2 + 1,
            num_mel_filters=BANDS,
            min_frequency=125.0,
            max_frequency=7500.0,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",  # 1127 ln(1 + f / 700), HTK's own constant
            triangularize_in_mel_space=True,
        )
        self.filters.copy_(torch.from_numpy(filters))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, examples, 96 * 64), and mask (batch, examples)."""
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float())) * self.short_time.window.float()
            spectrum = torch.fft.rfft(nn.functional.pad(frames, (0, N_FFT - WINDOW)))
            magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
            features = torch.log(magnitude @ self.filters.float() + OFFSET)
        examples = features.unfold(1, FRAMES, self.example_hop).transpose(2, 3).flatten(2)
        counts = torch.div(self.short_time.frame_counts(lengths) - FRAMES, self.example_hop, rounding_mode="floor") + 1
        mask = torch.arange(examples.shape[1], device=lengths.device) < counts[:, None]
        return examples * mask[:, :, None], mask

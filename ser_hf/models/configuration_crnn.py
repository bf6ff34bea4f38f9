"""Configuration of the CRNN."""

from typing import Literal

from transformers import PretrainedConfig


class CRNNConfig(PretrainedConfig):
    """Everything that decides the network, front end included.

    Args:
        sampling_rate: Hz of the waveform the network expects.
        n_fft, win_length, hop_length: samples of the short-time Fourier transform.
        n_mels, f_min, f_max: bands of the log-mel spectrogram and their range in Hz (`f_max` null: half the rate).
        normalization: ``"clip"`` takes away each clip's mean level and scales to unit variance; ``"fixed"`` shifts and
            scales every clip alike, so that loudness, an emotion cue, stays.
        channels: filters of each convolutional block.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        lstm_hidden, lstm_layers: size per direction, and depth.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"`` or ``"attention"`` over time.
        conv_dropout, dropout: probability after each block (whole channels), and around the LSTM and classifier.
        time_masks, time_width, band_masks, band_width: SpecAugment stripes and their widest size, training only.
    """

    model_type = "ser_crnn"

    def __init__(
        self,
        sampling_rate: int = 16000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 256,
        n_mels: int = 64,
        f_min: float = 50.0,
        f_max: float | None = None,
        normalization: Literal["clip", "fixed"] = "clip",
        channels: list[int] = (32, 64, 128, 128),
        time_pooling: list[int] = (2, 2, 2, 1),
        band_pooling: list[int] = (2, 2, 2, 2),
        lstm_hidden: int = 96,
        lstm_layers: int = 1,
        pooling: Literal["mean", "max", "mean_std", "attention"] = "attention",
        conv_dropout: float = 0.05,
        dropout: float = 0.3,
        time_masks: int = 2,
        time_width: int = 12,
        band_masks: int = 2,
        band_width: int = 6,
        **kwargs,
    ):
        self.sampling_rate = sampling_rate
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.n_mels, self.f_min, self.f_max = n_mels, f_min, f_max
        self.normalization = normalization
        self.channels, self.time_pooling, self.band_pooling = list(channels), list(time_pooling), list(band_pooling)
        self.lstm_hidden, self.lstm_layers = lstm_hidden, lstm_layers
        self.pooling = pooling
        self.conv_dropout, self.dropout = conv_dropout, dropout
        self.time_masks, self.time_width = time_masks, time_width
        self.band_masks, self.band_width = band_masks, band_width
        if not len(self.channels) == len(self.time_pooling) == len(self.band_pooling):
            raise ValueError("channels, time_pooling and band_pooling need one entry per block")
        if win_length > n_fft:
            raise ValueError(f"win_length {win_length} is longer than n_fft {n_fft}")
        if normalization not in ("clip", "fixed"):
            raise ValueError(f"normalization {normalization!r} is neither clip nor fixed")
        super().__init__(**kwargs)

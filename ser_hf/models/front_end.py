"""The acoustic front end as a whole: waveform to normalised features, with a mask of the frames that are real."""

from collections.abc import Sequence

import torch
from torch import nn

from .configuration_acoustic import FrameConfig
from .descriptors import FrameDescriptors
from .feature_norm import FeatureNorm
from .frame_fit import pad_or_trim, resize
from .frame_statistics import frame_statistics
from .log_mel import LogMel, Mfcc
from .short_time import deltas
from .spec_augment import mix_style, spec_augment, stretch_time


class FrontEnd(nn.Module):
    """Features, their derivatives, normalisation, a fixed length where asked for, and augmentation in training.

    `size` features a frame are `planes` (features and derivatives) of `bands` each. With `statistics` a clip becomes
    one frame: those statistics over its frames, one after another, standardised by the training clips' own.

    Args:
        min_frames: the fewest frames the network can take; shorter clips are padded with zeros, which count as real.
        statistics: names out of `frame_statistics.STATISTICS`.
    """

    def __init__(self, config: FrameConfig, min_frames: int = 1, statistics: Sequence[str] = ()):
        super().__init__()
        self.config = config
        if config.frames is not None and config.frames < min_frames:
            raise ValueError(f"frames {config.frames} is fewer than the {min_frames} that this network needs")
        # A picture that is resized may be of any length before.
        self.min_frames = 1 if config.frames is not None and config.frame_fit == "resize" else min_frames
        kinds = {"log_mel": LogMel, "mfcc": Mfcc, "descriptors": _descriptors}
        self.features = kinds[config.features](config, self.min_frames)
        self.bands, self.planes = self.features.size, 1 + config.deltas
        self.size = self.bands * self.planes
        self.normalize = FeatureNorm(config.normalization, self.size, self.planes)
        self.statistics = list(statistics)
        if self.statistics:
            self.size *= len(self.statistics)
            self.standardize = FeatureNorm("corpus", self.size)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, frames, size), padding zero, and mask (batch, frames)."""
        config = self.config
        features, mask = self.features(waveform, lengths)
        if self.training and config.time_stretch:
            features, mask = stretch_time(features, mask, config.time_stretch, self.min_frames)
        planes = [features]
        for _ in range(config.deltas):
            planes.append(deltas(planes[-1], mask))
        features = self.normalize(torch.cat(planes, dim=2), mask)
        if config.frames is not None:
            fit = resize if config.frame_fit == "resize" else pad_or_trim
            features, mask = fit(features, mask, config.frames)
        if self.training and config.mix_style:
            features = mix_style(features, mask, config.mix_style)
        if self.training and (config.time_masks or config.band_masks):
            planes = features.unflatten(2, (self.planes, self.bands))
            stripes = config.time_masks, config.time_width, config.band_masks, config.band_width
            features = spec_augment(planes, mask, *stripes).flatten(2)
        if self.statistics:
            features, mask = frame_statistics(features, mask, self.statistics)
            features = self.standardize(features, mask)
        return features, mask


def _descriptors(config: FrameConfig, min_frames: int) -> FrameDescriptors:
    """For configurations that list `descriptors` and their settings, as `CNN1dDescriptorsConfig` does."""
    return FrameDescriptors(
        config.sampling_rate,
        config.n_fft,
        config.win_length,
        config.hop_length,
        center=config.center,
        roll_off=config.roll_off,
        pitch_min=config.pitch_min,
        pitch_max=config.pitch_max,
        min_frames=min_frames,
        names=config.descriptors,
    )

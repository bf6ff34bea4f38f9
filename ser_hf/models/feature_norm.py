"""Normalisation of features: by clip or the training corpus, bands apart or together, by constants, or none."""

import torch
from torch import nn

# Typical mean and deviation of log-mel values in recorded speech, for `normalization="fixed"`. One pair for every
# corpus: only the scale that the first layer sees depends on it.
SPEECH_LOG_MEL = (-12.0, 5.0)


class FeatureNorm(nn.Module):
    """(batch, frames, size) -> the same, padding zero; `kind` as `FrameConfig.normalization` tells.

    With ``"corpus"`` and ``"corpus_level"``, `mean` and `deviation` (size,) are saved with the weights. They are the
    training clips' own: while `observing`, real frames are counted and passed on as they are, and `settle` draws the
    sum. Before that they are 0 and 1. With ``"corpus_level"`` all bands of a plane have the same.

    Args:
        size: features a frame, `planes` times as many as bands (a plane is the features or one of their derivatives).
    """

    def __init__(self, kind: str, size: int, planes: int = 1):
        super().__init__()
        self.kind, self.planes = kind, planes
        if self.counts:
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))
        self.observing = False
        self._sums: torch.Tensor | None = None

    @property
    def counts(self) -> bool:
        """Whether it has statistics of the training clips."""
        return self.kind in ("corpus", "corpus_level")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind in ("clip", "clip_bands"):
            planes = features.unflatten(2, (self.planes, -1))
            return standardize(planes, mask, bands_apart=self.kind == "clip_bands").flatten(2)
        if self.observing:
            self._observe(features, mask)
        elif self.counts:
            features = (features - self.mean.float()) / self.deviation.float()
        elif self.kind == "fixed":
            mean, deviation = SPEECH_LOG_MEL
            features = (features - mean) / deviation
        return features * mask[:, :, None]

    @torch.no_grad()
    def _observe(self, features: torch.Tensor, mask: torch.Tensor) -> None:
        real = features[mask].cpu().double()  # an Apple GPU has no float64
        sums = torch.stack([torch.ones_like(real).sum(dim=0), real.sum(dim=0), real.square().sum(dim=0)])
        self._sums = sums if self._sums is None else self._sums + sums

    @torch.no_grad()
    def settle(self) -> None:
        """Turns what was observed into `mean` and `deviation`, and ends the observation."""
        if self.kind == "corpus_level":
            planes = self._sums.unflatten(1, (self.planes, -1))
            self._sums = planes.sum(dim=2, keepdim=True).expand_as(planes).flatten(1)
        count, total, squares = self._sums
        mean = total / count
        variance = squares / count - mean.square()
        # What never moves in training is not scaled: divided by next to nothing, it would drown the rest once it does.
        still = variance <= 1e-10 * (1 + mean.square())
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(still, 1.0, variance.clamp(min=0).sqrt()))
        self._sums, self.observing = None, False


def standardize(planes: torch.Tensor, mask: torch.Tensor, bands_apart: bool) -> torch.Tensor:
    """Zero mean and unit variance over each clip's real frames: (batch, frames, planes, bands), padding zero.

    One mean for all bands of a plane keeps the spectral tilt, an emotion cue, and removes the recording level; one for
    each band (`bands_apart`) removes the tilt too, and with it voice and microphone.
    """
    real = mask[:, :, None, None].to(planes.dtype)
    count = real.sum(dim=1, keepdim=True)

    def mean(values: torch.Tensor) -> torch.Tensor:
        # Band by band, then over frames: runtimes that add one by one lose digits in long sums.
        values = values if bands_apart else values.mean(dim=3, keepdim=True)
        return values.sum(dim=1, keepdim=True) / count

    centred = (planes - mean(planes * real)) * real
    # Again, or the rounding of the mean is all that digital silence consists of.
    centred = (centred - mean(centred)) * real
    return centred * torch.rsqrt(mean(centred.square()) + 1e-5)

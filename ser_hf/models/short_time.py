"""Short-time analysis that padding cannot reach: frames of a waveform, and which of them are real.

What a frame sees beyond a clip's end is zeros or made of that clip, so a frame that belongs to a clip sees the same
samples whether the clip stands alone or padded in a batch.
"""

import math

import torch
from torch import nn


class Derived(nn.Module):
    """A module whose non-persistent buffers follow from the configuration: they are not saved, and `reset` fills them
    again after a model was loaded on the meta device. They stay float32 whatever the model is cast to: a rounded
    window would let loud frequencies leak into quiet bands."""

    def derive(self, name: str, *shape: int) -> None:
        """Makes room for one; the constructor calls `reset` when all are there."""
        self.register_buffer(name, torch.empty(shape, dtype=torch.float32), persistent=False)

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        rounded = [name for name in self._non_persistent_buffers_set if self._buffers[name].dtype != torch.float32]
        for name in rounded:
            self._buffers[name] = self._buffers[name].float()
        if rounded:
            self.reset()
        return self

    def reset(self) -> None:
        raise NotImplementedError


class ShortTime(Derived):
    """Windowed power spectra of frames.

    Args:
        n_fft, win_length, hop_length: samples; a window of `win_length` is centred in `n_fft`.
        window: ``"hann"`` or ``"hamming"``.
        center: `n_fft // 2` samples before the clip and after; frames are then `samples // hop_length + 1`. Asks for
            an even `n_fft`.
        min_frames: shorter clips are padded with zeros to this many frames, which then count as real.
        edges: those samples: ``"zeros"``, or ``"reflect"``, the clip itself backwards, without the sample at the edge.
    """

    def __init__(
        self,
        n_fft: int,
        win_length: int,
        hop_length: int,
        window: str = "hann",
        center: bool = False,
        min_frames: int = 1,
        edges: str = "zeros",
    ):
        super().__init__()
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.kind, self.center, self.min_frames = window, center, min_frames
        self.edges = edges
        self.derive("window", n_fft)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        if self.window.is_meta:
            return
        window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[self.kind](self.win_length)
        left = (self.n_fft - self.win_length) // 2
        self.window.copy_(nn.functional.pad(window, (left, self.n_fft - self.win_length - left)))

    def frame_counts(self, lengths: torch.Tensor) -> torch.Tensor:
        """Real frames of clips of `lengths` samples, (batch,): those that lie wholly inside the clip, or begin in it
        when centred."""
        if self.center:
            frames = torch.div(lengths, self.hop_length, rounding_mode="floor") + 1
        else:
            frames = torch.div(lengths - self.n_fft, self.hop_length, rounding_mode="floor") + 1
        return frames.clamp(min=self.min_frames)

    def pad(self, waveform: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, samples) with what framing needs before and after; `lengths` (batch,) tell where to reflect."""
        before = after = self.n_fft // 2 if self.center else 0
        least = self.n_fft + (self.min_frames - 1) * self.hop_length - before
        # An exported graph must not depend on how long the clips are: there padding is always enough.
        missing = least if torch.compiler.is_compiling() else max(0, least - waveform.shape[1])
        after = max(missing, after)
        padded = nn.functional.pad(waveform, (before, after)) if before or after else waveform
        return reflected(padded, lengths, before) if self.edges == "reflect" else padded

    def cut(self, padded: torch.Tensor) -> torch.Tensor:
        """What `pad` returns, or anything as long, -> (batch, frames, n_fft), not windowed."""
        return padded.unfold(1, self.n_fft, self.hop_length)

    def mask(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(batch, frames) of the true frames among `frames` (batch, frames, ...)."""
        return torch.arange(frames.shape[1], device=lengths.device) < self.frame_counts(lengths)[:, None]

    def power(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_fft) -> (batch, frames, n_fft // 2 + 1)."""
        # Squared in one run over memory: apart, real and imaginary parts are every other number, which takes twice as
        # long.
        squares = torch.view_as_real(torch.fft.rfft(frames * self.window.float())).square_()
        return squares[..., 0] + squares[..., 1]


def reflected(padded: torch.Tensor, lengths: torch.Tensor, reach: int) -> torch.Tensor:
    """Clips of `lengths` (batch,) samples that begin at sample `reach` of `padded` (batch, samples), continued by
    their own reflection for `reach` samples before and after, as numpy's `pad` does with ``mode="reflect"``: a clip
    shorter than that is reflected back and forth."""
    last = (lengths - 1)[:, None]
    position = torch.arange(padded.shape[1], device=padded.device)[None] - reach
    # There and back: a triangle wave over the clip's samples. A single sample is its own reflection.
    position = torch.remainder(position, (2 * last).clamp(min=1))
    source = torch.minimum(position, 2 * last - position).clamp(min=0)
    inside = torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None] + 2 * reach
    return padded.gather(1, source + reach) * inside


def deltas(features: torch.Tensor, mask: torch.Tensor, width: int = 9) -> torch.Tensor:
    """Time derivatives by linear regression over `width` frames, a clip's edge frames repeated beyond its ends.

    As in HTK (Young et al., The HTK Book, section 5.6) and torchaudio's `compute_deltas`; equals librosa's `delta`
    with ``mode="nearest"``. (batch, frames, size) -> the same, padding zero.
    """
    reach = width // 2
    last = mask.sum(dim=1, keepdim=True) - 1
    here = torch.arange(features.shape[1], device=features.device)[None]
    slope = torch.zeros_like(features)
    for step in range(1, reach + 1):
        after = torch.minimum(here + step, last).clamp(min=0)[:, :, None].expand_as(features)
        before = torch.minimum((here - step).clamp(min=0), last)[:, :, None].expand_as(features)
        slope = slope + step * (features.gather(1, after) - features.gather(1, before))
    return slope / (2 * sum(step * step for step in range(1, reach + 1))) * mask[:, :, None]


def dct_matrix(inputs: int, outputs: int) -> torch.Tensor:
    """The orthonormal DCT-II as a matrix (inputs, outputs)."""
    angles = torch.arange(outputs) * (torch.arange(inputs)[:, None] + 0.5) * (math.pi / inputs)
    matrix = torch.cos(angles) * math.sqrt(2 / inputs)
    matrix[:, 0] /= math.sqrt(2)
    return matrix

"""What is done to waveforms before a model hears them (`ser_hf.models.preparation`), in tensors for a graph.

Each step takes a batch of waveforms, silence behind each clip's end, with their lengths, and returns the same. Of
every clip it makes what `prepare_waveform` makes of it alone, but for the last digits of float32.
"""

import torch
from torch import nn

from ..models import preparation as preparing
from ..models.preparation import Preparation
from .extractors import fixed

Batch = tuple[torch.Tensor, torch.Tensor]


class PreparedInput(nn.Module):
    """The steps of a `Preparation`, in its order."""

    def __init__(self, preparation: Preparation, sampling_rate: int):
        super().__init__()
        steps: list[nn.Module] = []
        if preparation.trim_silence is not None:
            steps.append(Trimmed(sampling_rate, preparation.trim_silence))
        if preparation.level == "peak":
            steps.append(PeakLevel(preparation.target_level))
        elif preparation.level == "loudness":
            steps.append(LoudnessLevel(sampling_rate, preparation.target_level))
        if preparation.fixed_duration is not None:
            steps.append(FixedLength(max(1, round(preparation.fixed_duration * sampling_rate))))
        self.steps = nn.ModuleList(steps)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> Batch:
        """(batch, samples) and lengths (batch,) -> the same, of as many samples unless their number is fixed."""
        for step in self.steps:
            waveform, lengths = step(waveform, lengths)
        return waveform, lengths


class Trimmed(nn.Module):
    """`trim_silence`: clips move to the front of the batch by what is trimmed off there."""

    def __init__(self, sampling_rate: int, below: float):
        super().__init__()
        self.hop, self.hops = max(1, round(preparing._HOP_SECONDS * sampling_rate)), preparing._HOPS
        self.share = 10 ** (-below / 10)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> Batch:
        hop, hops = self.hop, self.hops
        # Double, as there: a frame just as loud as the bound must fall on the same side.
        squares = nn.functional.pad(waveform.double().square(), (2 * hop, 2 * hop))
        energies = squares.unfold(1, hop, hop).sum(dim=2)
        frames = energies.unfold(1, hops, 1).sum(dim=2)
        place = torch.arange(frames.shape[1], device=lengths.device)[None]
        whole = torch.div(lengths, hop, rounding_mode="floor")[:, None]
        frames = torch.where(place <= whole, frames, 0.0)
        loud = frames > frames.amax(dim=1, keepdim=True) * self.share
        first = torch.where(loud, place, frames.shape[1]).amin(dim=1)
        last = torch.where(loud, place, -1).amax(dim=1)
        silent = last < 0
        stop = ((last + 1) * hop).clamp(min=hops * hop)
        end = torch.minimum(stop, lengths)
        start = torch.minimum(first * hop, end - hops * hop).clamp(min=0)
        start, end = torch.where(silent, 0, start), torch.where(silent, lengths, end)
        source = torch.arange(waveform.shape[1], device=lengths.device)[None] + start[:, None]
        moved = waveform.gather(1, torch.minimum(source, lengths[:, None] - 1))
        return torch.where(source < end[:, None], moved, 0.0), end - start


class PeakLevel(nn.Module):
    """`set_level` by the largest magnitude; silence stays."""

    def __init__(self, target: float):
        super().__init__()
        self.target = 10 ** (target / 20)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> Batch:
        peak = waveform.abs().amax(dim=1, keepdim=True)
        gain = torch.where(peak > 0, self.target / torch.where(peak > 0, peak, 1.0), 1.0)
        return waveform * gain, lengths


class LoudnessLevel(nn.Module):
    """`set_level` by the loudness of ITU-R BS.1770-5, gated; what has none stays."""

    def __init__(self, sampling_rate: int, target: float):
        super().__init__()
        self.target = preparing._power(target)
        self.measurable = sampling_rate >= 4 * preparing._SHELF[0]
        if not self.measurable:
            return
        response, self.stretch = preparing._k_response(sampling_rate)
        self.size = 2 * (len(response) - 1)
        parts = torch.view_as_real(torch.from_numpy(response)).float()
        self.register_buffer("response", parts, persistent=False)
        self.block = round(preparing._BLOCK_SECONDS * sampling_rate)
        self.hop = round(preparing._BLOCK_HOP_SECONDS * sampling_rate)
        self.absolute = preparing._power(preparing._ABSOLUTE_GATE)
        self.relative = 10 ** (preparing._RELATIVE_GATE / 10)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> Batch:
        if not self.measurable:
            return waveform, lengths
        weighted = self._k_weighted(waveform)
        inside = torch.arange(weighted.shape[1], device=lengths.device) < lengths[:, None]
        power = torch.where(inside, weighted.square(), 0.0)
        power = nn.functional.pad(power, (0, self.block))
        means = nn.functional.avg_pool1d(power[:, None], self.block, self.hop)[:, 0]
        # A clip shorter than a block is one block.
        means = means * (self.block / lengths.clamp(max=self.block).to(means.dtype))[:, None]
        blocks = torch.div(lengths - self.block, self.hop, rounding_mode="floor").clamp(min=0) + 1
        counted = torch.arange(means.shape[1], device=lengths.device) < blocks[:, None]
        counted = counted & (means > self.absolute)
        counted = counted & (means > _mean(means, counted) * self.relative)
        now = _mean(means, counted)
        gain = torch.where(now > 0, torch.sqrt(self.target / torch.where(now > 0, now, 1.0)), 1.0)
        return waveform * gain, lengths

    def _k_weighted(self, waveform: torch.Tensor) -> torch.Tensor:
        """(batch, samples) -> (batch, at least as many): stretch by stretch in the frequency domain, each after as
        much of what came before it as the filters take to ring out."""
        before = self.size - self.stretch
        stretches = nn.functional.pad(waveform, (before, self.stretch)).unfold(1, self.size, self.stretch)
        spectrum = torch.fft.rfft(stretches) * torch.view_as_complex(self.response)
        return torch.fft.irfft(spectrum, self.size)[..., before:].flatten(1)


class FixedLength(nn.Module):
    """`fix_length`: the zeros after a short clip count as its own."""

    def __init__(self, samples: int):
        super().__init__()
        self.samples = samples

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> Batch:
        return fixed(waveform, self.samples), torch.full_like(lengths, self.samples)


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """(batch, blocks) -> (batch, 1), 0 where none counts."""
    return torch.where(counted, values, 0.0).sum(dim=1, keepdim=True) / counted.sum(dim=1, keepdim=True).clamp(min=1)


def told(preparation: Preparation) -> list[str]:
    """The steps in words."""
    steps = []
    if preparation.trim_silence is not None:
        steps.append(f"silence trimmed off at {preparation.trim_silence:g} dB")
    if preparation.level is not None:
        unit = "dBFS" if preparation.level == "peak" else "LUFS"
        steps.append(f"{preparation.level} set to {preparation.target_level:g} {unit}")
    if preparation.fixed_duration is not None:
        steps.append(f"cut or padded to {preparation.fixed_duration:g} s")
    return steps

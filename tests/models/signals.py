"""Signals that the tests of front ends and networks share."""

import torch


def noise(samples, seed=0, level=0.1):
    """(1, samples) noise with a varying level, so that frames differ."""
    drawn = torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * level
    return drawn * (1.2 + torch.sin(torch.arange(samples) / 1500))


def ragged(*clips):
    """Clips (1, samples) as one batch: waveforms (batch, longest) and true lengths (batch,)."""
    lengths = torch.tensor([clip.shape[1] for clip in clips])
    longest = int(lengths.max())
    return torch.cat(
        [torch.nn.functional.pad(clip, (0, longest - clip.shape[1])) for clip in clips]
    ), lengths


def mask_of(*lengths):
    """(batch, frames), true for the first `lengths` frames of each clip."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

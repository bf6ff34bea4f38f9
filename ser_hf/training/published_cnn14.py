"""The published file of CNN14 at 16 kHz (PANNs, Kong et al. 2020, arXiv:1912.10211), and where its tensors go in ours.

The file brings its front end along, as the weights of a Fourier transform and of a mel filter bank. Ours computes both
and takes nothing of them, but holds them against its own: a file made for another front end is refused.
"""

import math

import torch

from ..models.front_end import LogMel
from ..models.modeling_transfer_audio import CNN14Config
from .published import Published, Tensors, batch_norm

_REAL = "spectrogram_extractor.stft.conv_real.weight"
_IMAGINARY = "spectrogram_extractor.stft.conv_imag.weight"
_MEL = "logmel_extractor.melW"
_TAGS = 527  # of AudioSet
_TOLERANCE = 1e-5


def published(config: CNN14Config) -> Published:
    """The file for a network of these widths."""
    bins, bands = config.n_fft // 2 + 1, config.n_mels
    tensors = {
        _REAL: ((bins, 1, config.n_fft), None),
        _IMAGINARY: ((bins, 1, config.n_fft), None),
        _MEL: ((bins, bands), None),
    }
    tensors |= batch_norm("bn0", "encoder.layers.0.bands_norm", bands)
    inputs = 1
    for i, channels in enumerate(config.channels):
        for j in range(2):
            theirs, ours = f"conv_block{i + 1}", f"encoder.layers.{i}.convolutions.{j}"
            tensors[f"{theirs}.conv{j + 1}.weight"] = ((channels, inputs, 3, 3), f"{ours}.conv.weight")
            tensors |= batch_norm(f"{theirs}.bn{j + 1}", f"{ours}.norm", channels)
            inputs = channels
    above = f"encoder.layers.{len(config.channels)}.linear"
    tensors["fc1.weight"] = ((config.embedding, inputs), f"{above}.weight")
    tensors["fc1.bias"] = ((config.embedding,), f"{above}.bias")
    tensors["fc_audioset.weight"] = ((_TAGS, config.embedding), None)
    tensors["fc_audioset.bias"] = ((_TAGS,), None)
    return Published(
        file="Cnn14_16k_mAP=0.438.pth",
        source="https://zenodo.org/records/3987831",
        licence="CC-BY-4.0",
        tensors=tensors,
        wrapper="model",
        convert=_checked,
    )


def _checked(tensors: Tensors, config: CNN14Config) -> Tensors:
    """The tensors as they are.

    Raises:
        ValueError: naming the matrix of the file's front end that is not ours.
    """
    ours = LogMel(config)
    # In whole numbers first: the angle of a product as large as n_fft squared would lose digits.
    turns = torch.arange(config.n_fft // 2 + 1)[:, None] * torch.arange(config.n_fft) % config.n_fft
    angles = turns.double() * (2 * math.pi / config.n_fft)
    window = ours.short_time.window.double()
    _compare(tensors, _REAL, (torch.cos(angles) * window)[:, None], "n_fft, win_length and window")
    _compare(tensors, _IMAGINARY, (-torch.sin(angles) * window)[:, None], "n_fft, win_length and window")
    _compare(tensors, _MEL, ours.filters, "sampling_rate, n_mels, f_min, f_max and mel_scale")
    return tensors


def _compare(tensors: Tensors, name: str, ours: torch.Tensor, settings: str) -> None:
    apart = (tensors[name].double() - ours.double()).abs().max().item()
    if apart > _TOLERANCE:
        raise ValueError(
            f"{name} is up to {apart:.1g} away from what our front end computes; leave {settings} under model as they "
            "were published"
        )

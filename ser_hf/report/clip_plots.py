"""Pictures of clips, drawn by librosa, and audio as part of a page."""

import base64
import dataclasses
import io
from collections.abc import Mapping

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.sections import HardClip, Occlusion
from .paper import COLUMN

SIZE = (2.9, 2.3)  # inches
# A hard clip has more panels. It is as wide as a telephone, with letters that can be read there.
_HARD_CLIP_SIZE = (3.7, 3.3)  # inches
_DROP_COLOR = "#0072b2"
_RISE_COLOR = "#d55e00"
_WAVEFORM_POINTS = 300
_MELS = 64
_WINDOW_SECONDS = 0.032
_HIGHEST = 8000  # Hz
_RANGE = 60.0  # dB below the loudest point


@dataclasses.dataclass(frozen=True)
class ClipRecordings:
    """Recordings of clips that a report shows.

    Args:
        samples: {clip id: float32 (samples,)}.
        sampling_rate: Hz.
    """

    samples: Mapping[str, np.ndarray]
    sampling_rate: int


def audio_address(samples: np.ndarray, rate: int) -> str:
    """Samples, float32 (samples,) at `rate` Hz, as MP3 in a data URI; all browsers play MP3."""
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), rate, format="MP3")
    return f"data:audio/mpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def clip_figure(samples: np.ndarray, rate: int, title: str) -> Figure:
    """Draw the waveform and the log-mel spectrogram of samples, float32 (samples,), at `rate` Hz.

    Loud points are dark. A dark page inverts its pictures, so there loud points are light.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    waveform, spectrogram = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    draw_waveform(waveform, samples, rate)
    waveform.set_title(title, fontsize=9, parse_math=False)
    draw_spectrogram(spectrogram, samples, rate)
    return figure


def hard_clip_figure(
    clip: HardClip, samples: np.ndarray, rate: int, *, paper: bool = False
) -> Figure:
    """Draw a clip, and how much its prediction depends on each window and each band.

    Args:
        samples: float32 (samples,), at `rate` Hz.
        paper: whether the figure is as wide as a column of a paper.
    """
    width, height = _HARD_CLIP_SIZE
    if paper:
        width = COLUMN
    figure = Figure(figsize=(width, height), layout="constrained")
    if clip.occlusion is None:
        waveform, spectrogram = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    else:
        panels = figure.subplots(3, 2, height_ratios=[3, 4, 10], width_ratios=[4, 1])
        (waveform, _), (by_time, _), (spectrogram, by_band) = panels
        for empty in panels[:2, 1]:
            empty.set_axis_off()
        waveform.sharex(spectrogram)
        by_time.sharex(spectrogram)
        by_band.sharey(spectrogram)
    # A quiet clip is drawn as high as a loud one.
    peak = float(np.abs(samples).max(initial=0.0))
    draw_waveform(waveform, samples, rate, limit=1.05 * peak or 1.0)
    draw_spectrogram(spectrogram, samples, rate)
    if clip.occlusion is not None:
        _draw_occlusion(by_time, by_band, clip.occlusion)
    title = f"{clip.label}, predicted as {clip.predicted}"
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure


def _draw_occlusion(by_time: Axes, by_band: Axes, occlusion: Occlusion) -> None:
    """Draw the drops by window, over time, and by band, beside the frequencies."""
    drops = [*occlusion.drop_by_window, *occlusion.drop_by_band]
    # Drops that are next to nothing look like it.
    lowest = min(-0.02, *drops)
    highest = max(0.1, *drops)
    margin = 0.05 * (highest - lowest)
    limits = (lowest - margin, highest + margin)

    times = [start + occlusion.seconds / 2 for start in occlusion.starts]
    width = times[1] - times[0] if len(times) > 1 else occlusion.seconds
    by_time.bar(times, occlusion.drop_by_window, width, color=_colors(occlusion.drop_by_window))
    by_time.set_ylim(limits)
    by_time.set_ylabel("drop", fontsize=8)
    by_time.locator_params(axis="y", nbins=3)
    by_time.tick_params(labelsize=7, labelbottom=False)

    lows = np.array(occlusion.edges[:-1])
    heights = np.diff(occlusion.edges)
    by_band.barh(
        lows,
        occlusion.drop_by_band,
        0.94 * heights,
        align="edge",
        color=_colors(occlusion.drop_by_band),
    )
    by_band.set_xlim(limits)
    by_band.set_xlabel("drop", fontsize=8)
    by_band.locator_params(axis="x", nbins=1)  # the panel is narrow
    by_band.tick_params(labelsize=7, labelleft=False)
    for axes, draw_zero in ((by_time, by_time.axhline), (by_band, by_band.axvline)):
        draw_zero(0, color="0.3", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)


def _colors(drops: list[float]) -> list[str]:
    return [_DROP_COLOR if drop >= 0 else _RISE_COLOR for drop in drops]


def draw_waveform(axes: Axes, samples: np.ndarray, rate: int, limit: float = 1.0) -> None:
    """Draw the envelope of samples, float32 (samples,), at `rate` Hz, from -limit to limit."""
    import librosa.display

    librosa.display.waveshow(
        samples, sr=rate, max_points=_WAVEFORM_POINTS, axis=None, color="0.35", ax=axes
    )
    axes.set(ylim=(-limit, limit), yticks=[])
    axes.tick_params(labelbottom=False)


def draw_spectrogram(axes: Axes, samples: np.ndarray, rate: int) -> None:
    """Draw the log-mel spectrogram of samples, float32 (samples,), at `rate` Hz."""
    import librosa
    import librosa.display

    window = round(_WINDOW_SECONDS * rate)
    hop = window // 2
    highest = min(_HIGHEST, rate / 2)
    # librosa warns of clips that are shorter than a window.
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    power = librosa.feature.melspectrogram(
        y=samples, sr=rate, n_fft=window, hop_length=hop, n_mels=_MELS, fmax=highest
    )
    librosa.display.specshow(
        librosa.power_to_db(power, ref=np.max, top_db=_RANGE),
        sr=rate,
        hop_length=hop,
        n_fft=window,
        fmax=highest,
        x_axis="time",
        y_axis="mel",
        cmap="magma_r",
        ax=axes,
    )
    axes.set_xlabel("time (s)", fontsize=8)
    axes.set_ylabel("Hz", fontsize=8)
    axes.tick_params(labelsize=7)

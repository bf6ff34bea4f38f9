"""Pictures of an inspection, as matplotlib figures on a clear ground, for a page that is light or dark."""

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..evaluation.plots import COLOURS, clear, distribution_figure

PITCH_RANGE = (60.0, 600.0)
_BANDS = 80
_DYNAMIC_RANGE = 80.0
_HOP_SECONDS = 0.01
_WINDOW_SECONDS = 0.025
_PITCH_WINDOW_SECONDS = 0.064
# In semitones; librosa's own tenth of one takes thrice the time for what no picture shows.
_PITCH_RESOLUTION = 0.2
_MOST_BOXES = 120
# Inches, of which the page makes 96 pixels: two charts stand side by side.
_CHART = (5.4, 3.4)


def example_figure(samples: np.ndarray, sampling_rate: int) -> tuple[Figure, float | None]:
    """Waveform, log-mel spectrogram and pitch of one recording below one another, and its median pitch in Hz.

    Pitch is probabilistic YIN (Mauch and Dixon, 2014) between 60 and 600 Hz; None where nothing is voiced.

    Args:
        samples: mono, shape (samples,).
    """
    seconds = len(samples) / sampling_rate
    figure = Figure(figsize=(5.4, 4.8), layout="constrained")
    wave, mel, pitch = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.2))
    wave.plot(np.arange(len(samples)) / sampling_rate, samples, color=COLOURS[0], linewidth=0.4)
    largest = max(float(np.abs(samples).max()), 1e-3)
    wave.set(ylabel="amplitude\n(full scale 1)", ylim=(-1.1 * largest, 1.1 * largest), xlim=(0, seconds))
    _log_mel(mel, figure, samples, sampling_rate)
    times, hertz = _pitch(samples, sampling_rate)
    pitch.plot(times, hertz, ".", color=COLOURS[0], markersize=3)
    pitch.set(xlabel="time (s)", ylabel="pitch (Hz)", yscale="log", ylim=PITCH_RANGE)
    pitch.set_yticks([75, 150, 300, 600], ["75", "150", "300", "600"])
    pitch.minorticks_off()
    for axes in (wave, pitch):
        axes.grid(alpha=0.3)
    median = float(np.nanmedian(hertz)) if np.isfinite(hertz).any() else None
    return clear(figure), median


def mel_figure(power: np.ndarray, sampling_rate: int, loudest: float, seconds: float) -> Figure:
    """A log-mel spectrogram alone, to compare with others of the same `loudest` power and as many `seconds`."""
    figure = Figure(figsize=(3.3, 1.75), layout="constrained")
    axes = figure.add_subplot()
    image = mel_image(axes, power, sampling_rate, loudest)
    axes.set(xlim=(0, seconds))
    axes.set_xlabel("time (s)", fontsize=8)
    axes.set_ylabel("Hz (mel)", fontsize=8)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.set_label("dB", fontsize=8)
    for part in (axes, bar.ax):
        part.tick_params(labelsize=7)
    return clear(figure)


def classes_figure(counts: Mapping[str, Sequence[int]], labels: Sequence[str], title: str) -> Figure:
    """Clips of each label, in as many series as `counts` has."""
    # A dollar sign in a name would begin a formula.
    figure = distribution_figure({name.replace("$", r"\$"): values for name, values in counts.items()}, labels)
    figure.set_size_inches(_CHART)
    axes = figure.axes[0]
    axes.set_title(title)
    axes.tick_params(axis="x", rotation=35)
    axes.margins(y=0.1)
    axes.get_legend().remove()
    if len(counts) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(counts), frameon=False)
    return clear(figure)


def durations_figure(durations: Sequence[float]) -> Figure:
    """How long the clips are."""
    figure = Figure(figsize=_CHART, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(durations, bins=min(60, max(10, int(np.sqrt(len(durations))))), color=COLOURS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(durations)} clips")
    axes.grid(alpha=0.3)
    return clear(figure)


def boxes_figure(groups: Mapping[str, Sequence[float]], unit: str, title: str, rotate: bool) -> Figure:
    """A box for each group: median, quartiles, whiskers to the last value within 1.5 of their distance, and outliers.

    Of more than 120 groups those with the lowest and the highest medians are shown.
    """
    names = list(groups)
    if len(names) > _MOST_BOXES:
        by_median = sorted(names, key=lambda name: float(np.median(groups[name])))
        kept = {*by_median[: _MOST_BOXES // 2], *by_median[-_MOST_BOXES // 2 :]}
        title += f" (the {_MOST_BOXES // 2} lowest and highest of {len(names)})"
        names = [name for name in names if name in kept]
    figure = Figure(figsize=(max(_CHART[0], 0.19 * len(names) + 1), _CHART[1]), layout="constrained")
    axes = figure.add_subplot()
    axes.boxplot(
        [groups[name] for name in names],
        widths=0.65,
        patch_artist=True,
        boxprops={"facecolor": COLOURS[0], "alpha": 0.45, "linewidth": 0.8},
        medianprops={"color": COLOURS[1], "linewidth": 2},
        flierprops={"marker": ".", "markersize": 3, "alpha": 0.6},
    )
    # Names come from files and tables: a dollar sign in one is no formula.
    axes.set_xticks(range(1, len(names) + 1), names, rotation=90 if rotate else 0, parse_math=False)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylabel(unit)
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.3, axis="y")
    return clear(figure)


def mel_power(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Power in 80 mel bands up to 8 kHz, (bands, frames): windows of 25 ms every 10 ms."""
    window = round(_WINDOW_SECONDS * sampling_rate)
    size = 1 << (window - 1).bit_length()
    return librosa.feature.melspectrogram(
        y=_at_least(samples, size),
        sr=sampling_rate,
        n_fft=size,
        win_length=window,
        hop_length=round(_HOP_SECONDS * sampling_rate),
        n_mels=_BANDS,
        fmax=min(8000, sampling_rate / 2),
    )


def mel_image(axes: Axes, power: np.ndarray, sampling_rate: int, loudest: float) -> AxesImage:
    """Power in dB below the `loudest` cell; the darker the louder, so that inverted colours read as well."""
    levels = librosa.power_to_db(power, ref=loudest, top_db=None).clip(-_DYNAMIC_RANGE, 0)
    centres = librosa.mel_frequencies(n_mels=_BANDS + 2, fmax=min(8000, sampling_rate / 2))[1:-1]
    image = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="Blues",
        vmin=-_DYNAMIC_RANGE,
        vmax=0,
        extent=(0, levels.shape[1] * _HOP_SECONDS, 0, _BANDS),
        interpolation="nearest",
    )
    ticks = [hertz for hertz in (250, 500, 1000, 2000, 4000) if hertz < centres[-1]]
    axes.set_yticks(np.interp(ticks, centres, np.arange(_BANDS) + 0.5), [f"{hertz:g}" for hertz in ticks])
    return image


def _log_mel(axes: Axes, figure: Figure, samples: np.ndarray, sampling_rate: int) -> None:
    power = mel_power(samples, sampling_rate)
    image = mel_image(axes, power, sampling_rate, float(power.max()))
    axes.set(ylabel="mel band\n(centre, Hz)")
    figure.colorbar(image, ax=axes, label="dB re maximum", pad=0.01)


def _pitch(samples: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and pitch (Hz, NaN where unvoiced), each of shape (frames,)."""
    size = round(_PITCH_WINDOW_SECONDS * sampling_rate)
    hop = round(_HOP_SECONDS * sampling_rate)
    low, high = PITCH_RANGE
    hertz, voiced, _ = librosa.pyin(
        _at_least(samples, size),
        fmin=low,
        fmax=high,
        sr=sampling_rate,
        frame_length=size,
        hop_length=hop,
        resolution=_PITCH_RESOLUTION,
    )
    return np.arange(len(hertz)) * hop / sampling_rate, np.where(voiced, hertz, np.nan)


def _at_least(samples: np.ndarray, length: int) -> np.ndarray:
    """The samples, with zeros behind them where there are too few for one window."""
    return np.pad(samples, (0, max(0, length - len(samples))))

"""Pictures of clips, drawn by librosa, and audio as part of a page."""

import base64
import io

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE = (2.9, 2.3)  # inches
_WAVEFORM_POINTS = 300
_MELS = 64
_WINDOW_SECONDS = 0.032
_HIGHEST = 8000  # Hz
_RANGE = 60.0  # dB below the loudest point


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


def draw_waveform(axes: Axes, samples: np.ndarray, rate: int) -> None:
    """Draw the envelope of samples, float32 (samples,), at `rate` Hz."""
    import librosa.display

    librosa.display.waveshow(
        samples, sr=rate, max_points=_WAVEFORM_POINTS, axis=None, color="0.35", ax=axes
    )
    axes.set(ylim=(-1, 1), yticks=[])
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

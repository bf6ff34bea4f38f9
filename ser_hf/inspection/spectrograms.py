"""Pictures of log-mel spectrograms, one example for each label, drawn by librosa."""

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..report.page import Picture, picture
from ..report.plots import svg
from .measure import AudioFile
from .voice import RATE, VoiceSample, speech_of

# Limits the size of the page, as a picture has about 70 kB.
MOST_PICTURES = 12
_SIZE = (2.9, 1.9)  # inches
_MELS = 64
_WINDOW = 512
_HOP = 256
_HIGHEST = 8000  # Hz
_RANGE = 60.0  # dB below the loudest point


def spectrograms(sample: VoiceSample) -> list[Picture]:
    """Draw one picture for each label of the sample, for at most `MOST_PICTURES` labels.

    The alternative text of a picture names the label and the clip.
    """
    pictures = []
    for label in sample.labels[:MOST_PICTURES]:
        file = example([voice.file for voice in sample.of_label(label)])
        alt = f"Log-mel spectrogram of {file.shown}, a clip of the label {label}."
        figure = spectrogram_figure(speech_of(file), title=label)
        pictures.append(picture(alt, svg(figure), _SIZE))
    return pictures


def example(files: Sequence[AudioFile]) -> AudioFile:
    """The clip whose duration is nearest to the median duration."""
    typical = statistics.median(file.measured.duration for file in files)
    return min(files, key=lambda file: abs(file.measured.duration - typical))


def spectrogram_figure(samples: np.ndarray, title: str) -> Figure:
    """Draw the log-mel spectrogram of samples, float32 (samples,), at `RATE`.

    Loud points are dark. A dark page inverts its pictures, so there loud points are light.
    """
    import librosa
    import librosa.display

    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=_WINDOW, hop_length=_HOP, n_mels=_MELS, fmax=_HIGHEST
    )
    decibels = librosa.power_to_db(power, ref=np.max, top_db=_RANGE)

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    librosa.display.specshow(
        decibels,
        sr=RATE,
        hop_length=_HOP,
        n_fft=_WINDOW,
        fmax=_HIGHEST,
        x_axis="time",
        y_axis="mel",
        cmap="magma_r",
        ax=axes,
    )
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xlabel("time (s)", fontsize=8)
    axes.set_ylabel("Hz", fontsize=8)
    axes.tick_params(labelsize=7)
    return figure

"""Clips to look at and listen to, of each label and of each finding.

The page of an inspection contains them, so their number and length are bounded.
"""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..audio.decode import AudioError
from ..audio.segment_reader import decode_segment
from ..report.clip_plots import SIZE, audio_address, clip_figure
from ..report.page import Picture, picture
from ..report.plots import svg
from .finding import Finding
from .measure import AudioFile
from .voice import RATE, VoiceSample

# Limits of the page. A clip has at most 150 kB of picture and 30 kB of audio (noise), so that the
# page has less than `MOST_PAGE_BYTES`.
MOST_LABELS = 12
CLIPS_PER_LABEL = 3
CLIPS_PER_FINDING = 2
MOST_CLIPS_OF_FINDINGS = 12
MOST_SECONDS = 5.0
MOST_PAGE_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True)
class Sound:
    """A clip on the page.

    Args:
        shown: its path below the root.
        label: its label; None if it is not a clip of the corpus.
        picture: its waveform and spectrogram.
        audio: its first `MOST_SECONDS` as a data URI; None without audio.
    """

    shown: str
    label: str | None
    picture: Picture
    audio: str | None


def sounds_by_label(sample: VoiceSample, audio: bool = True) -> dict[str, list[Sound]]:
    """Draw a few clips of each label of the sample, for at most `MOST_LABELS` labels.

    They are the clips whose durations are nearest to the median duration of the label.

    Args:
        audio: whether the clips have players.
    """
    sounds = {}
    for label in sample.labels[:MOST_LABELS]:
        files = typical([voice.file for voice in sample.of_label(label)], CLIPS_PER_LABEL)
        sounds[label] = [sound_of(file, audio) for file in files]
    return sounds


def figures_by_label(sample: VoiceSample) -> dict[str, Figure]:
    """Draw the most typical clip of each label of the sample, for at most `MOST_LABELS` labels."""
    figures = {}
    for label in sample.labels[:MOST_LABELS]:
        (file,) = typical([voice.file for voice in sample.of_label(label)], 1)
        figures[label] = clip_figure(_first_seconds(file), RATE, title=label)
    return figures


def sounds_of_findings(
    findings: Sequence[Finding], files: Sequence[AudioFile], audio: bool = True
) -> list[list[Sound]]:
    """Draw the first clips of each finding that can be decoded; the most serious come first.

    Args:
        findings: in the order of the page.
        files: the files of the corpus.
        audio: whether the clips have players.

    Returns:
        The clips of each finding, at most `MOST_CLIPS_OF_FINDINGS` in all.
    """
    file_of_path = {file.shown: file for file in files if file.measured is not None}
    sounds: list[list[Sound]] = []
    left = MOST_CLIPS_OF_FINDINGS
    for finding in findings:
        sounds_of_finding: list[Sound] = []
        # A damaged file leaves its place to the next one, but few files are tried.
        for path, _ in finding.files[: 2 * CLIPS_PER_FINDING]:
            if left == 0 or len(sounds_of_finding) == CLIPS_PER_FINDING:
                break
            file = file_of_path.get(path)
            if file is None:
                continue
            try:
                sounds_of_finding.append(sound_of(file, audio))
                left -= 1
            except (AudioError, OSError):
                continue
        sounds.append(sounds_of_finding)
    return sounds


def typical(files: Sequence[AudioFile], count: int) -> list[AudioFile]:
    """The clips whose durations are nearest to the median duration."""
    median = statistics.median(file.measured.duration for file in files)
    return sorted(files, key=lambda file: abs(file.measured.duration - median))[:count]


def sound_of(file: AudioFile, audio: bool = True) -> Sound:
    """Draw a file, and encode its first seconds.

    The alternative text of the picture names the clip and its label.

    Raises:
        AudioError: if the file cannot be decoded.
    """
    samples = _first_seconds(file)
    label = None if file.clip is None else file.clip.emotion
    alt = f"Waveform and log-mel spectrogram of {file.shown}"
    if label is not None:
        alt += f", a clip of the label {label}"
    figure = clip_figure(samples, RATE, title=label or "no clip")
    return Sound(
        shown=file.shown,
        label=label,
        picture=picture(f"{alt}.", svg(figure), SIZE),
        audio=audio_address(samples, RATE) if audio else None,
    )


def _first_seconds(file: AudioFile) -> np.ndarray:
    """The first `MOST_SECONDS` of a file, float32 (samples,) at `RATE`."""
    samples = decode_segment(file.path, file.segment, sampling_rate=RATE).samples
    return samples[: round(MOST_SECONDS * RATE)]

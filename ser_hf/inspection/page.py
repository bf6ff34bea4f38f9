"""The page of an inspection: charts, examples to look at and to play, and `inspect.json` with the same facts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..audio.decode import decode
from ..report.page import Picture, picture, template
from ..report.plots import COLORS, distribution_figure, png, transparent
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .findings import Inspection
from .measure import MEASURES, AudioFile, clip_table, ordered_labels

CONTENTS = {"index.html", "inspect.json", "audio"}
# Limits of the page; `inspect.json` is complete.
FILES_LISTED = 20
SPEAKERS_LISTED = 200
_CHART = (5.4, 3.4)  # inches


def check_folder(folder: str | Path) -> None:
    """Raise a `UserError` if the folder contains anything but an earlier inspection."""
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output: {folder} is not a folder; choose another one")
    names = {child.name for child in folder.iterdir()} if folder.is_dir() else set()
    if names - CONTENTS or (names and "inspect.json" not in names):
        some = min(names - CONTENTS, default=min(names))
        raise UserError(f"--output: {folder} contains {some}, which is not of an inspection; choose another folder")


def write_inspection(inspection: Inspection, folder: str | Path, examples: int = 2) -> Path:
    """Write the page, the JSON file and the example recordings; an earlier inspection is replaced.

    Args:
        examples: clips of each label on the page.

    Returns:
        The path of the page.

    Raises:
        UserError: if the folder contains anything else, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    with atomic_folder(folder, "--output") as partial:
        (partial / "audio").mkdir()
        facts = inspection.to_dict()
        picked = tqdm(pick_examples(inspection.clips, examples), desc="drawing examples", unit="clip", disable=None)
        shown = [_example(file, f"audio/{number:02d}.flac", partial) for number, file in enumerate(picked, 1)]
        facts["examples"] = [{"id": example["id"], "audio": example["audio"]} for example in shown]
        write_facts(partial, facts)
        page = template(__package__, "page.html", quantity=quantity).render(
            **facts,
            charts=charts(clip_table(inspection.clips)),
            shown=shown,
            listed=FILES_LISTED,
            speakers_listed=SPEAKERS_LISTED,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `inspect.json`."""
    (folder / "inspect.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def quantity(value: float | None, measure: str) -> str:
    """A measure as text without its unit; shares in percent."""
    if value is None:
        return "–"
    unit = MEASURES[measure][0]
    text = f"{100 * value:.2f}" if unit == "%" else f"{value:.2f}" if unit == "s" else f"{value:.1f}"
    # No negative zero, and a minus sign as wide as a digit.
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


def pick_examples(clips: Sequence[AudioFile], each: int = 2) -> list[AudioFile]:
    """Up to `each` clips of every label, of different speakers, always the same ones; no silent clips."""
    candidates = sorted((file for file in clips if not file.measured.silent), key=lambda file: file.clip.id)
    picked = []
    for i, label in enumerate(ordered_labels([file.clip.emotion for file in candidates])):
        own = list({file.clip.speaker: file for file in candidates if file.clip.emotion == label}.values())
        start = i % len(own)  # other speakers for the next label
        picked += [*own[start:], *own[:start]][:: max(1, len(own) // max(1, each))][:each]
    return picked


def charts(table: pd.DataFrame) -> list[Picture]:
    """Charts of a `clip_table`: classes and durations."""
    if table.empty:
        return []
    labels = ordered_labels(table["label"])
    classes = distribution_figure({"clips": table["label"].value_counts()[labels].tolist()}, labels)
    classes.set_size_inches(_CHART)
    classes.axes[0].tick_params(axis="x", rotation=35)
    durations = Figure(figsize=_CHART, layout="constrained")
    axes = durations.add_subplot()
    axes.hist(table["duration"], bins=min(60, max(10, int(len(table) ** 0.5))), color=COLORS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(table)} clips")
    figures = {"Clips of each label.": classes, "Histogram of the durations of the clips.": durations}
    return [picture(alt, png(transparent(figure)), figure.get_size_inches()) for alt, figure in figures.items()]


def _example(file: AudioFile, audio: str, folder: Path) -> dict[str, Any]:
    """Write the recording, mixed to mono, and return its entry on the page."""
    decoded = decode(file.path)
    samples = np.clip(decoded.samples, -1, 1)
    soundfile.write(folder / audio, samples, decoded.sampling_rate, format="FLAC", subtype="PCM_16")
    rate = min(decoded.sampling_rate, 16000)
    clip, measured = file.clip, file.measured
    details = {
        **{name: getattr(clip, name) for name in ("speaker", "sex", "sentence", "intensity")},
        "duration": f"{measured.duration:.2f} s",
        "loudness": None if measured.loudness is None else f"{measured.loudness:.1f} LUFS",
    }
    alt = f"Waveform and log-mel spectrogram of {clip.id}, {details['duration']}."
    figure = example_figure(decode(file.path, sampling_rate=rate).samples, rate)
    return {
        "id": clip.id,
        "label": clip.emotion,
        "audio": audio,
        "details": {name: value for name, value in details.items() if value is not None},
        "picture": picture(alt, png(transparent(figure)), figure.get_size_inches()),
    }


def example_figure(samples: np.ndarray, sampling_rate: int) -> Figure:
    """Waveform, and spectrogram of 64 mel bands up to 8 kHz every 10 ms (dB below the maximum), of mono samples."""
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    wave, mel = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
    wave.plot(np.arange(len(samples)) / sampling_rate, samples, color=COLORS[0], linewidth=0.4)
    wave.set(ylabel="amplitude", xlim=(0, len(samples) / sampling_rate))
    size, hop, high = 512, round(0.01 * sampling_rate), min(8000, sampling_rate / 2)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    options = {"sr": sampling_rate, "n_fft": size, "hop_length": hop, "fmax": high}
    power = librosa.feature.melspectrogram(y=padded, n_mels=64, **options)
    levels = librosa.power_to_db(power, ref=np.max, top_db=80)
    # Louder is darker, for dark pages too.
    librosa.display.specshow(levels, x_axis="time", y_axis="mel", ax=mel, cmap="Blues", **options)
    mel.set(xlabel="time (s)", ylabel="mel (Hz)")
    return figure

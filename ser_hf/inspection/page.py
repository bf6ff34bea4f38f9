"""The page of an inspection: charts, examples to see and to hear, and `inspect.json` with the same facts."""

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..audio.decode import decode
from ..report.page import template
from ..report.plots import COLORS, distribution_figure, transparent
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .findings import Inspection
from .measure import MEASURES, AudioFile, clip_table, crosstable, ordered_labels

CONTENTS = {"index.html", "inspect.json", "audio"}
# Limits of the page; `inspect.json` is complete.
FILES_LISTED = 20
SPEAKERS_LISTED = 200
_MOST_BOXES = 120
_MOST_SERIES = 12
_CHART = (5.4, 3.4)  # inches, 96 CSS pixels each
_PICTURE_RATE = 16000
_BANDS = 80
_DYNAMIC_RANGE = 80.0  # dB
_PITCH_RANGE = (60.0, 600.0)  # Hz


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture inside the page: a data URI, and its size in CSS pixels."""

    source: str
    alt: str
    width: int
    height: int


def check_folder(folder: str | Path) -> None:
    """Raises a `UserError` if the folder contains anything but an earlier inspection."""
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output: {folder} is not a folder; choose another place")
    names = {child.name for child in folder.iterdir()} if folder.is_dir() else set()
    if names - CONTENTS or (names and "inspect.json" not in names):
        some = min(names - CONTENTS, default=min(names))
        raise UserError(f"--output: {folder} contains {some}, which is not an inspection's; choose another folder")


def write_inspection(inspection: Inspection, folder: str | Path, examples: int = 2) -> Path:
    """Writes the page, the JSON file and the example recordings, and replaces an earlier inspection.

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
        text = json.dumps(facts, indent=1, allow_nan=False)
        (partial / "inspect.json").write_text(text + "\n", encoding="utf-8")
        page = render(facts, charts(clip_table(inspection.clips)), shown)
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def render(facts: Mapping[str, Any], charts: Mapping[str, Picture], examples: Sequence[Mapping[str, Any]]) -> str:
    """The page as HTML; `facts` is the content of `inspect.json`."""
    return template(__package__, "page.html", quantity=quantity).render(
        **facts,
        version=__version__,
        official_labels=ordered_labels(facts["official"]["per_label"]) if facts["official"] else [],
        charts=charts,
        shown=examples,
        listed=FILES_LISTED,
        speakers_listed=SPEAKERS_LISTED,
    )


def quantity(value: float | None, measure: str) -> str:
    """A measure as text without its unit; shares in percent."""
    if value is None:
        return "–"
    unit = MEASURES[measure][0]
    text = f"{100 * value:.2f}" if unit == "%" else f"{value:.2f}" if unit == "s" else f"{value:.1f}"
    # No negative zero, and a minus sign as wide as a digit.
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


def pick_examples(clips: Sequence[AudioFile], each: int = 2) -> list[AudioFile]:
    """Up to `each` clips of every label, of different speakers and sexes, always the same ones; no silent clips."""
    candidates = [file for file in clips if not file.measured.silent]
    labels = ordered_labels([file.clip.emotion for file in candidates])
    picked = []
    for position, label in enumerate(labels):
        speakers: dict[tuple[str, str], list[AudioFile]] = {}
        for file in candidates:
            if file.clip.emotion == label:
                speakers.setdefault((file.clip.sex or "", file.clip.speaker), []).append(file)
        order, count = sorted(speakers), min(each, len(speakers))
        for i in range(count):
            # Evenly spaced, and shifted from label to label.
            own = speakers[order[int((i + position / len(labels)) / count * len(order))]]
            own = sorted(own, key=lambda file: (file.measured.duration, file.clip.id))
            picked.append(own[len(own) // 2])
    return picked


def charts(table: pd.DataFrame) -> dict[str, Picture]:
    """The charts of a `clip_table`, by name."""
    if table.empty:
        return {}
    labels = ordered_labels(table["label"])
    found = {"classes": _counts_chart({"clips": table["label"].value_counts()[labels].tolist()}, labels, "")}
    for name in ("sex", "intensity"):
        counts = crosstable(table, name)
        if counts is not None and 1 < len(counts["rows"]) <= _MOST_SERIES:
            found[f"classes_by_{name}"] = _counts_chart(counts["rows"], labels, f" by {name}")
    figure = Figure(figsize=_CHART, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(table["duration"], bins=min(60, max(10, int(len(table) ** 0.5))), color=COLORS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(table)} clips")
    axes.grid(alpha=0.3)
    found["durations"] = picture(figure, "Histogram of the durations of the clips.")
    loudness = table.dropna(subset="loudness").groupby
    groups = {label: group["loudness"].tolist() for label, group in loudness("label")}
    groups = {label: groups[label] for label in labels if label in groups}
    speakers = {name.partition(":")[2] or name: group["loudness"].tolist() for name, group in loudness("speaker")}
    if groups:
        found["loudness_by_label"] = _loudness_chart(groups, "label")
        found["loudness_by_speaker"] = _loudness_chart(speakers, "speaker")
    return found


def _counts_chart(counts: Mapping[str, Sequence[int]], labels: Sequence[str], by: str) -> Picture:
    # A dollar sign in a name from a table would start a formula.
    figure = distribution_figure({name.replace("$", r"\$"): values for name, values in counts.items()}, labels)
    figure.set_size_inches(_CHART)
    axes = figure.axes[0]
    axes.set_title(f"Clips of each label{by}")
    axes.tick_params(axis="x", rotation=35)
    axes.margins(y=0.1)
    if axes.get_legend():
        axes.get_legend().remove()
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return picture(figure, f"Clips of each label{by}.")


def _loudness_chart(groups: Mapping[str, Sequence[float]], what: str) -> Picture:
    """A box plot of each group; of many groups those with the lowest and the highest medians."""
    names, title = list(groups), f"Loudness by {what}"
    if len(names) > _MOST_BOXES:
        ordered = sorted(names, key=lambda name: float(np.median(groups[name])))
        names = [*ordered[: _MOST_BOXES // 2], *ordered[-_MOST_BOXES // 2 :]]
        title += f" (the {_MOST_BOXES // 2} lowest and highest of {len(groups)})"
    figure = Figure(figsize=(max(_CHART[0], 0.19 * len(names) + 1), _CHART[1]), layout="constrained")
    axes = figure.add_subplot()
    axes.boxplot(
        [groups[name] for name in names],
        widths=0.65,
        patch_artist=True,
        boxprops={"facecolor": COLORS[0], "alpha": 0.45},
        medianprops={"color": COLORS[1], "linewidth": 2},
        flierprops={"marker": ".", "markersize": 3},
    )
    rotation = 90 if len(names) > 12 else 0
    axes.set_xticks(range(1, len(names) + 1), names, rotation=rotation, fontsize=8, parse_math=False)
    axes.set(ylabel="loudness (LUFS)", title=title)
    axes.grid(alpha=0.3, axis="y")
    return picture(figure, f"Box plot of the loudness of the clips in LUFS, one box for each {what}.")


def picture(figure: Figure, alt: str) -> Picture:
    """The figure as a transparent PNG, for a page that is light or dark."""
    data = io.BytesIO()
    transparent(figure).set_dpi(144)
    FigureCanvasAgg(figure).print_png(data)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}", alt, width, height)


def _example(file: AudioFile, audio: str, folder: Path) -> dict[str, Any]:
    """Writes the recording, mixed to mono, and returns what the page shows."""
    decoded = decode(file.path)
    samples = np.clip(decoded.samples, -1, 1)
    soundfile.write(folder / audio, samples, decoded.sampling_rate, format="FLAC", subtype="PCM_16")
    rate = min(decoded.sampling_rate, _PICTURE_RATE)
    figure, pitch = example_figure(decode(file.path, sampling_rate=rate).samples, rate)
    clip, measured = file.clip, file.measured
    details = {
        **{name: getattr(clip, name) for name in ("speaker", "sex", "sentence", "intensity")},
        "duration": f"{measured.duration:.2f} s",
        "loudness": None if measured.loudness is None else f"{measured.loudness:.1f} LUFS",
        "median pitch": None if pitch is None else f"{pitch:.0f} Hz",
    }
    alt = f"Waveform, log-mel spectrogram and pitch of {clip.id}, {details['duration']}."
    return {
        "id": clip.id,
        "label": clip.emotion,
        "audio": audio,
        "details": {name: value for name, value in details.items() if value is not None},
        "picture": picture(figure, alt),
    }


def example_figure(samples: np.ndarray, sampling_rate: int) -> tuple[Figure, float | None]:
    """Waveform, log-mel spectrogram and pitch (pYIN, Mauch and Dixon 2014) of mono samples, and the median pitch in
    Hz, None if no frame is voiced."""
    figure = Figure(figsize=(5.4, 4.8), layout="constrained")
    wave, mel, pitch = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.2))
    wave.plot(np.arange(len(samples)) / sampling_rate, samples, color=COLORS[0], linewidth=0.4)
    wave.set(ylabel="amplitude", xlim=(0, len(samples) / sampling_rate))
    power = mel_power(samples, sampling_rate)
    draw_log_mel(mel, power, sampling_rate, power.max())
    size, hop = round(0.064 * sampling_rate), round(0.01 * sampling_rate)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    low, high = _PITCH_RANGE
    # A coarser resolution than librosa's 0.1 semitones takes a third of the time.
    hertz, _, _ = librosa.pyin(
        padded, fmin=low, fmax=high, sr=sampling_rate, frame_length=size, hop_length=hop, resolution=0.2
    )
    pitch.plot(np.arange(len(hertz)) * hop / sampling_rate, hertz, ".", color=COLORS[0], markersize=3)
    pitch.set(xlabel="time (s)", ylabel="pitch (Hz)", yscale="log", ylim=_PITCH_RANGE)
    pitch.set_yticks([75, 150, 300, 600], ["75", "150", "300", "600"])
    pitch.minorticks_off()
    return figure, float(np.nanmedian(hertz)) if np.isfinite(hertz).any() else None


def mel_power(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Power in 80 mel bands up to 8 kHz, shape (bands, frames), in windows of 25 ms every 10 ms."""
    window = round(0.025 * sampling_rate)
    size = 1 << (window - 1).bit_length()
    return librosa.feature.melspectrogram(
        y=np.pad(samples, (0, max(0, size - len(samples)))),
        sr=sampling_rate,
        n_fft=size,
        win_length=window,
        hop_length=round(0.01 * sampling_rate),
        n_mels=_BANDS,
        fmax=min(8000, sampling_rate / 2),
    )


def draw_log_mel(axes: Axes, power: np.ndarray, sampling_rate: int, maximum: float) -> None:
    """Draws a spectrogram in dB below `maximum`. Louder is darker, so that inverted colors are readable as well."""
    high = min(8000, sampling_rate / 2)
    levels = librosa.power_to_db(power, ref=maximum, top_db=None).clip(-_DYNAMIC_RANGE, 0)
    image = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="Blues",
        vmin=-_DYNAMIC_RANGE,
        vmax=0,
        extent=(0, 0.01 * levels.shape[1], 0, _BANDS),
        interpolation="nearest",
    )
    ticks = [hertz for hertz in (500, 1000, 2000, 4000) if hertz < 0.9 * high]
    centers = librosa.mel_frequencies(n_mels=_BANDS + 2, fmax=high)[1:-1]
    axes.set_yticks(np.interp(ticks, centers, np.arange(_BANDS) + 0.5), [f"{hertz:g}" for hertz in ticks])
    axes.set_ylabel("mel (Hz)")
    axes.figure.colorbar(image, ax=axes, label="dB", pad=0.01)

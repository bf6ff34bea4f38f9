"""An inspection on disk: `index.html` with pictures and example recordings beside it, and `inspect.json`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..audio.decode import decode
from ..errors import UserError
from ..evaluation.plots import save_figure
from ..whole import whole_folder
from . import pictures
from .examples import pick
from .inspection import Inspection
from .page import Example, Picture, render
from .tables import Row, by_group, crosstable, ordered_labels

CONTENTS = {"index.html", "inspect.json", "pictures", "audio"}
# Pitch and the bands up to 8 kHz need no more, and pitch tracking takes its time.
_PICTURE_RATE = 16000
_PIXELS_PER_INCH = 96
# What `distribution_figure` can tell apart by colour.
_MOST_SERIES = 3


def check_folder(folder: str | Path) -> None:
    """Refuses a folder that is not free and holds anything but an earlier inspection.

    Raises:
        UserError: naming what is in the way.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output: {folder} is not a folder; choose another place")
    names = {child.name for child in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(names - CONTENTS)
    if foreign or (names and "inspect.json" not in names):
        what = f" ({foreign[0]})" if foreign else ""
        raise UserError(f"--output: {folder} holds files that are not an inspection's{what}; choose another folder")


def write_inspection(inspection: Inspection, folder: str | Path, examples: int = 2) -> Path:
    """Writes the page and the JSON, whole or not at all, replacing an earlier inspection; returns the page's path.

    Args:
        examples: clips of each emotion that the page shows and plays.

    Raises:
        UserError: if the folder holds anything else, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    with whole_folder(folder, "--output") as partial:
        (partial / "pictures").mkdir()
        (partial / "audio").mkdir()
        facts = inspection.to_dict()
        charts = list(_charts(inspection, partial))
        picked = pick(inspection.rows, examples)
        progress = tqdm(list(enumerate(picked, 1)), desc="drawing examples", unit="clip", disable=None)
        shown = [_example(row, number, partial) for number, row in progress]
        facts["examples"] = [{"id": example.id, "audio": example.audio} for example in shown]
        text = json.dumps(facts, indent=1, allow_nan=False)
        (partial / "inspect.json").write_text(text + "\n", encoding="utf-8")
        (partial / "index.html").write_text(render(facts, charts, shown), encoding="utf-8")
    return folder / "index.html"


def _charts(inspection: Inspection, folder: Path) -> Iterator[Picture]:
    clips = inspection.clips
    if not clips:
        return
    known = [row.clip for row in clips]
    labels = ordered_labels(known)
    overall = crosstable(known, lambda clip: clip.emotion)["total"]
    yield save_picture(
        folder,
        "classes",
        pictures.classes_figure({"clips": overall}, labels, "Clips of each label"),
        "Clips of each label.",
    )
    for name, words in (("sex", "by the speaker's sex"), ("intensity", "by intensity")):
        table = crosstable(known, lambda clip, name=name: getattr(clip, name))
        if table is not None and len(table["rows"]) > _MOST_SERIES:
            table["rows"].pop("not stated", None)
        if table is not None and 1 < len(table["rows"]) <= _MOST_SERIES:
            figure = pictures.classes_figure(table["rows"], labels, f"Clips of each label {words}")
            yield save_picture(folder, f"classes_by_{name}", figure, f"Clips of each label {words}.")
    durations = [row.measured.duration for row in clips]
    yield save_picture(folder, "durations", pictures.durations_figure(durations), "Histogram of the clips' durations.")
    for name, key, title in (
        ("label", lambda clip: clip.emotion, "Loudness by label"),
        ("speaker", lambda clip: clip.speaker.partition(":")[2] or clip.speaker, "Loudness by speaker"),
    ):
        groups = by_group(clips, "loudness", key)
        if name == "label":
            groups = {label: groups[label] for label in labels if label in groups}
        if groups:
            figure = pictures.boxes_figure(groups, "loudness (LUFS)", title, rotate=len(groups) > 12)
            alt = f"Box plot of the clips' loudness in LUFS, one box for each {name}."
            yield save_picture(folder, f"loudness_by_{name}", figure, alt)


def save_picture(folder: Path, name: str, figure: Figure, alt: str) -> Picture:
    """Writes a figure below `folder`; its place and size are those of the page."""
    save_figure(figure, folder / "pictures" / f"{name}.png")
    width, height = (round(inches * _PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Picture(name, f"pictures/{name}.png", alt, width, height)


def _example(row: Row, number: int, folder: Path) -> Example:
    decoded = decode(row.file.path)
    # Numbered, because ids and labels of a user's own table are not file names.
    audio = f"audio/{number:02d}.flac"
    samples = np.clip(decoded.samples, -1, 1)
    soundfile.write(folder / audio, samples, decoded.sampling_rate, format="FLAC", subtype="PCM_16")
    rate = min(decoded.sampling_rate, _PICTURE_RATE)
    figure, pitch = pictures.example_figure(decode(row.file.path, sampling_rate=rate).samples, rate)
    clip, measured = row.clip, row.measured
    voice = f"median pitch {pitch:.0f} Hz" if pitch is not None else "no voiced frame"
    alt = f"Waveform, log-mel spectrogram and pitch of {clip.id}: {measured.duration:.2f} s, {voice}."
    picture = save_picture(folder, f"example_{number:02d}", figure, alt)
    return Example(clip.id, clip.emotion, _details(row, pitch), audio, picture)


def _details(row: Row, pitch: float | None) -> dict[str, Any]:
    clip, measured = row.clip, row.measured
    details = {"speaker": clip.speaker, "sex": clip.sex, "sentence": clip.sentence, "intensity": clip.intensity}
    details |= {
        "duration": f"{measured.duration:.2f} s",
        "loudness": None if measured.loudness is None else f"{measured.loudness:.1f} LUFS",
        "median pitch": None if pitch is None else f"{pitch:.0f} Hz",
    }
    return {name: value for name, value in details.items() if value is not None}

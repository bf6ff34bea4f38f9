"""The augmentation preview: training clips as a recipe augments them, to look at and to play."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Dataset
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..audio import WaveformStore
from ..audio.augmentation import Augmenter
from ..report.page import picture, template
from ..report.plots import png, transparent
from ..utils.files import atomic_folder
from .page import check_folder, draw_log_mel, write_facts

FORMAT = 2


def write_augmentation_preview(
    name: str,
    augmenter: Augmenter,
    dataset: Dataset,
    store: WaveformStore,
    rows: Sequence[int],
    folder: str | Path,
    *,
    examples: int = 2,
    seed: int = 0,
    license: str | Sequence[str] | None = None,
) -> Path:
    """Write the page, its recordings and `inspect.json`.

    Each clip is shown unchanged, with each step alone, and with all steps as training draws them in its first epoch.

    Args:
        name: of the recipe.
        augmenter: with at least one active step.
        dataset, store: the clips and their waveforms.
        rows: of the training clips; no others are used.
        examples: number of clips.
        seed: of the training whose draws are shown.
        license: of the corpus.

    Returns:
        The path of the page.

    Raises:
        UserError: if the folder contains anything but an earlier inspection or cannot be written.
    """
    folder, rate, augmentation = Path(folder), augmenter.sampling_rate, augmenter.augmentation
    check_folder(folder)
    with atomic_folder(folder, "--output") as partial:
        (partial / "audio").mkdir()
        clips = []
        picked = pick_rows(dataset, store, rows, examples)
        for number, row in enumerate(tqdm(picked, desc="drawing examples", unit="clip", disable=None), 1):
            waveform = np.array(store[row])
            versions = {"original": waveform}
            for step in augmentation.steps:
                changed = augmenter.apply(step, waveform, np.random.default_rng((seed, 0, row, 0)))
                versions[step.replace("_", " ")] = changed
            versions["all steps"] = augmenter(waveform, np.random.default_rng((seed, 0, row, 0)))
            clip = {key: dataset[row][key] for key in ("id", "speaker")}
            clip["label"] = dataset.features["label"].int2str(dataset[row]["label"])
            clip["versions"] = [
                _write_version(version, changed, f"audio/{number:02d}_{place:02d}.wav", rate, partial)
                for place, (version, changed) in enumerate(versions.items())
            ]
            clips.append(clip)
        settings = {"recipe": name, "augment": dataclasses.asdict(augmentation), "sampling_rate": rate, "seed": seed}
        shown = [{key: clip[key] for key in ("id", "label", "speaker")} for clip in clips]
        write_facts(partial, {"format": FORMAT, **settings, "examples": shown})
        page = template(__package__, "augmentation_preview.html").render(
            name=name,
            augmentation=augmentation,
            asdict=dataclasses.asdict,
            rate=rate,
            clips=clips,
            training_clips=len(rows),
            seed=seed,
            license=license,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def pick_rows(dataset: Dataset, store: WaveformStore, rows: Sequence[int], count: int) -> list[int]:
    """Up to `count` training clips, alternating between labels, always the same ones; no silent clips."""
    labels, ids = dataset["label"][:], dataset["id"][:]
    by_label: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda row: ids[row]):
        if store[row].any():
            by_label.setdefault(labels[row], []).append(row)
    order = sorted((turn, label, row) for label, own in by_label.items() for turn, row in enumerate(own))
    return [int(row) for _, _, row in order[:count]]


def _write_version(name: str, waveform: np.ndarray, audio: str, rate: int, folder: Path) -> dict[str, Any]:
    """Write the recording of a clip in floating point, without clipping, and return its entry on the page."""
    soundfile.write(folder / audio, waveform, rate, subtype="FLOAT")
    figure, seconds = Figure(figsize=(3.3, 1.75), layout="constrained"), len(waveform) / rate
    draw_log_mel(figure.add_subplot(), waveform, rate)
    alt = f"Log-mel spectrogram, {name}; {seconds:.2f} s."
    shown = picture(alt, png(transparent(figure)), figure.get_size_inches())
    return {"name": name, "seconds": seconds, "audio": audio, "picture": shown}

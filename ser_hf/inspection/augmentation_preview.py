"""The augmentation preview: training clips as a recipe augments them, to see and to hear."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Dataset
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..audio import WaveformStore
from ..audio.augmentation import Augmentation, Augmenter, Step
from ..report.page import template
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .page import Picture, check_folder, draw_log_mel, mel_power, picture

FORMAT = 1
EPOCHS = 2
MINIMUM_RATE = 3000  # Hz; below, some of the 80 mel bands are empty
_UNITS = {
    **dict.fromkeys(("snr", "decibels", "direct_to_reverberant"), "dB"),
    "decay": "s",
    "semitones": "semitones",
}
_NAMES = {"snr": "SNR", "decibels": "by", "semitones": "by"}


@dataclasses.dataclass(frozen=True)
class Version:
    """A clip, original or augmented, float32 (samples,); `values` are the parameters of the augmentation."""

    name: str
    values: str
    waveform: np.ndarray


class RecordingAugmenter(Augmenter):
    """An `Augmenter` that keeps each step of the last call in `steps_taken`, by name and with the values drawn."""

    steps_taken: list[str]

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.steps_taken = []
        return super().__call__(waveform, rng)

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self._drawn: dict[str, Any] = {}
        changed = super().apply(name, waveform, rng)
        fields = [field.name for field in dataclasses.fields(getattr(self.augmentation, name))]
        values = ", ".join(quantity(field, self._drawn[field]) for field in fields if field in self._drawn)
        self.steps_taken.append(f"{name.replace('_', ' ')} {values}".rstrip())
        return changed

    def draw(self, name: str, rng: np.random.Generator, field: str) -> Any:
        self._drawn[field] = super().draw(name, rng, field)
        return self._drawn[field]


def write_augmentation_preview(
    name: str,
    augmentation: Augmentation,
    dataset: Dataset,
    store: WaveformStore,
    rows: Sequence[int],
    folder: str | Path,
    *,
    examples: int = 2,
    seed: int = 0,
    license: str | Sequence[str] | None = None,
    cache_dir: str | None = None,
) -> Path:
    """Writes the page, its recordings and `inspect.json`.

    Args:
        name: of the recipe.
        augmentation: with at least one active step, or mixup.
        rows: of the training clips; no others are used.
        examples: number of clips.
        seed: of the training whose draws are shown.
        license: of the corpus.
        cache_dir: where recordings of folders are kept decoded.

    Returns:
        The path of the page.

    Raises:
        UserError: if the folder contains anything but an earlier inspection or cannot be written, if a step cannot be
            created, or if the sampling rate is too low for the pictures.
    """
    folder, rate = Path(folder), store.sampling_rate
    check_folder(folder)
    if rate < MINIMUM_RATE:
        raise UserError(f"audio.sampling_rate: expected {MINIMUM_RATE} Hz or more for the page, got {rate}")
    chain = RecordingAugmenter(augmentation, rate, store, rows, cache_dir)
    alone = [
        (step, values, Augmenter(Augmentation(**{step: pinned}), rate, store, rows, cache_dir))
        for step, settings in augmentation.steps.items()
        for values, pinned in range_ends(settings)
    ]
    with atomic_folder(folder, "--output") as partial:
        (partial / "audio").mkdir()
        clips = []
        picked = pick_rows(dataset, store, rows, examples)
        for number, row in enumerate(tqdm(picked, desc="drawing examples", unit="clip", disable=None), 1):
            waveform = np.array(store[row])
            versions = [Version("original", "as used in training", waveform)]
            for step, values, augmenter in alone:
                changed = augmenter.apply(step, waveform, np.random.default_rng((seed, 0, row, 0)))
                versions.append(Version(step.replace("_", " "), values, changed))
            for epoch in range(EPOCHS) if augmentation.steps else ():
                changed = chain(waveform, np.random.default_rng((seed, epoch, row, 0)))
                values = "; ".join(chain.steps_taken) or "no step drawn"
                versions.append(Version(f"all steps, epoch {epoch + 1}", values, changed))
            if augmentation.mixup.probability:
                versions += _mixed(augmentation, dataset, store, row, rows, seed)
            clip = {key: dataset[row][key] for key in ("id", "speaker")}
            clip["label"] = _label(dataset, row)
            clips.append(clip | _write_versions(versions, number, clip["id"], rate, partial))
        facts = {
            "format": FORMAT,
            "recipe": name,
            "augment": dataclasses.asdict(augmentation),
            "sampling_rate": rate,
            "seed": seed,
            "examples": [
                clip | {"versions": [{k: v for k, v in own.items() if k != "picture"} for own in clip["versions"]]}
                for clip in clips
            ],
        }
        (partial / "inspect.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        page = template(__package__, "augmentation_preview.html").render(
            name=name,
            steps=[_described(step, settings) for step, settings in augmentation.steps.items()],
            mixup=augmentation.mixup if augmentation.mixup.probability else None,
            oversample=augmentation.oversample,
            rate=rate,
            clips=clips,
            training_clips=len(rows),
            seed=seed,
            license=license,
            version=__version__,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def pick_rows(dataset: Dataset, store: WaveformStore, rows: Sequence[int], count: int) -> list[int]:
    """Up to `count` training clips of different labels and speakers, always the same ones; no silent clips."""
    labels, speakers, ids = (np.asarray(dataset[name][:]) for name in ("label", "speaker", "id"))
    left = sorted((row for row in rows if store[row].any()), key=lambda row: ids[row])
    classes = sorted({int(labels[row]) for row in left})
    picked: list[int] = []
    for number in range(min(count, len(left))):
        own = [row for row in left if labels[row] == classes[number % len(classes)]] or left
        names = sorted({speakers[row] for row in own})
        speaker = names[int((number + 0.5) / count * len(names))]
        clips = sorted((store.lengths[row], ids[row], row) for row in own if speakers[row] == speaker)
        picked.append(int(clips[len(clips) // 2][-1]))
        left.remove(picked[-1])
    return picked


def range_ends(step: Step) -> list[tuple[str, Step]]:
    """The step at the low and at the high end of its ranges, or with each codec, with the values as text."""
    if hasattr(step, "codecs"):
        return [(codec, dataclasses.replace(step, probability=1.0, codecs=[codec])) for codec in step.codecs]
    ends = []
    for end in (0, 1):
        values = {field: getattr(step, field)[end] for field in _ranges(step)}
        words = ", ".join(quantity(field, value) for field, value in values.items())
        pinned = {field: [value, value] for field, value in values.items()}
        ends.append((words, dataclasses.replace(step, probability=1.0, **pinned)))
    return ends[:1] if ends[0] == ends[1] else ends


def quantity(field: str, value: float | str) -> str:
    """A parameter of a step as text: its name, value and unit."""
    if isinstance(value, str):
        return value  # a codec
    return f"{_NAMES.get(field, field.replace('_', ' '))} {_number(field, value)} {_UNITS.get(field, '')}".rstrip()


def _mixed(
    augmentation: Augmentation, dataset: Dataset, store: WaveformStore, row: int, rows: Sequence[int], seed: int
) -> Iterator[Version]:
    # Imported here because its package loads torch.
    from ..training.data import Mixing, mix

    always = dataclasses.replace(augmentation.mixup, probability=1.0)
    batch = [row, *(other for other in rows if other != row)]
    mixing = Mixing(always, len(dataset.features["label"].names), np.asarray(dataset["speaker"][:]))
    partners, shares = mixing.draw(batch, np.ones(len(batch), dtype=bool), np.random.default_rng((seed, row)))
    if partners[0] is None:
        yield Version("mixup", f"no partner among the {always.speakers} speakers", np.array(store[row]))
        return
    other = batch[partners[0]]
    for title, share in (("mixup in equal shares", 0.5), ("mixup as drawn", shares[0])):
        values = f"{share:.2f} {_label(dataset, row)} + {1 - share:.2f} {_label(dataset, other)}"
        yield Version(title, f"{values} ({dataset[other]['id']})", mix(store[row], store[other], share))


def _write_versions(versions: Sequence[Version], number: int, id: str, rate: int, folder: Path) -> dict[str, Any]:
    """Recordings and pictures of a clip, at one level and on one scale; `softer_by` (dB) avoids clipping."""
    peak = max(1.0, *(float(np.abs(version.waveform).max(initial=0.0)) for version in versions))
    powers = [mel_power(version.waveform, rate) for version in versions]
    maximum = max(float(power.max()) for power in powers)
    longest = max(len(version.waveform) for version in versions) / rate
    shown = []
    for place, (version, power) in enumerate(zip(versions, powers, strict=True)):
        audio = f"audio/{number:02d}_{place:02d}.wav"
        soundfile.write(folder / audio, version.waveform / peak, rate, subtype="PCM_16")
        seconds = len(version.waveform) / rate
        alt = f"Log-mel spectrogram of {id}, {version.name}: {version.values}; {seconds:.2f} s."
        own = {"name": version.name, "values": version.values, "seconds": seconds, "audio": audio}
        shown.append(own | {"picture": _mel_picture(power, rate, maximum, longest, alt)})
    return {"softer_by": float(20 * np.log10(peak)), "versions": shown}


def _mel_picture(power: np.ndarray, rate: int, maximum: float, seconds: float, alt: str) -> Picture:
    figure = Figure(figsize=(3.3, 1.75), layout="constrained")
    axes = figure.add_subplot()
    draw_log_mel(axes, power, rate, maximum)
    axes.set(xlim=(0, seconds), xlabel="time (s)")
    return picture(figure, alt)


def _described(name: str, step: Step) -> dict[str, Any]:
    ranges = []
    for field in _ranges(step):
        low, high = (_number(field, value) for value in getattr(step, field))
        ranges.append(f"{field.replace('_', ' ')} {low} to {high} {_UNITS.get(field, '')}".rstrip())
    ranges += [", ".join(step.codecs)] if hasattr(step, "codecs") else []
    ranges += [f"from {step.folder}"] if getattr(step, "folder", None) else []
    meaning = " ".join((step.__doc__ or "").replace("`", "").split())
    return {"name": name, "probability": step.probability, "ranges": "; ".join(ranges), "meaning": meaning}


def _ranges(step: Step) -> list[str]:
    """Fields with the minimum and maximum of a parameter; a folder of recordings replaces all but the SNR."""
    fields = [field.name for field in dataclasses.fields(step) if field.metadata]
    return [field for field in fields if field == "snr" or not getattr(step, "folder", None)]


def _number(field: str, value: float) -> str:
    return (f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}").replace("-", "−")


def _label(dataset: Dataset, row: int) -> str:
    return dataset.features["label"].int2str(dataset[row]["label"])

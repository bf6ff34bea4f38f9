"""What augmentation does to training clips, to hear and to see: each step alone at both ends of its range, the whole
chain as a training draws it, and a mixed pair."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Dataset
from tqdm.auto import tqdm

from .. import __version__
from ..audio import WaveformStore
from ..audio.augmentation import Augmentation, Step
from ..audio.augmenting import Augmenter
from ..errors import UserError
from ..whole import whole_folder
from .folder import check_folder, save_picture
from .page import Picture, template
from .pictures import mel_figure, mel_power

FORMAT = 1
DRAWS = 2
LEAST_RATE = 3000  # Hz: below it some of the 80 mel bands lie between two frequencies, and are empty
_UNITS = {
    **dict.fromkeys(("snr", "decibels", "direct_to_reverberant"), "dB"),
    **dict.fromkeys(("low", "high"), "Hz"),
    **dict.fromkeys(("seconds", "decay"), "s"),
    "semitones": "semitones",
    "share": "%",
}


@dataclasses.dataclass(frozen=True)
class Version:
    """A clip as it was or as it was made, float32 (samples,); `values` says with which numbers."""

    name: str
    values: str
    waveform: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shown:
    """A version on the page; `audio` is the path beside it, of the picture too."""

    name: str
    values: str
    seconds: float
    audio: str
    picture: Picture


def write_augmented(
    name: str,
    augmentation: Augmentation,
    dataset: Dataset,
    store: WaveformStore,
    rows: Sequence[int],
    folder: str | Path,
    examples: int = 2,
    seed: int = 0,
    corpus: dict[str, Any] | None = None,
    cache_dir: str | None = None,
) -> Path:
    """Writes the page, its recordings and pictures and a JSON, whole or not at all; returns the page's path.

    Args:
        name: of the recipe.
        augmentation: at least one step or mixup must be active.
        rows: of the training clips, the only ones that are shown or heard.
        examples: how many of them.
        seed: of the training whose draws are shown.
        corpus: from `ser_hf.corpora.corpus_facts`, for its licence.
        cache_dir: where recordings of folders are kept decoded.

    Raises:
        UserError: if the folder holds anything but an earlier inspection, or cannot be written, where a step cannot
            be made, and of a sampling rate that is too low for the pictures.
    """
    folder = Path(folder)
    check_folder(folder)
    check_rate(store.sampling_rate)
    makers = _Makers(augmentation, store, rows, cache_dir)
    augmentation = makers.chain.augmentation  # as far as the sampling rate goes
    with whole_folder(folder, "--output") as partial:
        (partial / "pictures").mkdir()
        (partial / "audio").mkdir()
        shown = []
        picked = pick_rows(dataset, store, rows, examples)
        for row in tqdm(picked, desc="drawing examples", unit="clip", disable=None):
            versions = list(makers.versions(dataset, row, seed))
            clip = {key: dataset[row][key] for key in ("id", "speaker")}
            clip["label"] = dataset.features["label"].int2str(dataset[row]["label"])
            level, kept = _written(versions, len(shown) + 1, clip["id"], store.sampling_rate, partial)
            shown.append(clip | {"softer_by": level, "versions": kept})
        facts = {
            "format": FORMAT,
            "recipe": name,
            "augment": dataclasses.asdict(augmentation),
            "sampling_rate": store.sampling_rate,
            "seed": seed,
            "examples": [clip | {"versions": [_plain(version) for version in clip["versions"]]} for clip in shown],
        }
        (partial / "inspect.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        page = template("augmented.html").render(
            name=name,
            steps=[_described(key, step) for key, step in augmentation.steps.items()],
            mixup=augmentation.mixup if augmentation.mixup.probability else None,
            oversample=augmentation.oversample,
            rate=store.sampling_rate,
            clips=shown,
            training_clips=len(rows),
            seed=seed,
            license=(corpus or {}).get("license"),
            made_by=__version__,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def check_rate(sampling_rate: int) -> None:
    """Refuses audio of which no picture can be made. Raises a `UserError` naming the key."""
    if sampling_rate < LEAST_RATE:
        raise UserError(f"audio.sampling_rate: expected {LEAST_RATE} Hz or more for the page, got {sampling_rate}")


def pick_rows(dataset: Dataset, store: WaveformStore, rows: Sequence[int], count: int) -> list[int]:
    """Up to `count` training clips, one label after the other, speakers far apart, each clip of middle length."""
    labels, speakers, ids = (np.asarray(dataset[name][:]) for name in ("label", "speaker", "id"))
    lengths = store.lengths
    left = sorted((row for row in rows if store[row].any()), key=lambda row: ids[row])
    classes = sorted({int(labels[row]) for row in left})
    picked: list[int] = []
    for number in range(min(count, len(left))):
        own = [row for row in left if labels[row] == classes[number % len(classes)]] or left
        who = sorted({speakers[row] for row in own})
        speaker = who[int((number + 0.5) / count * len(who))]
        clips = sorted((row for row in own if speakers[row] == speaker), key=lambda row: (lengths[row], ids[row]))
        picked.append(int(clips[len(clips) // 2]))
        left.remove(picked[-1])
    return picked


class _Makers:
    """Makes the versions of a clip."""

    def __init__(
        self, augmentation: Augmentation, store: WaveformStore, rows: Sequence[int], cache_dir: str | None = None
    ):
        self.augmentation, self.store, self.rows = augmentation, store, list(rows)
        own = (store.sampling_rate, store, rows, cache_dir)
        self.chain = Telling(augmentation, *own)
        self.alone = [
            (name, values, Augmenter(Augmentation(**{name: pinned}), *own))
            for name, step in self.chain.augmentation.steps.items()
            for values, pinned in ends(step)
        ]

    def versions(self, dataset: Dataset, row: int, seed: int) -> Iterator[Version]:
        waveform = np.array(self.store[row])
        yield Version("original", "as the training reads it", waveform)
        for name, values, augmenter in self.alone:
            changed = augmenter.apply(name, waveform, np.random.default_rng((seed, 0, row, 0)))
            yield Version(_words(name), values, changed)
        if self.augmentation.steps:
            for epoch in range(DRAWS):
                self.chain.told = []
                changed = self.chain(waveform, np.random.default_rng((seed, epoch, row, 0)))
                told = "; ".join(f"{_words(name)} {values}".rstrip() for name, values in self.chain.told)
                yield Version(f"all steps, epoch {epoch + 1}", told or "no step fell to it", changed)
        if self.augmentation.mixup.probability:
            yield from self._mixed(dataset, row, seed)

    def _mixed(self, dataset: Dataset, row: int, seed: int) -> Iterator[Version]:
        # Imported here because its package loads torch.
        from ..training.mixing import Mixing, mix

        always = dataclasses.replace(self.augmentation.mixup, probability=1.0)
        batch = [row, *(other for other in self.rows if other != row)]
        mixing = Mixing(always, len(dataset.features["label"].names), np.asarray(dataset["speaker"][:]))
        partners, shares = mixing.draw(batch, np.ones(len(batch), dtype=bool), np.random.default_rng((seed, row)))
        if partners[0] is None:
            yield Version("mixup", f"no partner among the {always.speakers} speakers", np.array(self.store[row]))
            return
        other = batch[partners[0]]
        names = [dataset.features["label"].int2str(dataset[place]["label"]) for place in (row, other)]
        for title, share in (("mixup in equal shares", 0.5), ("mixup as drawn", shares[0])):
            values = f"{share:.2f} {names[0]} + {1 - share:.2f} {names[1]} ({dataset[other]['id']})"
            yield Version(title, values, mix(self.store[row], self.store[other], share))


class Telling(Augmenter):
    """An `Augmenter` that notes in `told` each step it takes, by name and with the values drawn for it."""

    told: list[tuple[str, str]]

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self._drawn: dict[str, Any] = {}
        changed = super().apply(name, waveform, rng)
        fields = [field.name for field in dataclasses.fields(getattr(self.augmentation, name))]
        values = [_quantity(field, self._drawn[field]) for field in fields if field in self._drawn]
        self.told.append((name, ", ".join(values)))
        return changed

    def draw(self, name: str, rng: np.random.Generator, field: str) -> Any:
        self._drawn[field] = super().draw(name, rng, field)
        return self._drawn[field]


def ends(step: Step) -> list[tuple[str, Step]]:
    """The step at the low and at the high end of all its ranges, or with each codec, beside words for its values."""
    if hasattr(step, "codecs"):
        return [(codec, dataclasses.replace(step, probability=1.0, codecs=[codec])) for codec in step.codecs]
    pinned = []
    for end in (0, 1):
        values = {field: getattr(step, field)[end] for field in _ranges(step)}
        ranges = {field: [value, value] for field, value in values.items()}
        words = ", ".join(_quantity(field, value) for field, value in values.items())
        pinned.append((words, dataclasses.replace(step, probability=1.0, **ranges)))
    return pinned[:1] if pinned[0] == pinned[1] else pinned


def _written(versions: Sequence[Version], number: int, id: str, rate: int, folder: Path) -> tuple[float, list[Shown]]:
    """Recordings and pictures of a clip's versions, all at one level and on one scale, and by how many dB they are
    softer than the training hears them, so that none is cut off at full scale."""
    peak = max(1.0, *(float(np.abs(version.waveform).max(initial=0.0)) for version in versions))
    powers = [mel_power(version.waveform, rate) for version in versions]
    loudest = max(float(power.max()) for power in powers)
    longest = max(len(version.waveform) for version in versions) / rate
    shown = []
    for place, (version, power) in enumerate(zip(versions, powers, strict=True)):
        # Numbered, because ids of a user's own table are not file names.
        stem = f"{number:02d}_{place:02d}"
        soundfile.write(folder / "audio" / f"{stem}.wav", version.waveform / peak, rate, subtype="PCM_16")
        seconds = len(version.waveform) / rate
        alt = f"Log-mel spectrogram of {id}, {version.name}: {version.values}; {seconds:.2f} s."
        picture = save_picture(folder, stem, mel_figure(power, rate, loudest, longest), alt)
        shown.append(Shown(version.name, version.values, seconds, f"audio/{stem}.wav", picture))
    return float(20 * np.log10(peak)), shown


def _described(name: str, step: Step) -> dict[str, Any]:
    ranges = []
    for field in _ranges(step):
        low, high = (_number(field, value) for value in getattr(step, field))
        ranges.append(f"{field.replace('_', ' ')} {low} to {high} {_unit(field)}".rstrip())
    if hasattr(step, "codecs"):
        ranges.append(", ".join(step.codecs))
    if getattr(step, "folder", None):
        ranges.append(f"from {step.folder}")
    meaning = " ".join((step.__doc__ or "").replace("`", "").split())
    return {"name": name, "probability": step.probability, "ranges": "; ".join(ranges), "meaning": meaning}


def _ranges(step: Step) -> list[str]:
    """Fields that hold the least and the most of a value; those of what a folder stands in for are no matter."""
    fields = [field.name for field in dataclasses.fields(step) if field.metadata]
    if getattr(step, "folder", None):
        fields = [field for field in fields if field == "snr"]
    return fields


def _quantity(field: str, value: float | str) -> str:
    if isinstance(value, str):
        return value  # a codec, which needs no other word
    name = {"snr": "SNR", "decibels": "by", "semitones": "by", "seconds": "by"}.get(field, _words(field))
    return f"{name} {_number(field, value)} {_unit(field)}".rstrip()


def _number(field: str, value: float) -> str:
    value = 100 * value if field == "share" else value
    return (f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}").replace("-", "−")


def _unit(field: str) -> str:
    return _UNITS.get(field, "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(version: Shown) -> dict[str, Any]:
    return {key: getattr(version, key) for key in ("name", "values", "seconds", "audio")}

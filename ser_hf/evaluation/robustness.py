"""How a model stands noise, rooms, telephones and the like: the same test clips judged again under each condition."""

import dataclasses
import io
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import soundfile
import soxr
import xxhash
from tqdm.auto import tqdm

from ..audio import transforms
from ..audio.transforms import Waveforms
from ..utils.errors import UserError
from ..utils.parallel import in_order
from .bootstrap import draws, measure, percentile, resample
from .metrics import classification_metrics

_FRAME_SECONDS = 0.05
_ACTIVE_RANGE = 30.0  # dB
# Of the room, m3, and from the speaker to the microphone, m: an office, and a laptop or telephone on the table.
_ROOM_VOLUME, _DISTANCE = 60.0, 1.0
# What a telephone line's kbit/s are those of: G.711 on land lines, GSM 06.10 (full rate) on early mobile ones.
_TELEPHONE_CODECS = {64: "mu_law", 13: "gsm"}
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz
_OPUS_BIT_RATES = (6, 256)  # kbit/s of one channel, libsndfile's compression levels 1 and 0


@dataclasses.dataclass(frozen=True)
class Kind:
    """What conditions of a kind have in common.

    Args:
        title, axis: its name, and that of its severity.
        unit: of the severity.
        clean: the severity at which nothing is changed.
        bounds: the severities that there are, with their ends.
        severities: those of `CONDITIONS`.
        description: one line, {} being the severity.
    """

    title: str
    axis: str
    unit: str
    clean: float
    bounds: tuple[float, float]
    severities: tuple[float, ...]
    description: str


KINDS = {
    # The axis of noise: it tells nothing of the clip, while noise with the clip's own spectrum carries that of the
    # emotion along, and its octaves are equally strong, as speech's are roughly. White noise has half of its power
    # above 4 kHz (at 16 kHz), where little speech is: how much one SNR covers depends on the sampling rate.
    "noise": Kind(
        *("pink noise", "signal-to-noise ratio", "dB", math.inf, (-30.0, 100.0), (20, 10, 5, 0)),
        "noise of equal power in each octave, {} dB below the speech",
    ),
    "white_noise": Kind(
        *("white noise", "signal-to-noise ratio", "dB", math.inf, (-30.0, 100.0), (20, 10, 5, 0)),
        "noise of equal power at each frequency, {} dB below the speech",
    ),
    "reverberation": Kind(
        *("reverberation", "RT60", "s", 0.0, (0.01, 10.0), (0.3, 0.6, 1.0)),
        f"a generated room of {_ROOM_VOLUME:g} m3 in which sound takes {{}} s to fall by 60 dB, heard from "
        f"{_DISTANCE:g} m; the clip's level and length stay",
    ),
    "telephone": Kind(
        *("telephone", "bit rate", "kbit/s", math.inf, (13, 64), (64, 13)),
        "300 to 3400 Hz at 8 kHz, coded at {} kbit/s (64: G.711 mu-law; 13: GSM full rate)",
    ),
    "codec": Kind(
        *("Opus", "bit rate", "kbit/s", math.inf, _OPUS_BIT_RATES, (24, 12, 6)),
        "coded by Opus, as calls and voice messages are, at {} kbit/s while somebody speaks (less in silence; without "
        "the container)",
    ),
    "gain": Kind(
        *("gain", "gain", "dB", 0.0, (-100.0, 100.0), (-20, -10, 10)),
        "level changed by {} dB, nothing limited to full scale",
    ),
    "saturation": Kind(
        *("saturation", "gain", "dB", 0.0, (0.0, 100.0), (10, 20)),
        "level raised by {} dB, what exceeds full scale cut off",
    ),
    "clipping": Kind(
        *("clipping", "samples clipped", "%", 0.0, (0.0, 99.0), (1, 5, 20)),
        "the loudest {} % of the clip's samples cut off at one level",
    ),
    "duration": Kind(
        *("shortened", "duration", "s", math.inf, (0.001, 1e6), (2, 1, 0.5)),
        "at most {} s of the clip, around the middle of what is spoken",
    ),
    "speed": Kind(
        *("speed", "speed", "times", 1.0, (0.1, 10.0), (0.8, 0.9, 1.1, 1.25)),
        "played {} times as fast, pitch and tempo together",
    ),
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """One thing that is done to clips: a key of `KINDS` and how strongly.

    Raises:
        UserError: for a kind that there is not, or a severity outside its bounds.
    """

    kind: str
    severity: float

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"conditions: {self.kind!r} is none of {', '.join(KINDS)}")
        if self.severity == self.of.clean:
            return
        low, high = self.of.bounds
        if self.kind == "telephone" and self.severity not in _TELEPHONE_CODECS:
            raise UserError(f"conditions: telephone: there are lines of 64 and 13 kbit/s, not of {self.severity}")
        if not low <= self.severity <= high:
            raise UserError(f"conditions: {self.kind}: expected {low:g} to {high:g} {self.unit}, got {self.severity}")

    @property
    def of(self) -> Kind:
        return KINDS[self.kind]

    @property
    def unit(self) -> str:
        return self.of.unit

    @property
    def name(self) -> str:
        return f"{self.of.title}, {self.severity:g} {self.unit}"

    @property
    def description(self) -> str:
        return self.of.description.format(f"{self.severity:g}")


CONDITIONS = tuple(Condition(name, severity) for name, kind in KINDS.items() for severity in kind.severities)


def clip_generator(kind: str, clip: str, seed: int) -> np.random.Generator:
    """The random numbers of one clip: its name and the kind decide them, not its place, batch or process. Severities
    of a kind share them, so that they are of one noise at several levels, and their differences are of the level."""
    return np.random.default_rng((seed, xxhash.xxh3_64_intdigest(f"{kind}/{clip}".encode())))


def apply_condition(
    condition: Condition, waveform: np.ndarray, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """The clip, float32 (samples,), under a condition: float32, as long as it was unless the condition is of its
    length. The clip is not written to; it, or a view of it, is what comes back where nothing is to be done: at the
    kind's clean severity, and of an empty or silent clip, which has no level, under all conditions."""
    severity = condition.severity
    if severity == condition.of.clean or not waveform.any():
        return waveform
    match condition.kind:
        case "noise":
            noise = transforms.colored(len(waveform), 1.0, sampling_rate, rng)
            return add_noise(waveform, noise, severity, sampling_rate)
        case "white_noise":
            return add_noise(waveform, transforms.gaussian(len(waveform), rng), severity, sampling_rate)
        case "reverberation":
            return transforms.reverberate(waveform, room_response(severity, sampling_rate, rng))
        case "telephone":
            return transforms.telephone(waveform, _TELEPHONE_CODECS[severity], sampling_rate)
        case "codec":
            return opus(waveform, severity, sampling_rate)
        case "gain":
            return transforms.gain(waveform, severity)
        case "saturation":
            return np.clip(transforms.gain(waveform, severity), -1, 1)
        case "clipping":
            return transforms.clip(waveform, severity / 100)
        case "duration":
            return shorten(waveform, severity, sampling_rate)
        case "speed":
            return transforms.speed(waveform, severity)
    raise ValueError(f"{condition.kind}: no kind of condition")


def active_frames(waveform: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean powers of the frames of 50 ms, (frames,), the last one of what is left, and whether speech is in each."""
    starts = np.arange(0, len(waveform), max(1, round(_FRAME_SECONDS * sampling_rate)))
    sums = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    powers = sums / np.diff(starts, append=len(waveform))
    return powers, powers >= powers.max() * 10 ** (-_ACTIVE_RANGE / 10)


def speech_power(waveform: np.ndarray, sampling_rate: int) -> float:
    """The mean power of the frames in which there is speech."""
    powers, active = active_frames(waveform, sampling_rate)
    return float(powers[active].mean())


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr: float, sampling_rate: int) -> np.ndarray:
    """The waveform and `noise`, both (samples,), whose power over the whole clip is `snr` dB below the speech's."""
    silence = 10 * math.log10(speech_power(waveform, sampling_rate) / transforms.mean_power(waveform))
    return transforms.add_noise(waveform, noise, snr - silence)


def room_response(decay: float, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """An impulse response, float32 (samples,), that falls by 60 dB in `decay` seconds.

    Its direct-to-reverberant ratio is that of a diffuse field: (critical distance / distance) squared, the critical
    distance being 0.057 sqrt(volume / decay) m (H. Kuttruff, Room Acoustics).
    """
    ratio = 10 * math.log10(0.057**2 * _ROOM_VOLUME / decay / _DISTANCE**2)
    return transforms.generated_response(decay, ratio, sampling_rate, rng)


def opus(waveform: np.ndarray, kilobits: float, sampling_rate: int) -> np.ndarray:
    """Coded by Opus (RFC 6716) and decoded, float32 (samples,), in its place in time. A clip beyond full scale is
    coded at full scale, and brought back.

    Args:
        kilobits: kbit/s that the coder aims at, its rate being variable. Of 24, 12 and 6 its packets take 23.0, 11.8
            and 5.9 on EMO-DB, and on RAVDESS, half of which is silence, 15.6, 8.9 and 4.6.
    """
    rate = min((rate for rate in _OPUS_RATES if rate >= sampling_rate), default=_OPUS_RATES[-1])
    peak = max(np.float32(1), np.abs(waveform).max())
    narrow = soxr.resample(waveform / peak, sampling_rate, rate)
    # A clip of a sample or two may vanish on the way down from higher rates.
    stream = opus_stream(narrow if len(narrow) else np.zeros(1, dtype=np.float32), kilobits, rate)
    decoded, _ = soundfile.read(io.BytesIO(stream), dtype="float32")
    wide = soxr.resample(decoded, rate, sampling_rate)[: len(waveform)] * peak
    return np.pad(wide, (0, len(waveform) - len(wide)))


def opus_stream(waveform: np.ndarray, kilobits: float, sampling_rate: int) -> bytes:
    """The file in an Ogg container; `sampling_rate` is one of Opus's own."""
    least, most = _OPUS_BIT_RATES
    level = (most - kilobits) / (most - least)
    file = io.BytesIO()
    soundfile.write(file, waveform, sampling_rate, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def shorten(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """At most so many seconds, a view, around the middle between the first and the last frame with speech: silence at
    either end, of which corpora have more or less, does not decide what is left."""
    length = max(1, round(seconds * sampling_rate))
    if length >= len(waveform):
        return waveform
    spoken = np.flatnonzero(active_frames(waveform, sampling_rate)[1])
    frame = max(1, round(_FRAME_SECONDS * sampling_rate))
    middle = (spoken[0] + spoken[-1] + 1) * frame // 2
    start = min(max(0, middle - length // 2), len(waveform) - length)
    return waveform[start : start + length]


def check_opus() -> None:
    """Raises a `UserError` where libsndfile was built without Opus."""
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        raise UserError(
            f"conditions: codec: libsndfile {soundfile.__libsndfile_version__} here writes no Opus; install soundfile "
            "from PyPI, or leave the kind out"
        )


logger = logging.getLogger(__name__)

_METRICS = ("uar", "wa", "macro_f1")
# Samples that `hear` is given at once, 67 MB, and as many at most that are changed meanwhile.
_CHUNK_SAMPLES = 2**24

Hear = Callable[[list[np.ndarray]], np.ndarray]


def robustness(
    hear: Hear,
    waveforms: Waveforms | Sequence[np.ndarray],
    ids: Sequence[str],
    labels: Sequence[int],
    speakers: Sequence[str] | None,
    names: Sequence[str],
    *,
    rate: int,
    conditions: Sequence[Condition] = CONDITIONS,
    max_clips: int | None = None,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """UAR, WA and macro-F1 of clean clips and under each condition, plain values for a report.

    Memory holds some minutes of audio, however many clips there are. Conditions share the bootstrap's draws with the
    clean clips, so that `drop_interval` is of paired differences: much of what makes the figures themselves uncertain
    (who was drawn) is in both, and cancels.

    Args:
        hear: what the model answers to some waveforms, probabilities (clips, classes). What prepares clips for the
            model (trimming, normalisation) belongs in it: conditions change recordings.
        waveforms: float32 (samples,) by clip, at `rate` Hz.
        ids: of the clips; with `seed` they decide each clip's random numbers.
        labels: class ids, (clips,).
        speakers: (clips,) for the hierarchical bootstrap; None draws clips alone.
        names: of the classes.
        max_clips: judge so many alone (`pick_clips`), and say so.
        bootstrap: resamples.
        progress: a bar, where stderr is a terminal.

    Returns:
        {clips, clean, chance, conditions, settings}. `clean` and each of `conditions` have uar, wa, macro_f1 and
        interval ([low, high] of UAR); a condition also has its name, kind, severity, unit, description, how many
        clips it `changed`, and `drop`, the UAR that it costs (negative where it gains), with `drop_interval`.

    Raises:
        UserError: naming a clip whose samples are not finite, for a `max_clips` that leaves a class out, and where
            libsndfile lacks the codec.
    """
    if not len(waveforms) == len(ids) == len(labels) or not len(ids):
        raise ValueError(f"{len(waveforms)} waveforms, {len(ids)} ids and {len(labels)} labels")
    if any(condition.kind == "codec" for condition in conditions):
        check_opus()
    rows = np.arange(len(ids))
    if max_clips is not None:
        rows = pick_clips(ids, labels, speakers, max_clips, seed)
        logger.info("robustness: on %d of %d clips, drawn evenly over classes and speakers", len(rows), len(ids))
    true = np.asarray(labels)[rows]
    heard_by = None if speakers is None else [speakers[row] for row in rows]

    predictions, changed = [], []
    with tqdm(
        total=len(rows) * (len(conditions) + 1), desc="robustness", unit="clip", disable=None if progress else True
    ) as bar:
        for condition in (None, *conditions):
            bar.set_postfix_str("clean" if condition is None else condition.name)
            answers, counted = [], 0
            for chunk, own in _chunks(condition, waveforms, ids, rows, rate, seed):
                probabilities = np.asarray(hear(chunk))
                if probabilities.shape != (len(chunk), len(names)):
                    raise ValueError(f"answers {probabilities.shape} to {len(chunk)} clips of {len(names)} classes")
                answers.append(probabilities.argmax(axis=1))
                counted += own
                bar.update(len(chunk))
            predictions.append(np.concatenate(answers))
            changed.append(counted)

    scores = [classification_metrics(true, own, len(names)) for own in predictions]
    scores = [{name: own[name] for name in _METRICS} for own in scores]
    resampled = _resampled_uar(true, predictions, len(names), heard_by, bootstrap, seed)
    intervals = [percentile(own, confidence) for own in resampled]
    drops = [percentile(resampled[0] - own, confidence) for own in resampled]
    judged = [
        {
            "name": condition.name,
            "kind": condition.kind,
            "severity": float(condition.severity),
            "unit": condition.unit,
            "description": condition.description,
            "changed": changed[i],
            **scores[i],
            "interval": intervals[i],
            "drop": scores[0]["uar"] - scores[i]["uar"],
            "drop_interval": drops[i],
        }
        for i, condition in enumerate(conditions, 1)
    ]
    return {
        "clips": len(rows),
        "clean": scores[0] | {"interval": intervals[0]},
        # What one answer to all clips reaches: the mean of recalls of 1 and, for the other classes, 0.
        "chance": 1 / len(set(true.tolist())),
        "conditions": judged,
        "settings": {
            "seed": seed,
            "of_clips": len(ids),
            "bootstrap": bootstrap,
            "confidence": confidence,
            "sampling_rate": rate,
            "libsndfile": soundfile.__libsndfile_version__,
        },
    }


def pick_clips(
    ids: Sequence[str], labels: Sequence[int], speakers: Sequence[str] | None, most: int, seed: int
) -> np.ndarray:
    """Row numbers of at most `most` clips, (clips,), in order: each class in proportion, at least one clip of each,
    and within a class the speakers in turns. Which ones is decided by `seed` and ids, whatever their order.

    Raises:
        UserError: if there are more classes than clips may be taken.
    """
    counts = Counter(np.asarray(labels).tolist())
    if most < len(counts):
        raise UserError(f"max_clips: expected {len(counts)} or more, a clip for each class, got {most}")
    drawn = sorted(range(len(ids)), key=lambda row: xxhash.xxh3_64_intdigest(f"{seed}/{ids[row]}".encode()))
    own, turns = Counter(), {}
    for row in drawn:
        place = int(labels[row]), None if speakers is None else speakers[row]
        turns[row] = own[place]
        own[place] += 1
    shares, taken = {}, Counter()
    for row in sorted(drawn, key=turns.get):
        label = int(labels[row])
        shares[row] = taken[label] / counts[label]
        taken[label] += 1
    return np.sort(sorted(shares, key=shares.get)[:most])


def _chunks(
    condition: Condition | None,
    waveforms: Waveforms | Sequence[np.ndarray],
    ids: Sequence[str],
    rows: np.ndarray,
    rate: int,
    seed: int,
) -> Iterator[tuple[list[np.ndarray], int]]:
    """Some clips under a condition at a time, in order, and how many of them it has changed."""

    def work(row: int) -> tuple[np.ndarray, bool]:
        clean = np.asarray(waveforms[row], dtype=np.float32)
        if not np.isfinite(clean).all():
            raise UserError(f"{ids[row]}: has samples that are no finite numbers; leave the clip out, or mend it")
        if condition is None:
            return clean, False
        made = apply_condition(condition, clean, rate, clip_generator(condition.kind, ids[row], seed))
        return made, not np.array_equal(made, clean)

    def size(row: int) -> int:
        return len(waveforms[row])

    chunk, changed, samples = [], 0, 0
    for waveform, is_changed in in_order(work, rows.tolist(), size=size, most=_CHUNK_SAMPLES):
        chunk.append(waveform)
        changed += is_changed
        samples += len(waveform)
        if samples >= _CHUNK_SAMPLES:
            yield chunk, changed
            chunk, changed, samples = [], 0, 0
    if chunk:
        yield chunk, changed


def _resampled_uar(
    labels: np.ndarray,
    predictions: Sequence[np.ndarray],
    classes: int,
    speakers: Sequence[str] | None,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """(predictions, resamples), all of the same draws, which are those of `bootstrap_intervals` under this seed."""
    measures = [measure(labels, own, classes) for own in predictions]
    values = resample(measures, draws(len(labels), speakers, resamples, np.random.default_rng(seed)))
    return np.stack([own["uar"] for own in values])

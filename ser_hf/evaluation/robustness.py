"""How a model stands noise, rooms, telephones and the like: the same test clips judged again under each condition."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import soundfile
import xxhash
from tqdm.auto import tqdm

from ..audio.noises import Waveforms
from ..errors import UserError
from ..threads import in_order
from .conditions import CONDITIONS, Condition, apply_condition, check_opus, clip_generator
from .intervals import draws, percentile, resample
from .metrics import classification_metrics
from .weighted import measure

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

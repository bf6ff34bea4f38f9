"""Measures the robustness of a model: its results on degraded copies of the evaluated clips."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from xxhash import xxh3_128_hexdigest

from ..audio import WaveformStore
from ..audio.audio_folder import open_audio_folder
from ..audio.transforms import has_mp3
from ..evaluation.conditions import CONDITIONS, KINDS, Condition, all_conditions
from ..evaluation.predictions import Predictions
from ..evaluation.robustness import robustness
from ..evaluation.sections import ConditionRecordings, Robustness
from ..inference.batches import classify
from ..inference.classifier import Classifier
from ..models.preparation import prepare_waveform
from ..utils.errors import UserError
from .label_mapping import LabelMapping

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OpenedConditions:
    """The conditions of an evaluation.

    Args:
        conditions: the conditions, also those with recordings of the user.
        recordings: descriptions of these recordings, by the field of the report's settings.
    """

    conditions: Sequence[Condition] = CONDITIONS
    recordings: Mapping[str, ConditionRecordings] = dataclasses.field(default_factory=dict)


def open_conditions(
    noise_folder: str | None,
    impulse_folder: str | None,
    *,
    rate: int,
    cache_dir: str | Path | None,
    keys: tuple[str, str] = ("evaluation.noise_folder", "evaluation.impulse_folder"),
) -> OpenedConditions:
    """Open the folders of recordings, and make the conditions that use them and all others.

    Args:
        noise_folder: recordings of noise; None for none.
        impulse_folder: impulse responses of rooms; None for none.
        rate: the sampling rate of the model, in Hz.
        cache_dir: the cache for the decoded recordings (default: see
            `ser_hf.utils.cache.cache_root`).
        keys: the names of the two folders in messages.

    Raises:
        UserError: if a folder is missing, has no audio or a file that cannot be read, if no impulse
            response has a suitable RT60, or if libsndfile has no MP3.
    """
    if not has_mp3():
        raise UserError(
            f"robustness: libsndfile {soundfile.__libsndfile_version__} on this machine has no "
            "MP3; install soundfile from PyPI"
        )
    noise_key, impulse_key = keys
    opened: dict[str, WaveformStore] = {}
    if noise_folder is not None:
        opened["noise_folder"] = open_audio_folder(noise_folder, rate, noise_key, cache_dir)
    if impulse_folder is not None:
        opened["impulse_folder"] = open_audio_folder(impulse_folder, rate, impulse_key, cache_dir)
    conditions = all_conditions(
        opened.get("noise_folder", ()), opened.get("impulse_folder", ()), rate
    )
    if impulse_folder is not None:
        _check_rooms(conditions, f"{impulse_key}: {impulse_folder}")
    recordings = {name: _described(store) for name, store in opened.items()}
    return OpenedConditions(conditions, recordings)


def _check_rooms(conditions: Sequence[Condition], folder: str) -> None:
    """Refuse a folder without suitable rooms; log the conditions for which it has no room."""
    present = {condition.severity for condition in conditions if condition.kind == "recorded_room"}
    if not present:
        raise UserError(
            f"{folder}: no impulse response with an RT60 of 0.1 to 1.5 s; choose another folder"
        )
    for severity in KINDS["recorded_room"].severities:
        if severity not in present:
            condition = Condition("recorded_room", severity)
            logger.warning("%s: no impulse response for %s; it is left out", folder, condition.name)


def _described(store: WaveformStore) -> ConditionRecordings:
    """The report's description of a folder of recordings."""
    return ConditionRecordings(
        files=len(store),
        seconds=float(store.durations.sum()),
        fingerprint=xxh3_128_hexdigest(store.checksums.tobytes()),
    )


def robustness_of(
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    waveforms: Sequence[np.ndarray],
    *,
    opened: OpenedConditions | None = None,
    window: float | None = None,
    batch_size: int = 16,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Robustness:
    """Evaluate a model on degraded clips, for the report's `robustness`.

    Args:
        predictions: the predictions of the clean clips, for comparison.
        waveforms: the clips as recorded, at the model's rate, before the model's preparation.
        opened: the conditions, from `open_conditions`; by default those without recordings.
        window: length in seconds; longer clips are processed in windows.
        batch_size: number of windows in a batch.
        bootstrap: number of resamples.
        confidence: confidence of the intervals, between 0 and 1.
    """
    rate = classifier.extractor.sampling_rate
    opened = opened or OpenedConditions()

    def predict(clips: list[np.ndarray]) -> np.ndarray:
        prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
        names = [f"clip {i}" for i in range(len(clips))]
        probabilities = classify(
            classifier, prepared, names, progress=False, window=window, batch_size=batch_size
        )
        return mapping.to_classes(probabilities)

    return robustness(
        predict,
        waveforms,
        predictions,
        rate=rate,
        conditions=opened.conditions,
        recordings=opened.recordings,
        bootstrap=bootstrap,
        confidence=confidence,
    )

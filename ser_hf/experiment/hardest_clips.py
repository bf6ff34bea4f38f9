"""Prepares the hardest clips for the page of a report: recordings, and the parts that decided.

The parts are found by occlusion, see `ser_hf.evaluation.occlusion`.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..audio import WaveformStore, prepare
from ..evaluation.occlusion import LONGEST_SECONDS, occlude
from ..evaluation.sections import HardClip
from ..inference.batches import classify
from ..inference.classifier import Classifier
from ..models.preparation import Preparation, prepare_waveform
from ..report.clip_plots import ClipRecordings
from ..report.report import Report
from ..utils.errors import UserError
from .label_mapping import LabelMapping
from .sections import extended

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HardestClips:
    """A report with the occlusion of its hardest clips, and the recordings of these clips."""

    report: Report
    recordings: ClipRecordings | None = None


def chosen_clips(
    hardest: Sequence[HardClip], seconds: Mapping[str, float], most: int
) -> list[HardClip]:
    """The first clips that are predicted wrongly and are at most `LONGEST_SECONDS` long.

    Args:
        hardest: the report's `hardest`.
        seconds: the duration of each of them, by id.
        most: number of clips.
    """
    chosen = []
    for clip in hardest:
        if clip.predicted != clip.label and seconds[clip.id] <= LONGEST_SECONDS:
            chosen.append(clip)
    return chosen[:most]


def show_hardest(
    report: Report,
    classifier: Classifier,
    mapping: LabelMapping,
    *,
    dataset: Dataset,
    store: WaveformStore,
    most: int,
    window: float | None = None,
    batch_size: int = 16,
    cache_dir: str | None = None,
) -> HardestClips:
    """Find on which parts the predictions of the hardest clips depend.

    Models of dimensions and of sets of labels have no single probability that could drop: their
    clips are shown only. A failure
    is logged, and the report stays as it is.

    Args:
        classifier: the evaluated model.
        mapping: from its labels to the classes of the report.
        dataset: rows with the evaluated clips among them.
        store: the prepared waveforms of these rows.
        most: number of clips.
        window: length in seconds; longer clips are processed in windows.
        batch_size: number of windows in a batch.
        cache_dir: the cache for clips that are prepared again.
    """
    try:
        return _show_hardest(
            report,
            classifier,
            mapping,
            waveforms=_waveforms(report.hardest, classifier, dataset, store, cache_dir),
            most=most,
            window=window,
            batch_size=batch_size,
        )
    except UserError as error:
        logger.warning("no pictures of the hardest clips: %s", error)
        return HardestClips(report)


def _show_hardest(
    report: Report,
    classifier: Classifier,
    mapping: LabelMapping,
    *,
    waveforms: Mapping[str, np.ndarray],
    most: int,
    window: float | None,
    batch_size: int,
) -> HardestClips:
    rate = classifier.extractor.sampling_rate
    functionals = Preparation(functionals=classifier.preparation.functionals)
    seconds = {clip_id: len(samples) / rate for clip_id, samples in waveforms.items()}
    chosen = {clip.id for clip in chosen_clips(report.hardest, seconds, most)}

    def probabilities(clips: list[np.ndarray]) -> np.ndarray:
        prepared = [prepare_waveform(clip, rate, functionals) for clip in clips]
        names = [f"clip {i}" for i in range(len(clips))]
        outputs = classify(
            classifier, prepared, names, progress=False, window=window, batch_size=batch_size
        )
        return mapping.to_classes(outputs)

    hardest = []
    for clip in report.hardest:
        if clip.id in chosen and report.measured.one_label:
            occlusion = occlude(probabilities, waveforms[clip.id], rate)
            clip = clip.model_copy(update={"occlusion": occlusion})
        hardest.append(clip)
    samples = {clip_id: waveforms[clip_id] for clip_id in waveforms if clip_id in chosen}
    recordings = ClipRecordings(samples, rate) if samples else None
    return HardestClips(extended(report, hardest=hardest), recordings)


def _waveforms(
    clips: Sequence[HardClip],
    classifier: Classifier,
    dataset: Dataset,
    store: WaveformStore,
    cache_dir: str | None,
) -> dict[str, np.ndarray]:
    """The waveforms of clips as the model receives them: {clip id: float32 (samples,)}.

    A model of functionals receives no waveform, so its clips are prepared without them.
    """
    row_of_clip = {clip_id: row for row, clip_id in enumerate(dataset["id"][:])}
    rows = [row_of_clip[clip.id] for clip in clips]
    if classifier.preparation.functionals is None:
        waveforms = [store[row] for row in rows]
    else:
        preparation = dataclasses.replace(classifier.preparation, functionals=None)
        rate = classifier.extractor.sampling_rate
        _, waveforms = prepare(dataset.select(rows), rate, cache_dir, preparation)
    return {clip.id: np.asarray(waveforms[i]) for i, clip in enumerate(clips)}

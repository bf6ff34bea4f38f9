"""Evaluates a model over time: its emotions of recordings against the turns of a reference."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..audio.decode import read_header
from ..corpora.row_labels import LabelReader
from ..corpora.schema import EMOTIONS
from ..evaluation.emotion_diarization import (
    NO_SPEECH,
    DiarizationErrors,
    TimedLabel,
    confusion_seconds,
    diarization_errors,
    interval_of_rate,
)
from ..inference.classifier import Classifier
from ..inference.joining import lanes
from ..inference.predict import PredictionSettings, predict_tables, table_metadata
from ..inference.recordings import Recording
from ..inference.segmenting import turns_of
from ..inference.writers import writing
from ..report.plots import confusion_figure, save_figure
from ..report.views import counted
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json

# The recordings are divided by the turns of the reference.
REFERENCE = "reference"
_RATES = ("eder", "accuracy")


@dataclasses.dataclass(frozen=True)
class OverTime:
    """The result of an evaluation over time.

    Attributes:
        model: as the user wrote it.
        segments: how the recordings were divided.
        errors: path of each recording -> its errors.
        labels: the rows and columns of the confusions, without `NO_SPEECH`.
        confusion: seconds, float64 (labels + 1, labels + 1), see `confusion_seconds`.
    """

    model: str
    segments: str
    errors: dict[str, DiarizationErrors]
    labels: list[str]
    confusion: np.ndarray

    @property
    def total(self) -> DiarizationErrors:
        """The errors of all recordings together."""
        return sum(self.errors.values(), start=DiarizationErrors())

    def interval(self, rate: str) -> tuple[float, float]:
        """The 95 % interval of ``eder`` or ``accuracy`` over recordings."""
        return interval_of_rate(list(self.errors.values()), rate)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values; an unknown number is None."""
        values: dict[str, Any] = {"model": self.model, "segments": self.segments}
        for rate in _RATES:
            values[rate] = _number(getattr(self.total, rate))
            values[f"{rate}_interval"] = [_number(bound) for bound in self.interval(rate)]
        values["seconds"] = dataclasses.asdict(self.total)
        values["labels"] = [*self.labels, NO_SPEECH]
        values["confusion_seconds"] = self.confusion.round(3).tolist()
        values["recordings"] = {}
        for path, errors in self.errors.items():
            rates = {rate: _number(getattr(errors, rate)) for rate in _RATES}
            values["recordings"][path] = rates | dataclasses.asdict(errors)
        return values

    def summary(self) -> str:
        """The result as lines to print."""
        total = self.total
        recordings = counted(len(self.errors), "recording")
        lines = [f"{self.model}: {recordings}, {total.duration / 60:.1f} min"]
        names = {"eder": "EDER", "accuracy": "accuracy by time"}
        for rate, name in names.items():
            low, high = self.interval(rate)
            interval = "" if math.isnan(low) else f"  ({low:.3f} to {high:.3f})"
            lines.append(f"{name:<18} {getattr(total, rate):.3f}{interval}")
        for kind in ("false_alarm", "missed", "confusion", "overlap"):
            seconds = getattr(total, kind)
            lines.append(f"  {kind.replace('_', ' '):<16} {seconds:.1f} s")
        names_of_columns = [*self.labels, NO_SPEECH]
        lines.append("seconds: true in rows, predicted in columns")
        lines.append(f"{'':<12}" + "".join(f"{name:>11}" for name in names_of_columns))
        for name, row in zip(names_of_columns, self.confusion, strict=True):
            lines.append(f"{name:<12}" + "".join(f"{value:>11.1f}" for value in row))
        return "\n".join(lines)


def evaluate_over_time(
    classifier: Classifier,
    recordings: Sequence[Recording],
    reference: str | Path,
    settings: PredictionSettings,
    folder: Path,
    label_map: Mapping[str, str] | None = None,
) -> OverTime:
    """Predict recordings over time and compare them with the turns of a reference.

    Writes over_time.json, predictions.csv and confusion.png.

    Args:
        reference: a file or folder of turns with labels (`ser_hf.inference.segmenting.turns_of`).
        settings: how the recordings are divided; with the segments `REFERENCE` by its turns.
        folder: where the result is written; it replaces an earlier one.
        label_map: labels of the model or of the reference -> emotions.

    Raises:
        UserError: if a turn has no emotion, or the model predicts dimensions.
    """
    if classifier.ranges:
        raise UserError(
            f"--reference: {classifier.source} predicts dimensions, and turns have emotions"
        )
    reader = LabelReader(label_map or {}, EMOTIONS)
    true_turns = _true_turns(turns_of(recordings, reference, key="--reference"), reader)

    segments = settings.segments
    if segments == REFERENCE:
        settings = settings.replace(segments=str(reference))
    metadata = table_metadata(classifier, settings)
    table = pa.concat_tables(predict_tables(classifier, recordings, settings, metadata, []))
    predicted_turns = _predicted_turns(table, reader, overlap=settings.windows)

    labels = _labels_of(true_turns, predicted_turns)
    errors = {}
    confusion = np.zeros((len(labels) + 1, len(labels) + 1))
    for recording in recordings:
        path = recording.path
        duration = read_header(path, recording.data).duration
        sides = (true_turns[path], predicted_turns.get(path, []))
        errors[path] = diarization_errors(*sides, duration)
        confusion += confusion_seconds(*sides, duration, labels)
    result = OverTime(classifier.source, segments or "", errors, labels, confusion)

    with atomic_folder(folder, key="--output") as partial:
        _save(result, partial)
        with writing(partial / "predictions.csv", "--output", metadata) as write:
            write(table)
    return result


def _labels_of(*sides: Mapping[str, Sequence[TimedLabel]]) -> list[str]:
    """The labels of all turns: emotions in their order, then other labels by name."""
    names = {turn.label for side in sides for turns in side.values() for turn in turns}
    return [label for label in EMOTIONS if label in names] + sorted(names.difference(EMOTIONS))


def _save(result: OverTime, folder: Path) -> None:
    """Write the numbers, and the confusion as a picture."""
    write_json(folder / "over_time.json", result.to_dict())
    seconds = result.confusion.round().astype(int).tolist()
    figure = confusion_figure({"seconds": seconds}, [*result.labels, NO_SPEECH])
    save_figure(figure, folder / "confusion.png")


def _true_turns(turns: Sequence[Recording], reader: LabelReader) -> dict[str, list[TimedLabel]]:
    """The turns of the reference by the path of their recording.

    Raises:
        UserError: for a turn whose label is no emotion.
    """
    by_path: dict[str, list[TimedLabel]] = {}
    for turn in turns:
        emotion = reader.emotion(turn.label)
        if emotion is None:
            label = "no label" if turn.label is None else f"the label {turn.label!r}"
            raise UserError(
                f"--reference: the turn {turn.segment} of {turn.path} has {label}; expected one of "
                f"{', '.join(EMOTIONS)}, or a label in --label-map"
            )
        by_path.setdefault(turn.path, []).append(TimedLabel(*turn.segment, emotion))
    return by_path


def _predicted_turns(
    table: pa.Table, reader: LabelReader, overlap: bool
) -> dict[str, list[TimedLabel]]:
    """The predicted turns by the path of their recording.

    Args:
        overlap: whether the rows are overlapping windows. Each instant then has the label of the
            window whose middle is nearest.
    """
    starts = np.array(table["start"].to_pylist())
    ends = np.array(table["end"].to_pylist())
    if overlap:
        for lane in lanes(table):
            middles = (starts[lane.rows] + ends[lane.rows]) / 2
            borders = (middles[:-1] + middles[1:]) / 2
            starts[lane.rows[1:]] = borders
            ends[lane.rows[:-1]] = borders
    by_path: dict[str, list[TimedLabel]] = {}
    columns = (table[name].to_pylist() for name in ("path", "predicted"))
    for path, label, start, end in zip(*columns, starts, ends, strict=True):
        turn = TimedLabel(float(start), float(end), reader.emotion(label) or label)
        by_path.setdefault(path, []).append(turn)
    return by_path


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value

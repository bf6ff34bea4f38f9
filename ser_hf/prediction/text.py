"""Rows as text: CSV, JSON objects, and lines for the terminal."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import pyarrow as pa
from tqdm import tqdm

from .tables import matrix
from .timeline import Segment, segments, split_unfinished

PLAIN = ("id", "path", "speaker", "label", "window", "windows", "start", "end", "predicted")
FORMATS = ("table", "jsonl", "csv")
_BAR = 20  # characters of a probability of 1


def flat_names(labels: Sequence[str]) -> list[str]:
    return [*PLAIN, *(f"p_{label}" for label in labels), *(f"logit_{label}" for label in labels)]


def csv_rows(file: TextIO, labels: Sequence[str]) -> Callable[[pa.Table], None]:
    """Writes the header, and returns what writes a table below it."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(flat_names(labels))

    def write(table: pa.Table) -> None:
        for row in records(table, labels):
            numbers = [_short(row[kind][label]) for kind in ("probabilities", "logits") for label in labels]
            writer.writerow([row[name] for name in PLAIN] + numbers)

    return write


def json_lines(file: TextIO, labels: Sequence[str]) -> Callable[[pa.Table], None]:
    """Returns what writes an object in a line of its own for each row of a table."""

    def write(table: pa.Table) -> None:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in records(table, labels))

    return write


def records(table: pa.Table, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The rows as JSON has them; numbers with the seven digits that float32 holds."""
    rows = table.select(PLAIN).to_pylist()
    for kind in ("probabilities", "logits"):
        for row, values in zip(rows, matrix(table, kind).tolist(), strict=True):
            row[kind] = {label: float(_short(value)) for label, value in zip(labels, values, strict=True)}
    return rows


def to_terminal(kind: str, labels: Sequence[str], timeline: bool) -> Callable[[pa.Table], None]:
    """What writes tables to standard output, above a progress bar and at once, so that a pipe is answered as
    recordings are heard.

    Args:
        kind: of `FORMATS`. A table is for people: a line a row with the most probable label alone.
        timeline: the rows are windows over time: of a table, a line for each stretch with the same answer.
    """
    file = sys.stdout
    if kind == "table":
        write = _timeline_lines(file) if timeline else _lines(file)
    else:
        write = (json_lines if kind == "jsonl" else csv_rows)(file, labels)

    def above_the_bar(table: pa.Table) -> None:
        with tqdm.external_write_mode(file=file):
            write(table)
            file.flush()

    return above_the_bar


def _lines(file: TextIO) -> Callable[[pa.Table], None]:
    """How sure, what, and of which recording."""

    def write(table: pa.Table) -> None:
        best = matrix(table, "probabilities").max(axis=1)
        rows = table.select(["id", "predicted", "window", "windows", "start", "end"]).to_pylist()
        for row, probability in zip(rows, best, strict=True):
            windows = ""
            if row["windows"] > 1:
                times = f"{row['start']:.2f}-{row['end']:.2f} s"
                windows = f"  ({row['windows']} windows)" if row["window"] is None else f"  ({times})"
            file.write(f"{probability:.3f}  {row['predicted']:<10}  {row['id']}{windows}\n")

    return write


def _timeline_lines(file: TextIO) -> Callable[[pa.Table], None]:
    """The recording, and below it when, what, and how sure, in figures and as a bar."""
    held: list[pa.Table] = []

    def write(table: pa.Table) -> None:
        complete, rest = split_unfinished(pa.concat_tables([*held, table]))
        held[:] = [rest]
        last = None
        for segment in segments(complete) if len(complete) else ():
            if segment.id != last:
                file.write(f"{segment.id}\n")
            last = segment.id
            file.write(f"  {_timeline_line(segment, file.encoding)}\n")

    return write


def _timeline_line(segment: Segment, encoding: str | None) -> str:
    times = f"{_clock(segment.start)} - {_clock(segment.end)}"
    mark = "\u2588" if (encoding or "").lower().replace("-", "").startswith("utf") else "#"
    bar = mark * round(_BAR * segment.probability)
    return f"{times}  {segment.predicted:<10}  {segment.probability:.3f}  {bar}".rstrip()


def _clock(seconds: float) -> str:
    """Minutes and seconds, in six places and more."""
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000:3d}:{hundredths % 6000 // 100:02d}.{hundredths % 100:02d}"


def _short(value: float) -> str:
    return f"{value:.7g}"

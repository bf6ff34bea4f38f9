"""Writes tables of predictions to files and to the terminal."""

import contextlib
import csv
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..audio.decode import read_header
from ..evaluation.label_sets import NONE
from ..utils.annotations import WRITTEN_SUFFIXES, Turn, write_turns
from ..utils.errors import UserError, printable
from ..utils.segments import Segment
from .outputs import VALUES, TableMetadata, matrix

Write = Callable[[pa.Table], None]


def csv_rows(file: TextIO, metadata: TableMetadata) -> Write:
    """Write the header, and return a function that writes the rows of a table as CSV."""
    predicted = metadata.predicted_column
    prefix = "value" if metadata.ranges else "p"
    header = list(metadata.columns)
    header += [f"{prefix}_{label}" for label in metadata.labels]
    header += [f"logit_{label}" for label in metadata.labels]
    header += [f"value_{name}" for name in metadata.rating_ranges]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)

    def write(table: pa.Table) -> None:
        for row in records(table, metadata):
            cells = [row[name] for name in metadata.columns]
            cells += [f"{row[predicted][label]:.7g}" for label in metadata.labels]
            cells += [f"{row['logits'][label]:.7g}" for label in metadata.labels]
            cells += [f"{row[VALUES][name]:.7g}" for name in metadata.rating_ranges]
            writer.writerow(cells)

    return write


def json_lines(file: TextIO, metadata: TableMetadata) -> Write:
    """Return a function that writes each row of a table as one line of JSON."""

    def write(table: pa.Table) -> None:
        for row in records(table, metadata):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write


def text_lines(file: TextIO, metadata: TableMetadata) -> Write:
    """Return a function that writes each row of a table as one line for people."""

    def write(table: pa.Table) -> None:
        rows = table.select(metadata.columns).to_pylist()
        predicted = matrix(table, metadata.predicted_column)
        ratings = matrix(table, VALUES) if metadata.rating_ranges else [None] * len(rows)
        for row, values, ratings_of_row in zip(rows, predicted, ratings, strict=True):
            if metadata.ranges:
                prediction = _ratings_text(metadata.labels, values)
            elif metadata.label_threshold is not None:
                prediction = _chosen_labels(values, metadata)
            else:
                prediction = f"{values.max():.3f}  {row['predicted']:<10}"
                if row.get("most_probable", row["predicted"]) != row["predicted"]:
                    prediction += f" (rather {row['most_probable']})"
            if ratings_of_row is not None:
                ratings_text = _ratings_text(list(metadata.rating_ranges), ratings_of_row)
                prediction = f"{prediction}  {ratings_text}"
            file.write(printable(f"{prediction}  {_where(row, metadata)}") + "\n")

    return write


def _ratings_text(names: Sequence[str], values: np.ndarray) -> str:
    """The values of dimensions, such as "arousal 3.20  valence 2.10"."""
    pairs = zip(names, values, strict=True)
    return "  ".join(f"{name} {value:.2f}" for name, value in pairs)


def _chosen_labels(probabilities: np.ndarray, metadata: TableMetadata) -> str:
    """The labels above the threshold, the most probable first; if there is none, the next one."""
    order = np.argsort(-probabilities, kind="stable")
    texts = [f"{metadata.labels[i]} {probabilities[i]:.2f}" for i in order]
    chosen = int((probabilities > metadata.label_threshold).sum())
    text = " + ".join(texts[:chosen]) if chosen else f"{NONE} (rather {texts[0]})"
    return f"{text:<32}"


def _where(row: dict[str, Any], metadata: TableMetadata) -> str:
    """Name the clip of a row; a segment has its speaker, its times and its recording."""
    if metadata.segments in (None, "windows"):
        return f"{row['id']}{_window_note(row)}"
    speaker = f"{row['speaker']:<12}  " if row["speaker"] else ""
    return f"{speaker}{clock(row['start'])}-{clock(row['end'])}  {row['path']}"


def clock(seconds: float) -> str:
    """A time as minutes and seconds, or as hours, minutes and seconds from an hour on."""
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:05.2f}"
    return f"{minutes}:{rest:05.2f}"


def _window_note(row: dict[str, Any]) -> str:
    """Describe the window that a row belongs to, or the number of windows that it averages."""
    if row["windows"] == 1:
        return ""  # the id of a segment has its times
    if row["window"] is None:
        return f"  ({row['windows']} windows)"
    return f"  ({row['start']:.2f}-{row['end']:.2f} s)"


def records(table: pa.Table, metadata: TableMetadata) -> list[dict[str, Any]]:
    """Convert rows to JSON values; numbers get seven digits, the precision of float32."""
    rows = table.select(metadata.columns).to_pylist()
    for column, names in metadata.number_columns.items():
        for row, values in zip(rows, matrix(table, column).tolist(), strict=True):
            rounded = [float(f"{value:.7g}") for value in values]
            row[column] = dict(zip(names, rounded, strict=True))
    return rows


_TERMINAL_FORMATS = {"jsonl": json_lines, "csv": csv_rows, "table": text_lines}
_FILE_FORMATS = {".jsonl": json_lines, ".csv": csv_rows}
OUTPUT_SUFFIXES = (".csv", ".jsonl", *WRITTEN_SUFFIXES)


def to_terminal(format: str, metadata: TableMetadata) -> Write:
    """Return a function that writes tables to standard output, above a progress bar.

    `format` is ``jsonl``, ``csv``, or ``table`` for aligned text.
    """
    file = sys.stdout
    write = _TERMINAL_FORMATS[format](file, metadata)

    def write_above_the_bar(table: pa.Table) -> None:
        with tqdm.external_write_mode(file=file):
            write(table)
            file.flush()

    return write_above_the_bar


def check_output(
    path: str | Path, suffixes: Sequence[str], key: str, inputs: Iterable[str | Path] = ()
) -> Path:
    """Check the path of an output file.

    Args:
        path: the path of the file.
        suffixes: the suffixes of the supported formats, such as ``.csv``.
        key: the option that messages name.
        inputs: files that are never replaced, even through a link.

    Returns:
        The path.

    Raises:
        UserError: if the suffix is unknown, or the path is not a regular file or is an input.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{key}: {path}: unknown format; choose one of {', '.join(suffixes)}")
    if path.exists() and not path.is_file():
        raise UserError(f"{key}: {path} is not a regular file; name another one")
    real_path = os.path.realpath(path)
    if any(os.path.realpath(input_path) == real_path for input_path in inputs):
        raise UserError(f"{key}: {path} is an input; name another file")
    return path


@contextlib.contextmanager
def writing(path: Path, key: str, metadata: TableMetadata) -> Iterator[Write]:
    """Yield a function that writes tables to a new file.

    At the end the new file replaces the file (or the target of the link) at `path`.

    CSV and JSON lines hold the probability and the logit of each label by name (``p_angry``,
    ``logit_angry``; in JSON as objects), or the value and the logit of each dimension
    (``value_arousal``), and no embeddings; Parquet holds the tables as they are. TextGrids, label
    tracks of Audacity and RTTM hold labels, speakers and times.

    Raises:
        UserError: naming `key`, if the file cannot be written; also for dimensions, or several
            recordings, in a format that cannot hold them.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f"ser_hf-{secrets.token_hex(8)}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _open_writer(partial, path.suffix.lower(), metadata) as write:
                yield write
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def _open_writer(path: Path, suffix: str, metadata: TableMetadata) -> Iterator[Write]:
    if suffix in _FILE_FORMATS:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _FILE_FORMATS[suffix](file, metadata)
        return

    if suffix in WRITTEN_SUFFIXES:
        with _turns_writer(path, suffix, metadata) as write:
            yield write
        return

    path.touch()  # an output that cannot be written is reported before the first prediction
    with contextlib.ExitStack() as opened:
        writer: pq.ParquetWriter | None = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write


@contextlib.contextmanager
def _turns_writer(path: Path, suffix: str, metadata: TableMetadata) -> Iterator[Write]:
    """Yield a function that collects the rows; at the end they are written as turns."""
    if metadata.ranges:
        raise UserError(f"--output: {suffix} holds labels, but the model predicts dimensions")
    path.touch()
    turns_of_recording: dict[str, list[Turn]] = {}

    def write(table: pa.Table) -> None:
        columns = (table[name].to_pylist() for name in ("path", "speaker", "predicted"))
        times = (table[name].to_pylist() for name in ("start", "end"))
        for recording, speaker, label, start, end in zip(*columns, *times, strict=True):
            turn = Turn(Segment(start, end), label, speaker, recording=Path(recording).stem)
            turns_of_recording.setdefault(recording, []).append(turn)

    yield write
    if len(turns_of_recording) > 1 and suffix != ".rttm":
        raise UserError(
            f"--output: a {suffix} file describes one recording, and there are "
            f"{len(turns_of_recording)}; write .rttm or .csv, or predict one at a time"
        )
    duration = 0.0
    turns = []
    for recording, turns_here in turns_of_recording.items():
        header = read_header(recording)
        last = max(turn.segment.end for turn in turns_here)
        duration = last if header is None else max(last, header.duration)
        turns += turns_here
    named = path.with_suffix(suffix)
    write_turns(named, turns, duration)
    named.replace(path)

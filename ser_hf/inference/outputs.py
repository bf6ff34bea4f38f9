"""Tables of predictions, one row per clip or window, as files and on the terminal."""

import contextlib
import csv
import dataclasses
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

from ..evaluation.probabilities import activated
from ..utils.environment import __version__
from ..utils.errors import UserError, printable
from .batches import ModelOutputs
from .classifier import Classifier
from .inputs import Chunk

METADATA = b"ser_hf"
COLUMNS = ("id", "path", "speaker", "label", "window", "windows", "start", "end", "predicted")
Write = Callable[[pa.Table], None]


@dataclasses.dataclass(frozen=True)
class Facts:
    """The metadata of a table, JSON under the key ``ser_hf`` of its schema.

    Args:
        model: as the user named it; `revision`: the commit on the Hub, or ``sha256:...`` of a
            folder's weights.
        labels: the names of the entries of probabilities and logits.
        window: seconds beyond which clips are split into windows, None if they never are.
        hop: seconds from one window to the next if they overlap, otherwise None.
        problem_type: of the model: null for classes, ``multi_label_classification`` for labels with
            separate probabilities, which do not add up to one, ``regression`` for dimensions.
        ranges: the ratings that 0 and 1 of each dimension stand for; empty for classes.
        embedding: what embeddings are, in words; None without them.
    """

    model: str
    revision: str | None
    sampling_rate: int
    labels: list[str]
    window: float | None
    hop: float | None
    problem_type: str | None
    ranges: dict[str, list[float]]
    embedding: str | None
    version: str = __version__

    @property
    def kind(self) -> str:
        """The column of what is predicted."""
        return "values" if self.ranges else "probabilities"

    @property
    def columns(self) -> list[str]:
        """The columns of text and places, for all formats."""
        return [name for name in COLUMNS if name != "predicted" or not self.ranges]


def table(chunk: Chunk, outputs: ModelOutputs, classifier: Classifier, facts: Facts) -> pa.Table:
    """The rows of a chunk.

    Columns: `id`, `path`, `speaker` and `label` (null if unknown); `window`, its number from 0
    (null if a row is the mean of several), and `windows` of the clip; `start` and `end`, seconds of
    the file (after silence was trimmed off or added, counted from where the clip begins);
    `predicted`; `probabilities` and `logits`, float32 (labels,) each; `embedding`, float32 (size,),
    if requested. Lists have a fixed size, so that they read as matrices. Of dimensions `values`, on
    the scale of the ratings, replace `predicted` and `probabilities`.
    """
    rows = outputs.by_clip(classifier.problem_type)
    own = [chunk.recordings[row] for row in rows.rows]
    windows = np.bincount(outputs.rows, minlength=len(chunk))[rows.rows]
    numbers = np.where(windows == 1, 0, -1)
    starts, ends = (
        rows.starts / chunk.sampling_rate,
        (rows.starts + rows.lengths) / chunk.sampling_rate,
    )
    if chunk.places is not None:  # each entry of the chunk is a window
        numbers, windows, starts, ends = (
            np.array(values) for values in zip(*chunk.places, strict=True)
        )
    columns = {
        **{name: [getattr(one, name) for one in own] for name in COLUMNS[:4]},
        "window": pa.array(numbers, pa.int32(), mask=numbers < 0),
        "windows": pa.array(windows, pa.int32()),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(ends, pa.float64()),
    }
    made = activated(rows.logits, facts.problem_type)
    if facts.ranges:
        low, high = np.transpose([facts.ranges[name] for name in facts.labels])
        made = low + made * (high - low)
    else:
        columns["predicted"] = [facts.labels[i] for i in rows.logits.argmax(axis=1)]
    for name in set(columns).intersection((*COLUMNS[:4], "predicted")):
        columns[name] = pa.array(columns[name], pa.string())
    columns |= {facts.kind: of_lists(made), "logits": of_lists(rows.logits)}
    if rows.vectors is not None:
        columns["embedding"] = of_lists(rows.vectors)
    metadata = json.dumps(dataclasses.asdict(facts), ensure_ascii=False)
    return pa.table(columns).replace_schema_metadata({METADATA: metadata})


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of lists as float32 (rows, size)."""
    lists = table[column].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1)


def of_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """(rows, size) as a column of float32 lists."""
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


def csv_rows(file: TextIO, facts: Facts) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    short = "value" if facts.ranges else "p"
    kinds = {short: facts.kind, "logit": "logits"}
    writer.writerow(
        [*facts.columns, *(f"{kind}_{label}" for kind in kinds for label in facts.labels)]
    )

    def write(table: pa.Table) -> None:
        for row in records(table, facts):
            numbers = [
                f"{row[kind][label]:.7g}" for kind in kinds.values() for label in facts.labels
            ]
            writer.writerow([row[name] for name in facts.columns] + numbers)

    return write


def json_lines(file: TextIO, facts: Facts) -> Write:
    def write(table: pa.Table) -> None:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in records(table, facts))

    return write


def records(table: pa.Table, facts: Facts) -> list[dict[str, Any]]:
    """The rows as JSON has them; numbers with the seven digits that float32 holds."""
    rows = table.select(facts.columns).to_pylist()
    for kind in (facts.kind, "logits"):
        for row, values in zip(rows, matrix(table, kind).tolist(), strict=True):
            row[kind] = {
                label: float(f"{value:.7g}")
                for label, value in zip(facts.labels, values, strict=True)
            }
    return rows


def to_terminal(kind: str, facts: Facts) -> Write:
    """Return a function that writes tables to standard output, above a progress bar, as jsonl, csv
    or aligned text.
    """
    file = sys.stdout
    write = {"jsonl": json_lines, "csv": csv_rows, "table": _lines}[kind](file, facts)

    def above_the_bar(table: pa.Table) -> None:
        with tqdm.external_write_mode(file=file):
            write(table)
            file.flush()

    return above_the_bar


def _lines(file: TextIO, facts: Facts) -> Write:
    def write(table: pa.Table) -> None:
        for row, values in zip(
            table.select(facts.columns).to_pylist(), matrix(table, facts.kind), strict=True
        ):
            if facts.ranges:
                text = "  ".join(
                    f"{label} {value:.2f}"
                    for label, value in zip(facts.labels, values, strict=True)
                )
            else:
                text = f"{values.max():.3f}  {row['predicted']:<10}"
            windows = ""
            if row["windows"] > 1:
                times = f"{row['start']:.2f}-{row['end']:.2f} s"
                windows = (
                    f"  ({row['windows']} windows)" if row["window"] is None else f"  ({times})"
                )
            file.write(printable(f"{text}  {row['id']}{windows}") + "\n")

    return write


def check_output(
    path: str | Path, suffixes: Sequence[str], key: str, inputs: Iterable[str | Path] = ()
) -> Path:
    """Check the path of an output file.

    Args:
        path: of the file.
        suffixes: of the supported formats, such as ``.csv``.
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
    if any(os.path.realpath(given) == os.path.realpath(path) for given in inputs):
        raise UserError(f"{key}: {path} is an input; name another file")
    return path


@contextlib.contextmanager
def writing(path: Path, key: str, facts: Facts) -> Iterator[Write]:
    """Yield a function that writes tables to a new file, which at the end replaces any file (or
    link target) at `path`.

    CSV and JSON lines hold the probability and the logit of each label by name (``p_angry``,
    ``logit_angry``; in JSON as objects), or the value and the logit of each dimension
    (``value_arousal``), and no embeddings; Parquet holds the tables as they are.

    Raises:
        UserError: naming `key`, if the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f"ser_hf-{secrets.token_hex(8)}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _opened(partial, path.suffix.lower(), facts) as write:
                yield write
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def _opened(path: Path, suffix: str, facts: Facts) -> Iterator[Write]:
    if suffix in (".csv", ".jsonl"):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield (csv_rows if suffix == ".csv" else json_lines)(file, facts)
    else:
        path.touch()
        with contextlib.ExitStack() as opened:
            writer: pq.ParquetWriter | None = None

            def write(table: pa.Table) -> None:
                nonlocal writer
                if writer is None:
                    writer = opened.enter_context(pq.ParquetWriter(path, table.schema))
                writer.write_table(table)

            yield write

"""Rows of what was heard, one a clip or one a window, and what their file says of where they come from."""

import contextlib
import csv
import dataclasses
import functools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from scipy.special import log_softmax
from tqdm import tqdm

from ..utils.cache import PARTIAL, InUse, is_marked
from ..utils.environment import __version__
from ..utils.errors import UserError
from .batches import ModelOutputs, probabilities
from .classifier import Classifier
from .inputs import Chunk

METADATA = b"ser_hf"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a table says of itself, as JSON under the key ``ser_hf`` of its schema.

    Args:
        model: as the user named it; `revision`: the commit on the Hub, or ``sha256:...`` of a folder's weights.
        sampling_rate: Hz that the model hears.
        labels: the names of the entries of probabilities and logits.
        window: seconds beyond which clips were heard in pieces, None if they never are.
        hop: seconds from one window to the next, where they overlap; None where they follow each other.
        multi_label: each label has a probability of its own, which do not add up to one.
        layer: the hidden state that embeddings are the mean of; None is input of the classifier's last layer.
        embedding: what that is, in words; None without embeddings.
        version: of ser_hf.
    """

    model: str
    revision: str | None
    sampling_rate: int
    labels: list[str]
    window: float | None
    hop: float | None
    multi_label: bool
    layer: int | None
    embedding: str | None
    version: str = __version__

    def to_metadata(self) -> dict[bytes, bytes]:
        return {METADATA: json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode()}


def read_facts(schema: pa.Schema) -> dict[str, Any]:
    """The facts in the schema of a table that was written here: ``read_facts(pyarrow.parquet.read_schema(path))``."""
    return json.loads(schema.metadata[METADATA])


def table(chunk: Chunk, heard: ModelOutputs, classifier: Classifier, by_window: bool, facts: Facts) -> pa.Table:
    """The rows of a chunk.

    Columns: `id`, `path`, `speaker` and `label` (null where unknown); `window`, its number from 0 (null where a row is
    several windows in one), and `windows`, how many the clip was heard in; `start` and `end`, seconds of the file
    (where silence is trimmed off or added to clips, counted on from where each begins); `predicted`; `probabilities`
    and `logits`, float32 (labels,) each; `embedding`, float32 (size,), where there are any. Lists are of one fixed
    size, so that they read as matrices.
    """
    counts = np.bincount(heard.rows, minlength=len(chunk))
    rows = heard if by_window else heard.by_clip(classifier.multi_label)
    own = [chunk.recordings[row] for row in rows.rows]
    windows = counts[rows.rows]
    if by_window:
        # Windows of a clip follow each other.
        numbers = np.arange(len(rows.rows)) - (np.cumsum(counts) - counts)[rows.rows]
    else:
        numbers = np.where(windows == 1, 0, -1)
    begins = np.array([recording.start for recording in own])  # of what was asked about, in its file
    starts = begins + rows.starts / chunk.sampling_rate
    ends = begins + (rows.starts + rows.lengths) / chunk.sampling_rate
    if chunk.places is not None:  # each entry of the chunk is a window
        numbers, windows, starts, ends = (np.array(values) for values in zip(*chunk.places, strict=True))
    shares = probabilities(rows.logits, classifier.multi_label)
    columns = {
        "id": pa.array([recording.id for recording in own], pa.string()),
        "path": pa.array([recording.path for recording in own], pa.string()),
        "speaker": pa.array([recording.speaker for recording in own], pa.string()),
        "label": pa.array([recording.label for recording in own], pa.string()),
        "window": pa.array(numbers, pa.int32(), mask=numbers < 0),
        "windows": pa.array(windows, pa.int32()),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(ends, pa.float64()),
        "predicted": pa.array([facts.labels[i] for i in rows.logits.argmax(axis=1)], pa.string()),
        "probabilities": of_lists(shares),
        "logits": of_lists(rows.logits),
    }
    if rows.vectors is not None:
        columns["embedding"] = of_lists(rows.vectors)
    return pa.table(columns).replace_schema_metadata(facts.to_metadata())


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of lists as float32 (rows, size)."""
    lists = table[column].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1)


def of_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """(rows, size) as a column of float32 lists."""
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


class Segment(NamedTuple):
    """A stretch of a recording with one answer: from `start` to `end`, in seconds of its file, and the mean
    probability of the label."""

    id: str
    start: float
    end: float
    predicted: str
    probability: float


def smooth(table: pa.Table) -> pa.Table:
    """Rows that do not overlap: for each stretch between bounds of windows, the mean of the windows that hear it.

    Probabilities and embeddings are means, logits those of the mean probabilities; that is how windows of speaker
    diarisation are put together too (Bredin et al., pyannote.audio, ICASSP 2020). Where one window alone hears a
    stretch, its answer stays, so that a smooth table stays as it is.

    Args:
        table: of windows of whole recordings, as `ser_hf.inference.outputs.table` makes it.
    """
    facts = read_facts(table.schema)
    starts, ends, indices, offsets, bounds = table["start"].to_numpy(), table["end"].to_numpy(), [], [], []
    for begin, end in _recordings(table):
        own = np.unique(np.concatenate([starts[begin:end], ends[begin:end]]))
        first = begin + np.searchsorted(ends[begin:end], own[:-1], side="right")
        last = begin + np.searchsorted(starts[begin:end], own[:-1], side="right")
        bounds += zip(own[:-1], own[1:], strict=True)
        for one, beyond in zip(first, last, strict=True):
            offsets.append(len(indices))
            indices += range(one, beyond)
    counts = np.diff([*offsets, len(indices)])[:, None]

    def mean_of_logs(values: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduceat(values[indices], offsets, axis=0) - np.log(counts)

    windows = matrix(table, "logits")
    exact = windows.astype(np.float64)
    if facts["multi_label"]:  # each label against its absence
        logits = mean_of_logs(-np.logaddexp(0, -exact)) - mean_of_logs(-np.logaddexp(0, exact))
    else:
        logits = mean_of_logs(log_softmax(exact, axis=1))
    heard_once = counts[:, 0] == 1
    rows = np.asarray(indices)[offsets]
    logits = np.where(heard_once[:, None], windows[rows], logits).astype(np.float32)
    columns = {name: table[name].combine_chunks().take(pa.array(rows)) for name in table.column_names}
    columns |= {
        "window": pa.nulls(len(rows), pa.int32()),
        "start": pa.array([start for start, _ in bounds], pa.float64()),
        "end": pa.array([end for _, end in bounds], pa.float64()),
        "predicted": pa.array([facts["labels"][i] for i in logits.argmax(axis=1)], pa.string()),
        "probabilities": of_lists(probabilities(logits, facts["multi_label"])),
        "logits": of_lists(logits),
    }
    if "embedding" in columns:
        columns["embedding"] = of_lists(np.add.reduceat(matrix(table, "embedding")[indices], offsets) / counts)
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def segments(table: pa.Table) -> Iterator[Segment]:
    """What the smoothed windows of whole recordings answer, stretches with the same answer as one."""
    table = smooth(table)
    best = matrix(table, "probabilities").max(axis=1)
    starts, ends, predicted = (table[name].to_pylist() for name in ("start", "end", "predicted"))
    seconds = np.subtract(ends, starts)
    for begin, end in _recordings(table):
        changes = [i for i in range(begin + 1, end) if predicted[i] != predicted[i - 1]]
        for first, beyond in zip([begin, *changes], [*changes, end], strict=True):
            probability = np.average(best[first:beyond], weights=seconds[first:beyond])
            name = table["id"][first].as_py()
            yield Segment(name, starts[first], ends[beyond - 1], predicted[first], float(probability))


def whole_recordings(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables that never end within a recording."""
    held: list[pa.Table] = []
    for table in tables:
        complete, rest = split_unfinished(pa.concat_tables([*held, table]))
        if len(complete):
            yield complete
        held = [rest]


def split_unfinished(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The recordings whose last window is there, and the windows of one whose last is yet to come."""
    window, windows = table["window"][-1].as_py(), table["windows"][-1].as_py()
    unfinished = 0 if window is None or window == windows - 1 else window + 1
    return table.slice(0, len(table) - unfinished), table.slice(len(table) - unfinished)


def _recordings(table: pa.Table) -> list[tuple[int, int]]:
    """(begin, end) of the rows of each recording."""
    ids = table["id"].to_pylist()
    begins = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    return list(zip(begins, [*begins[1:], len(ids)], strict=True))


# Okabe and Ito (2008), told apart by colour-blind readers too; more labels than that begin again, hatched.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")


def timeline_figure(table: pa.Table) -> Figure:
    """The smoothed probabilities of one recording's windows, one on top of the other, over its seconds. Labels whose
    probabilities do not add up to one are lines instead.

    Args:
        table: of all windows of one recording, as `ser_hf.inference.outputs.table` makes it.
    """
    facts, table = read_facts(table.schema), smooth(table)
    shares = matrix(table, "probabilities")
    bounds = np.append(table["start"].to_numpy(), table["end"].to_numpy()[-1])
    figure = Figure(figsize=(min(6 + (bounds[-1] - bounds[0]) / 30, 16), 4), layout="constrained")
    axes = figure.add_subplot()
    below = np.zeros(len(shares))
    for i, label in enumerate(facts["labels"]):
        colour, hatch = _COLOURS[i % len(_COLOURS)], "//" if i >= len(_COLOURS) else None
        if facts["multi_label"]:
            style = "--" if hatch else "-"
            axes.stairs(shares[:, i], bounds, baseline=None, color=colour, linestyle=style, linewidth=2, label=label)
            continue
        above = below + shares[:, i]
        axes.stairs(
            above, bounds, baseline=below, fill=True, color=colour, hatch=hatch, edgecolor="white", label=label
        )
        below = above
    axes.set(xlim=(bounds[0], bounds[-1]), ylim=(0, 1), xlabel="seconds", ylabel="probability")
    axes.set_title(os.path.basename(table["path"][0].as_py()), parse_math=False)  # a name may hold two dollar signs
    # The labels in the order in which they lie.
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right upper", frameon=False)
    return figure


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


Write = Callable[[pa.Table], None]
_NOT_YET_MARKED = 60  # seconds in which another command may be about to mark its file
PICTURES = (".png", ".svg")
_HEADS = (",".join(PLAIN).encode(), b'[\n{"id": ', b"[\n]")  # of the CSV and JSON files written here


def check_output(path: str | Path, suffixes: Sequence[str], key: str, inputs: Iterable[str | Path] = ()) -> Path:
    """The path, if a file of one of these kinds may come to stand there.

    Args:
        inputs: what is to be read, under whatever path or link. In such a folder only answers that were written here
            before are replaced: what else stands there may be its table of labels.

    Raises:
        UserError: naming `key`.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{key}: {path} ends with none of {', '.join(suffixes)}; give it the suffix of what it holds")
    if path.is_dir():
        raise UserError(f"{key}: {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{key}: {path} is no regular file; name another one")
    for given in inputs:
        if same_file(given, path):
            raise UserError(f"{key}: {path} is what is to be read; name another file")
        below = Path(os.path.realpath(given)) in Path(os.path.realpath(path)).parents
        if below and path.exists() and not _is_answers(path):
            raise UserError(
                f"{key}: {path} stands in {given}, which is to be read, and is not replaced; name another file"
            )
    return path


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, be it there or not."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_answers(path: Path) -> bool:
    try:
        if path.suffix.lower() == ".parquet":
            return METADATA in (pq.read_schema(path).metadata or {})
        with path.open("rb") as file:
            if path.suffix.lower() == ".jsonl":
                return list(json.loads(file.readline()))[: len(PLAIN)] == list(PLAIN)
            return file.read(max(map(len, _HEADS))).startswith(_HEADS)
    except (OSError, ValueError, TypeError):
        return False


@contextlib.contextmanager
def writing(path: Path, key: str, labels: Sequence[str]) -> Iterator[Write]:
    """A function that takes tables of `ser_hf.inference.outputs`; the file stands at the end, in place of any before,
    which may have been written meanwhile by another command. A link is left, and the file that it leads to written.

    CSV, JSON (a list of objects), JSON lines and Parquet hold the probability and the logit of each label by name
    (``p_angry``, ``logit_angry``; in JSON as objects), and no embeddings. The Parquet file of `key` ``--embeddings``
    holds the tables as they are. A picture (PNG, SVG) shows windows over time, of one recording.

    Raises:
        UserError: naming `key`, if the file cannot be written.
    """
    kinds = {
        ".csv": functools.partial(_text, csv_rows),
        ".json": _json,
        ".jsonl": functools.partial(_text, json_lines),
        ".parquet": _parquet if key == "--embeddings" else _flat_parquet,
        ".png": functools.partial(_picture, "png"),
        ".svg": functools.partial(_picture, "svg"),
    }
    target = Path(os.path.realpath(path))
    partial, mark = target.with_name(f"ser_hf-{secrets.token_hex(8)}{PARTIAL}"), None
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_left_over(target.parent)
            partial.touch()
            mark = InUse(partial)  # until this ends, or is killed
            with kinds[path.suffix.lower()](partial, labels) as write:
                yield write
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
            del mark
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be written: {error.strerror or error}") from None


def _clear_left_over(folder: Path) -> None:
    """Deletes what commands that were killed have left beside their output."""
    for partial in folder.glob(f"ser_hf-{'[0-9a-f]' * 16}{PARTIAL}"):
        with contextlib.suppress(OSError):  # deleted meanwhile, or somebody else's
            if time.time() - partial.stat().st_mtime > _NOT_YET_MARKED and not is_marked(partial):
                partial.unlink()


@contextlib.contextmanager
def _text(rows: Callable[..., Write], path: Path, labels: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield rows(file, labels)


@contextlib.contextmanager
def _json(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        between = "\n"

        def write(table: pa.Table) -> None:
            nonlocal between
            for row in records(table, labels):
                file.write(between + json.dumps(row, ensure_ascii=False))
                between = ",\n"

        yield write
        file.write("\n]\n")


@contextlib.contextmanager
def _parquet(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    with contextlib.ExitStack() as opened:
        writer: pq.ParquetWriter | None = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write


@contextlib.contextmanager
def _flat_parquet(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    with _parquet(path, labels) as write:
        yield lambda table: write(flat(table, labels))


def flat(table: pa.Table, labels: Sequence[str]) -> pa.Table:
    """The table without lists: a column for the probability and one for the logit of each label."""
    columns = [table[name] for name in PLAIN]
    for kind in ("probabilities", "logits"):
        columns += [pa.array(column) for column in matrix(table, kind).T]
    return pa.table(columns, names=flat_names(labels)).replace_schema_metadata(table.schema.metadata)


@contextlib.contextmanager
def _picture(kind: str, path: Path, labels: Sequence[str]) -> Iterator[Write]:
    # Imported late: answers as text must not wait for matplotlib.

    tables: list[pa.Table] = []
    yield tables.append
    timeline_figure(pa.concat_tables(tables)).savefig(path, format=kind, dpi=150)

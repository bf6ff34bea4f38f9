"""Rows to a CSV, JSON, Parquet or picture file, chunk by chunk; the file is there whole or not at all."""

import contextlib
import functools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..cache import PARTIAL, InUse, is_marked
from ..errors import UserError
from .tables import METADATA, matrix
from .text import PLAIN, csv_rows, flat_names, json_lines, records

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
    """A function that takes tables of `ser_hf.prediction.tables`; the file stands at the end, in place of any before,
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
    from .timeline_figure import timeline_figure

    tables: list[pa.Table] = []
    yield tables.append
    timeline_figure(pa.concat_tables(tables)).savefig(path, format=kind, dpi=150)

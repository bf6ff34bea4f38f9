"""Parquet files as tables of clips: columns by name, classes by their names, audio that is never held together."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from ..errors import UserError
from ..folders import require_utf8
from .files import is_lfs_pointer

BATCH = 64


def opened(path: Path) -> pq.ParquetFile:
    """A parquet file.

    Raises:
        UserError: for a Git LFS pointer, for a file that is no parquet, and for a path that is not UTF-8.
    """
    require_utf8(path)
    try:
        if is_lfs_pointer(path):
            raise UserError(
                f"{path}: a Git LFS pointer, not a parquet file; run `git lfs pull` in that clone, or load the data "
                "set by its id (corpus.dataset)"
            )
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())}") from None


def rows_of(table: pq.ParquetFile, wanted: Collection[str]) -> Iterator[dict[str, Any]]:
    """The cells of each row, of the plain columns and of those that are wanted whatever they hold. Lists, mappings and
    bytes of other columns (features, second recordings) are not read. Class numbers become their names."""
    names = _class_names(table)
    fields = [field.name for field in table.schema_arrow if field.name in wanted or _plain(field.type)]
    for batch in table.iter_batches(BATCH, columns=fields):
        for row in batch.to_pylist() if fields else [{}] * batch.num_rows:
            yield {name: _named(value, names.get(name)) for name, value in row.items()}


def audio_of(table: pq.ParquetFile, column: str) -> Iterator[tuple[int | None, str | None]]:
    """Of each row how many bytes of audio are inside (None: none, it is elsewhere), and the name of its file.

    Raises:
        UserError: for a column that holds no audio.
    """
    for batch in table.iter_batches(BATCH, columns=[column]):
        cells = batch.column(0)
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            yield from ((None, path) for path in cells.to_pylist())
            continue
        if not pa.types.is_struct(cells.type) or not {"bytes", "path"} <= {field.name for field in cells.type}:
            raise UserError(
                f"corpus.audio: the column {column!r} holds {cells.type}, not audio (bytes and path, or a path); name "
                "the one that does"
            )
        content, paths = pc.struct_field(cells, "bytes"), pc.struct_field(cells, "path")  # null where the row is
        sizes = pc.binary_length(content) if not pa.types.is_null(content.type) else content
        yield from zip(sizes.to_pylist(), paths.to_pylist(), strict=True)


def contents_of(table: pq.ParquetFile, column: str) -> Iterator[tuple[int, str | None, bytes]]:
    """Row, name and bytes of the audio that is inside."""
    row = 0
    for batch in table.iter_batches(BATCH, columns=[column]):
        for clip in batch.column(0).to_pylist():
            if isinstance(clip, dict) and clip["bytes"]:
                yield row, clip["path"], clip["bytes"]
            row += 1


def bytes_of(table: pq.ParquetFile, column: str) -> int:
    """What a column takes, unpacked."""
    groups = (table.metadata.row_group(i) for i in range(table.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)


def _plain(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return not pa.types.is_nested(kind) and not any(is_binary(kind) for is_binary in binary)


def _class_names(table: pq.ParquetFile) -> dict[str, list[str]]:
    """Names of the classes, of the columns that hold their numbers."""
    try:
        features = Features.from_arrow_schema(table.schema_arrow)
    except ValueError:  # features of a later version of datasets
        return {}
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None

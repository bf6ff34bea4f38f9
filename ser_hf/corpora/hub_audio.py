"""The column of audio of a dataset: embedded files, or arrays of samples with their rate."""

import dataclasses
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
from datasets import Audio, Dataset

from ..utils.cache import built_once, key_of
from ..utils.errors import UserError
from ..utils.unpacked import file_name, row_of, unpacked_folder

_SUFFIX_OF_SIGNATURE = {
    b"RIFF": ".wav",
    b"RF64": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"FORM": ".aiff",
}
_NO_AUDIO = "no embedded audio; correct the table, or set corpus.on_unknown: skip"
_LOWEST_RATE = 1000
_HIGHEST_RATE = 1_000_000
# Floats from -1 to 1 may be a little larger after processing, but not as large as integers are.
_LARGEST_SAMPLE = 100.0
# Type of integer samples -> the value that stands for 1.
_FULL_SCALE = {pa.int16(): 2.0**15, pa.int32(): 2.0**31}


@dataclasses.dataclass(frozen=True)
class AudioColumn:
    """The audio of one split.

    Attributes:
        rows: the split, with this column only.
        name: the name of the column.
        has_arrays: whether a cell has ``array`` and ``sampling_rate``; otherwise the bytes of a
            file and its path.
    """

    rows: Dataset
    name: str
    has_arrays: bool

    @classmethod
    def of(cls, rows: Dataset, name: str) -> "AudioColumn":
        """Select the column of audio of a split.

        Raises:
            UserError: if the column has no audio.
        """
        feature = rows.features[name]
        rows = rows.select_columns([name])
        if isinstance(feature, Mapping) and {"array", "sampling_rate"} <= feature.keys():
            _require_samples(rows, name)
            return cls(rows, name, has_arrays=True)
        try:
            return cls(rows.cast_column(name, Audio(decode=False)), name, has_arrays=False)
        except (TypeError, ValueError, NotImplementedError, ImportError, pa.ArrowException):
            raise UserError(
                f"corpus.audio: the column {name!r} holds {str(feature)[:100]}, not audio; "
                "a cell of audio has bytes and path, or array and sampling_rate"
            ) from None

    def _field(self, name: str) -> list[Any]:
        cells = self.rows.data.column(self.name)
        return pc.struct_field(cells, name).to_pylist()

    def names(self) -> list[str | None]:
        """The original file name of each row; None where there is none."""
        cells = self.rows.data.column(self.name)
        fields = {field.name for field in cells.type}
        return self._field("path") if "path" in fields else [None] * len(self.rows)

    def problems(self) -> list[str | None]:
        """Why the audio of each row cannot be used, with the remedy; None if it can."""
        cells = self.rows.data.column(self.name)
        if not self.has_arrays:
            sizes = pc.binary_length(pc.struct_field(cells, "bytes")).to_pylist()
            return [None if size else _NO_AUDIO for size in sizes]
        lengths = pc.list_value_length(pc.struct_field(cells, "array")).to_pylist()
        problems = []
        for length, rate in zip(lengths, self._field("sampling_rate"), strict=True):
            if not length:
                problems.append(_NO_AUDIO)
            elif not isinstance(rate, int | float) or not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
                problems.append(
                    f"its sampling_rate is {rate!s:.50}, expected {_LOWEST_RATE:,} to "
                    f"{_HIGHEST_RATE:,}; correct the table, or set corpus.on_unknown: skip"
                )
            else:
                problems.append(None)
        return problems

    def files(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield row, suffix and content of the audio file of each row that has audio.

        Raises:
            UserError: naming the row, for an array that holds no samples.
        """
        if self.has_arrays:
            usable = [problem is None for problem in self.problems()]
            for number, cell in enumerate(self.rows.data.column(self.name)):
                if usable[number]:
                    rate = int(cell["sampling_rate"].as_py())
                    yield number, ".wav", _as_wav(number, _samples(number, cell["array"]), rate)
            return
        for number, row in enumerate(self.rows):
            cell = row[self.name]
            if cell and cell["bytes"]:
                yield number, _suffix(cell["path"], cell["bytes"]), cell["bytes"]


def unpack(rows: Dataset, column: str, title: str) -> dict[int, Path]:
    """Write the embedded audio of a split to files in the cache, unless they exist.

    The name of the folder contains `title`, so that a message about a file shows its origin.

    Returns:
        Position of each row with audio -> its file, such as ``row_0000007.wav``.
    """
    audio = AudioColumn.of(rows, column)
    count = sum(problem is None for problem in audio.problems())
    folder = unpacked_folder(title, key_of([rows._fingerprint, column]))

    def check(folder: Path) -> None:
        present = sum(1 for _ in folder.iterdir())
        if present != count:
            raise ValueError(f"{present} of {count} files")

    with built_once(folder, check) as fresh:
        if fresh is not None:
            for number, suffix, content in audio.files():
                (fresh / file_name(number, suffix)).write_bytes(content)
    return {row_of(path): path for path in folder.iterdir()}


def _require_samples(rows: Dataset, column: str) -> None:
    """Raise a UserError unless the arrays of a column hold samples in one or more channels."""
    samples = rows.data.column(column).type.field("array").type
    depth = 0
    while pa.types.is_list(samples) or pa.types.is_large_list(samples):
        samples = samples.value_type
        depth += 1
    if depth not in (1, 2) or not (pa.types.is_floating(samples) or samples in _FULL_SCALE):
        raise UserError(
            f"corpus.audio: the column {column!r} has arrays of {samples}; samples are floats from "
            "-1 to 1, or integers of 16 or 32 bits, in one list or in one list for each channel"
        )


def _samples(row: int, cell: pa.ListScalar) -> np.ndarray:
    """The samples of an array as float32, (samples,) or (samples, channels)."""
    values = cell.values
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        channels = [channel.values for channel in values]
        lengths = {0 if channel is None else len(channel) for channel in channels}
        if len(lengths) > 1 or 0 in lengths:
            raise UserError(
                f"row {row} of the dataset: the channels of its array have different lengths; "
                "correct the table"
            )
        samples = np.stack([channel.to_numpy(zero_copy_only=False) for channel in channels])
        # A recording has more samples than channels, whichever comes first.
        samples = samples if samples.shape[0] > samples.shape[1] else samples.T
    else:
        samples = values.to_numpy(zero_copy_only=False)
    samples = samples.astype(np.float32) / _FULL_SCALE.get(kind, 1.0)
    largest = float(np.abs(samples).max())
    if largest > _LARGEST_SAMPLE:
        raise UserError(
            f"row {row} of the dataset: samples up to {largest:,.0f}, expected -1 to 1; "
            "store integers as int16 or int32, or divide them by 32,768"
        )
    return samples.astype(np.float32)


def _as_wav(row: int, samples: np.ndarray, rate: int) -> bytes:
    """A WAV file with exactly these samples."""
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, rate, subtype="FLOAT", format="WAV")
    except (RuntimeError, ValueError, TypeError):
        raise UserError(
            f"row {row} of the dataset: its array of shape {samples.shape} is no recording; "
            "correct the table"
        ) from None
    return file.getvalue()


def _suffix(name: str | None, content: bytes) -> str:
    """The suffix that fits the first bytes of the audio, otherwise the suffix of the original name.

    Without both it is ``.mp3``, because MP3 has no reliable signature.
    """
    for signature, suffix in _SUFFIX_OF_SIGNATURE.items():
        if content.startswith(signature):
            return suffix
    suffix_of_name = os.path.splitext(name or "")[1].lower()
    return suffix_of_name if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix_of_name) else ".mp3"

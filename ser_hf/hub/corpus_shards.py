"""A corpus as parquet with its audio inside: shards of bounded size, the same bytes whenever they are written."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, Dataset, Features, Value

from ..audio import WaveformStore, decode
from ..threads import in_order

SHARD_BYTES = 300_000_000
# A row group is read as a whole by whoever wants one row of it.
_GROUP_ROWS, _GROUP_BYTES = 100, 30_000_000
_FULL_SCALE = 32768
_AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MPEG": ".mp3", "MP3": ".mp3"}


class Encoded(NamedTuple):
    """A clip as it is published: the bytes of its file, the name that the file has, the hash of what they decode to
    (`ser_hf.audio.decode.Decoded.content_hash`), and how many samples were cut at full scale."""

    data: bytes
    name: str
    content_hash: str
    clipped: int


def as_flac(samples: np.ndarray, sampling_rate: int, name: str) -> Encoded:
    """Samples in [-1, 1], float32 (samples,), as 16-bit FLAC. What was 16-bit comes back to the bit; what was
    resampled or mixed is rounded (an error of 98 dB below full scale), and cut where it exceeds full scale."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    kept = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    # As whole numbers: libsndfile would scale floats by 32,767, and no clip would come back as it was.
    soundfile.write(buffer, kept.astype(np.int16), sampling_rate, format="FLAC", subtype="PCM_16")
    data = buffer.getvalue()
    # Of a sample at 1.0 exactly nothing is heard to be lost.
    clipped = int(np.count_nonzero((scaled > _FULL_SCALE) | (scaled < -_FULL_SCALE)))
    return Encoded(data, f"{name}.flac", decode(name, data).content_hash, clipped)


def encoded_clips(
    dataset: Dataset, store: WaveformStore, rows: Sequence[int], original: bool
) -> Iterator[tuple[int, Encoded]]:
    """Row and file of each of the rows, in their order: the recordings' own where `original`, else FLAC of `store`."""
    ids, sources = dataset["id"][:], dataset["audio"][:]

    def work(row: int) -> tuple[int, Encoded]:
        name = ids[row].partition("/")[2].replace("/", "_")
        if not original:
            return row, as_flac(store[row], store.sampling_rate, name)
        source = sources[row]
        data = source["bytes"] if source["bytes"] is not None else Path(source["path"]).read_bytes()
        suffix = _SUFFIXES.get(store.formats[row]) or Path(source["path"] or "").suffix
        return row, Encoded(data, f"{name}{suffix}", store.content_hashes[row], 0)

    return in_order(work, rows)


def features_of(dataset: Dataset, sampling_rate: int | None, original: bool) -> Features:
    """Of what is published: the corpus's columns with playable audio, and behind `content_hash`, where that is not the
    recording's, `recording_hash`, which is."""
    found: dict = {"audio": Audio(sampling_rate=sampling_rate)}
    for name, feature in dataset.features.items():
        if name != "audio":
            found[name] = feature
        if name == "content_hash" and not original:
            found["recording_hash"] = Value("string")
    return Features(found)


def write_shards(
    folder: Path,
    cell: str,
    plain: pa.Table,
    clips: Iterator[tuple[int, Encoded]],
    features: Features,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[int, int, int]:
    """Writes ``CELL-00000-of-00002.parquet`` and so on; returns how many clips have other samples than their
    recordings, how many were cut at full scale, and the bytes of all files.

    Args:
        plain: all columns but the audio, of all rows.
        clips: rows and their files, each encoded when it is asked for.
    """
    schema, shards, changed, cut = features.arrow_schema, [], 0, 0
    writer, size = None, 0
    for group in _groups(clips, min(_GROUP_BYTES, shard_bytes)):
        if writer is not None and size >= shard_bytes:
            writer.close()
            writer = None
        if writer is None:
            shards.append(folder / f"{cell}-{len(shards):05d}.partial")
            writer, size = pq.ParquetWriter(shards[-1], schema, use_content_defined_chunking=True), 0
        table = _table(plain, group, features)
        hashes = plain["content_hash"].to_pylist()
        changed += sum(clip.content_hash != hashes[row] for row, clip in group)
        cut += sum(clip.clipped > 0 for _, clip in group)
        writer.write_table(table)
        size += sum(len(clip.data) for _, clip in group)
    if writer is not None:
        writer.close()
    for number, path in enumerate(shards):
        path.rename(folder / f"{cell}-{number:05d}-of-{len(shards):05d}.parquet")
    return changed, cut, sum(path.stat().st_size for path in folder.glob(f"{cell}-?????-of-?????.parquet"))


def _groups(clips: Iterator[tuple[int, Encoded]], most: int) -> Iterator[list[tuple[int, Encoded]]]:
    group: list[tuple[int, Encoded]] = []
    size = 0
    for clip in clips:
        group.append(clip)
        size += len(clip[1].data)
        if len(group) == _GROUP_ROWS or size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(plain: pa.Table, group: Sequence[tuple[int, Encoded]], features: Features) -> pa.Table:
    own = plain.take([row for row, _ in group])
    columns = {name: own[name] for name in own.column_names}
    if "recording_hash" in features:  # as a corpus that was published before has it already
        columns.setdefault("recording_hash", own["content_hash"])
    columns["audio"] = pa.array([{"bytes": clip.data, "path": clip.name} for _, clip in group], _AUDIO)
    columns["content_hash"] = pa.array([clip.content_hash for _, clip in group], pa.string())
    schema = features.arrow_schema
    return pa.table([columns[name] for name in schema.names], schema=schema)

"""Bounds of compressed files of any origin, checked before they are unpacked.

A file of a few kilobytes can unpack to more than a disk holds. The size that a file unpacks to is
read from its headers (zip, tar, Parquet), or counted while it is decompressed without being kept
(gzip, bzip2, xz). Formats that Python cannot count are refused.
"""

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, one_line

# A file that unpacks to no more than SMALL_BYTES is accepted. A larger one may unpack to
# MOST_BYTES, and to MOST_RATIO times its size. Speech compresses to a half, text to a tenth.
SMALL_BYTES = 2**25
MOST_BYTES = 2**38
MOST_RATIO = 100
MOST_ROWS = 10**7
MOST_MEMBERS = 10**6

_BLOCK = 2**20
# The first bytes of a file -> its format, and a function that opens it for decompression.
_OPENERS: dict[bytes, tuple[str, Callable[[str], BinaryIO]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}
_NOT_COUNTED = {
    b"Rar!": "rar",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x04\x22\x4d\x18": "lz4",
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PARQUET = b"PAR1"
_TAR_SIGNATURE_START = 257
_TAR_SIGNATURE = b"ustar"
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
)


def require_bounded(path: str | Path) -> None:
    """Raise a UserError for a compressed file that unpacks to more than the bounds allow.

    The format is recognized by the first bytes of the file, as libraries recognize it, and not by
    its name. A file that is not compressed is accepted.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(_TAR_SIGNATURE_START + len(_TAR_SIGNATURE))
    for signature, name in _NOT_COUNTED.items():
        if start.startswith(signature):
            raise UserError(
                f"{path.name}: compressed as {name}, whose unpacked size is not known before; "
                "unpack it, and name the folder"
            )
    for signature, (name, opener) in _OPENERS.items():
        if start.startswith(signature):
            _require_bounded_stream(path, name, opener)
    if start.startswith(_ZIP):
        _require_bounded_zip(path)
    elif start[_TAR_SIGNATURE_START:] == _TAR_SIGNATURE:
        _require_bounded_tar(path)
    elif start.startswith(_PARQUET):
        require_bounded_table(path)


def require_bounded_table(path: Path) -> None:
    """Raise a UserError for a Parquet file with too many rows, or whose columns unpack to too much.

    A file in another format is accepted. A damaged file is accepted too: its reader names it.
    """
    with path.open("rb") as file:
        if file.read(len(_PARQUET)) != _PARQUET:
            return
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return
    if metadata.num_rows > MOST_ROWS:
        raise UserError(
            f"{path.name}: {metadata.num_rows:,} rows; a table of clips has {MOST_ROWS:,} at most"
        )
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    _require_size(path, sum(group.total_byte_size for group in groups))


def _require_bounded_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGED as error:
        raise _damaged(path, "zip", error) from None
    _require_members(path, len(members))
    _require_size(path, sum(member.file_size for member in members))


def _require_bounded_tar(path: Path) -> None:
    """Add up the sizes in the headers; a sparse file states a size that the archive lacks."""
    unpacked = 0
    count = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                unpacked += member.size
                count += 1
                _require_members(path, count)
    except (*_DAMAGED, tarfile.TarError) as error:
        if isinstance(error, UserError):
            raise
        raise _damaged(path, "tar", error) from None
    _require_size(path, unpacked)


def _require_bounded_stream(path: Path, name: str, opener: Callable[[str], BinaryIO]) -> None:
    """Count the bytes that a stream decompresses to, and stop at the bound."""
    unpacked = 0
    try:
        with opener(str(path)) as stream:
            while block := stream.read(_BLOCK):
                unpacked += len(block)
                _require_size(path, unpacked)
    except _DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise _damaged(path, name, error) from None


def _require_members(path: Path, count: int) -> None:
    if count > MOST_MEMBERS:
        raise UserError(f"{path.name}: more than {MOST_MEMBERS:,} files in one archive; divide it")


def _require_size(path: Path, unpacked: int) -> None:
    """Raise a UserError if the size that a file unpacks to is out of bounds."""
    most = max(SMALL_BYTES, min(MOST_BYTES, MOST_RATIO * path.stat().st_size))
    if unpacked > most:
        raise UserError(
            f"{path.name}: {_size(path.stat().st_size)} that unpack to more than {_size(most)} "
            f"(at most {MOST_RATIO} times the size, and {_size(MOST_BYTES)}); "
            "if you trust it, unpack it yourself and name the folder"
        )


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def _damaged(path: Path, name: str, error: BaseException) -> UserError:
    return UserError(
        f"{path.name}: damaged, not readable as {name} ({one_line(error)}); fetch it again"
    )

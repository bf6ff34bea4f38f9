"""Compressed files are bounded before they are unpacked."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ser_hf.utils import bounds
from ser_hf.utils.bounds import require_bounded
from ser_hf.utils.errors import UserError

MANY_ZEROS = bytes(2**26)


def write_zip(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.csv", content)


def write_tar(path, content):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("data.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_sparse_tar(path):
    """A sparse member states its size; its zeros are not in the archive."""
    member = tarfile.TarInfo("data.csv")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"00777777777\0"  # the real size, in octal digits
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path.write_bytes(bytes(header) + bytes(1024))


STREAMS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_unpacks_to_too_much_is_refused(tmp_path, name):
    path = tmp_path / "data.csv"  # libraries look at the content, not at the name
    path.write_bytes(STREAMS[name](MANY_ZEROS))
    with pytest.raises(UserError, match=r"^data\.csv: .* unpack to more than .* MiB"):
        require_bounded(path)
    path.write_bytes(STREAMS[name](b"path,label\n" * 999))
    require_bounded(path)


@pytest.mark.parametrize("name", STREAMS)
def test_a_damaged_stream_is_named(tmp_path, name):
    path = tmp_path / "data.gz"
    path.write_bytes(STREAMS[name](b"path,label\n" * 999)[:40])
    with pytest.raises(UserError, match=rf"^data\.gz: damaged, not readable as {name}"):
        require_bounded(path)


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path):
    write_zip(tmp_path / "data.zip", MANY_ZEROS)
    with pytest.raises(UserError, match=r"^data\.zip: .* unpack it yourself"):
        require_bounded(tmp_path / "data.zip")
    write_zip(tmp_path / "data.zip", b"path,label\n" * 999)
    require_bounded(tmp_path / "data.zip")


def test_a_tar_is_accepted_unless_it_states_more_than_it_holds(tmp_path):
    write_tar(tmp_path / "data.tar", MANY_ZEROS)
    require_bounded(tmp_path / "data.tar")
    write_sparse_tar(tmp_path / "sparse.tar")
    with pytest.raises(UserError, match=r"^sparse\.tar: "):
        require_bounded(tmp_path / "sparse.tar")


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_MEMBERS", 0)
    write_zip(tmp_path / "data.zip", b"")
    write_tar(tmp_path / "data.tar", b"")
    for name in ("data.zip", "data.tar"):
        with pytest.raises(UserError, match=rf"^{name}: more than 0 files"):
            require_bounded(tmp_path / name)


@pytest.mark.parametrize(
    "start", [b"Rar!\x1a\x07\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"]
)
def test_formats_that_cannot_be_counted_are_refused(tmp_path, start):
    (tmp_path / "data").write_bytes(start + bytes(99))
    with pytest.raises(UserError, match=r"^data: compressed as .*; unpack it"):
        require_bounded(tmp_path / "data")


def test_a_parquet_file_with_too_many_rows_or_bytes_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"label": np.zeros(2**24 - 1, dtype=np.int8)}), path)
    with pytest.raises(UserError, match=r"^train\.parquet: 16,777,215 rows"):
        require_bounded(path)

    monkeypatch.setattr(bounds, "SMALL_BYTES", 2**16)
    table = pa.table({"label": [bytes(2**20)]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match=r"^train\.parquet: .* unpack to more than"):
        require_bounded(path)


def test_other_files_and_damaged_tables_are_left_to_their_readers(tmp_path):
    for content in (b"", b"path,label\n", b"PAR1 and nothing else", b"RIFF"):
        (tmp_path / "file").write_bytes(content)
        require_bounded(tmp_path / "file")

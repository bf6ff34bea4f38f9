"""What an archive holds, one member after the other, in bounded memory and with one kind of complaint.

`zipfile` and `tarfile` read headers of any announced length at once, so that an archive of kilobytes can ask for
gigabytes: here those lengths are bounded, far above what any release has. What the two modules raise for bytes that
are cut off or flipped is theirs and of the modules below (zlib.error, lzma.LZMAError, struct.error, OverflowError, an
OSError of a place before the file's start ...), so that whatever comes up while an archive is read means: damaged.
"""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .line import SourceFailed, spoken

# The list of a zip's members, which is read in one piece: RAVDESS's has 0.2 MB.
_DIRECTORY_BYTES = 16 << 20
# What stands before a member of a tar (a long name, the fields of pax): all of a release's are below 1 kB.
_HEADER_BYTES = 64 << 10
_HEADERS_BYTES = 64 << 20
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Member(NamedTuple):
    """A member of an archive: name, announced size in bytes, whether it is a folder, what is wrong with it (None:
    nothing), its content."""

    name: str
    size: int
    folder: bool
    wrong: str | None
    open: Callable[[], BinaryIO]


@contextmanager
def reading(title: str) -> Iterator[None]:
    """Tells whatever goes wrong inside as a damage of the archive `title`.

    Raises:
        SourceFailed: for every exception but its own.
    """
    try:
        yield
    except SourceFailed:
        raise
    except Exception as error:
        raise SourceFailed(f"{title}: damaged ({spoken(error) or type(error).__name__})") from None


class Content:
    """What a file or a member holds; a fault in it is the source's, whatever the modules below call it."""

    def __init__(self, stream: BinaryIO, title: str):
        self._stream = stream
        self._title = title

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        with reading(self._title):
            return self._stream.read(size)


@contextmanager
def opened(archive: Path, title: str) -> Iterator[Callable[[], Iterator[Member]]]:
    """A function that goes through the members of a zip or tar file.

    Raises:
        SourceFailed: if it is neither, damaged, or made to fill the memory; the function too.
    """
    try:
        file = archive.open("rb")
    except OSError as error:
        raise SourceFailed(f"{title}: cannot be read ({error.strerror})") from None
    with file:
        with reading(title):
            found = _open_zip(file, title) or _open_tar(file, title)
        if found is None:
            file.seek(0)
            begins = file.read(24)
            if begins.startswith(b"PK"):
                raise SourceFailed(f"{title}: damaged (a zip file whose end is missing)")
            # Often the page that a server shows in place of a file.
            begins = begins.decode("ascii", "backslashreplace")
            raise SourceFailed(f"{title}: no zip or tar archive; it begins with {begins!r}")
        package, members = found
        with package:
            yield lambda: _told(members, title)


def _told(members: Callable[[], Iterator[Member]], title: str) -> Iterator[Member]:
    with reading(title):
        going = members()
    while True:
        with reading(title):
            member = next(going, None)
        if member is None:
            return
        yield member


def _open_zip(file: BinaryIO, title: str) -> tuple[zipfile.ZipFile, Callable[[], Iterator[Member]]] | None:
    if not zipfile.is_zipfile(file):
        return None
    package = zipfile.ZipFile(_Bounded(file, title))
    return package, lambda: (_of_zip(package, info) for info in package.infolist())


def _open_tar(file: BinaryIO, title: str) -> tuple[tarfile.TarFile, Callable[[], Iterator[Member]]] | None:
    file.seek(0)
    try:
        package = tarfile.open(fileobj=file, tarinfo=type("Info", (_BoundedInfo,), {"title": title}))  # noqa: SIM115
    except tarfile.TarError:
        return None
    return package, lambda: (_of_tar(package, info) for info in package)


def _of_zip(package: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind, wrong = stat.S_IFMT(info.external_attr >> 16), None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        wrong = "is a link or a device"
    elif info.compress_type not in _PACKINGS:
        # zipfile unpacks bzip2 and LZMA block by block, however large a block becomes.
        wrong = f"is packed as no release is (method {info.compress_type}); unpack it yourself and name the folder"
    # zipfile cuts a name at a zero byte; `orig_filename` is all of it.
    return Member(info.orig_filename, info.file_size, info.is_dir(), wrong, lambda: package.open(info))


def _of_tar(package: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    wrong = None if info.isreg() and not info.issparse() else "is a link or a device"
    return Member(info.name, info.size, info.isdir(), wrong, lambda: package.extractfile(info))


class _Bounded(io.RawIOBase):
    """A file of which no piece is read that is longer than a list of members may be."""

    def __init__(self, file: BinaryIO, title: str):
        self._file = file
        self._title = title

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY_BYTES:
            raise SourceFailed(f"{self._title}: refused, its list of members has {size:,} bytes")
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class _BoundedInfo(tarfile.TarInfo):
    """A member of a tar whose headers are bounded, one by one and together. Sparse files, whose maps of holes are read
    into memory too, are refused with them: no release has any."""

    title = ""
    _EXTENDING = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")

    # The method that tarfile's source names for subclasses to extend.
    def _proc_member(self, package: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise SourceFailed(f"{self.title}: refused, its member {self.name[:200]!r} is a link or a device")
        if self.type in self._EXTENDING:
            package.extended = getattr(package, "extended", 0) + self.size
            if self.size > _HEADER_BYTES or package.extended > _HEADERS_BYTES:
                raise SourceFailed(
                    f"{self.title}: refused, its headers have {max(self.size, package.extended):,} bytes"
                )
        return super()._proc_member(package)

    def _proc_gnusparse_10(self, *_) -> None:
        raise SourceFailed(f"{self.title}: refused, its member {self.name[:200]!r} is a link or a device")

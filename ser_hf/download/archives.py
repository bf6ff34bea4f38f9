"""Archives that are not trusted: no name in them decides where anything is written, and a bad one is refused whole.

What is wanted of an archive is known by size and SHA-256 (`shelf.Shelf`); its members' names are read for messages
only. An archive with members that no release has (absolute paths, ``..``, links, devices, two of one name, more bytes
than can be right) was made or altered by somebody else, and is refused before a byte of it is unpacked.
"""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple

from .line import SourceFailed
from .shelf import Shelf

_MEMBERS = 200_000
# What the two modules raised for archives with bytes cut off or flipped.
_DAMAGED = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, tarfile.TarError)


class Member(NamedTuple):
    """A member of an archive: name, announced size in bytes, what is wrong with it (None: nothing), its content."""

    name: str
    size: int
    wrong: str | None
    open: Callable[[], BinaryIO]


def unpack(archive: Path, shelf: Shelf, most: int, title: str | None = None) -> None:
    """Takes what is wanted out of a zip or tar file.

    Args:
        most: bytes that its members may announce together.
        title: what the archive is called in messages, by default its path.

    Raises:
        SourceFailed: if it is no archive, damaged, or one that must not be trusted.
    """
    title = title or str(archive)
    try:
        with _opened(archive, title) as members:
            _require_honest(title, members(), most)
        with _opened(archive, title) as members:
            for member in members():
                if shelf.may_want(member.size):
                    with member.open() as stream:
                        shelf.take(stream, member.size)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the archive
        raise SourceFailed(f"{title}: damaged ({' '.join(str(error).split())})") from None


@contextmanager
def _opened(archive: Path, title: str) -> Iterator[Callable[[], Iterator[Member]]]:
    """A function that goes through the members; folders are left out, as nothing is made of them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield lambda: (_of_zip(file, info) for info in file.infolist() if not info.is_dir())
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            yield lambda: (_of_tar(file, info) for info in file if not info.isdir())
    else:
        with archive.open("rb") as file:
            begins = file.read(24)
        if begins.startswith(b"PK"):
            raise SourceFailed(f"{title}: damaged (a zip file whose end is missing)")
        # Often the page that a server shows in place of a file.
        begins = begins.decode("ascii", "backslashreplace")
        raise SourceFailed(f"{title}: no zip or tar archive; it begins with {begins!r}")


def _of_zip(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    wrong = None if kind in (0, stat.S_IFREG) else "is a link or a device"
    # zipfile cuts a name at a zero byte; `orig_filename` is all of it.
    return Member(info.orig_filename, info.file_size, wrong, lambda: file.open(info))


def _of_tar(file: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    wrong = None if info.isreg() and not info.issparse() else "is a link or a device"
    return Member(info.name, info.size, wrong, lambda: file.extractfile(info))


def _require_honest(title: str, members: Iterator[Member], most: int) -> None:
    total, names = 0, set()
    for member in members:
        total += member.size
        wrong = member.wrong or _wrong_name(member.name)
        if member.name in names:
            wrong = "stands in it twice"
        names.add(member.name)
        if wrong:
            raise SourceFailed(f"{title}: refused, its member {member.name!r} {wrong}")
        if total > most:
            raise SourceFailed(f"{title}: refused, it would unpack to more than {most:,} bytes")
        if len(names) > _MEMBERS:
            raise SourceFailed(f"{title}: refused, it has more than {_MEMBERS:,} members")


def _wrong_name(name: str) -> str | None:
    # As Windows reads it, which takes both slashes, and a drive, for more than a name.
    path = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or path.drive or path.root:
        return "has an absolute path"
    if ".." in path.parts:
        return "leaves its folder (..)"
    return "has a zero byte in its name" if "\0" in name else None

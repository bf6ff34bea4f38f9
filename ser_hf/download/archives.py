"""Archives that are not trusted: no name in them decides where anything is written, and a bad one is refused whole.

What is wanted of an archive is known by size and SHA-256 (`shelf.Shelf`); its members' names are read for messages
only. An archive with members that no release has (absolute paths, ``..``, links, devices, two of one name, more bytes
than can be right) was made or altered by somebody else, and is refused before a byte of it is unpacked; so is one
whose headers or packing would take memory without bounds (`members`).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from .line import SourceFailed
from .members import Content, Member, opened, reading
from .shelf import Shelf

# Folders too. CREMA-D's whole repository has 30,000 files.
_MEMBERS = 100_000


def unpack(archive: Path, shelf: Shelf, most: int, title: str | None = None) -> None:
    """Takes what is wanted out of a zip or tar file.

    Args:
        most: bytes that its members may announce together.
        title: what the archive is called in messages, by default its path.

    Raises:
        SourceFailed: if it is no archive, damaged, or one that must not be trusted.
        OSError: of the disk that the shelf is on, never of the archive.
    """
    title = title or str(archive)
    with opened(archive, title) as members:
        _require_honest(title, members(), most)
    with opened(archive, title) as members:
        for member in members():
            if not member.folder and shelf.may_want(member.size):
                with reading(title):
                    stream = member.open()
                with stream:
                    shelf.take(Content(stream, title), member.size)


def _require_honest(title: str, members: Iterator[Member], most: int) -> None:
    total, names = 0, set()
    for number, member in enumerate(members, start=1):
        if number > _MEMBERS:
            raise SourceFailed(f"{title}: refused, it has more than {_MEMBERS:,} members")
        if member.folder:
            continue  # nothing is made of them
        total += member.size
        wrong = member.wrong or _wrong_name(member.name)
        if member.name in names:
            wrong = "stands in it twice"
        names.add(member.name)
        if wrong:
            raise SourceFailed(f"{title}: refused, its member {member.name[:200]!r} {wrong}")
        if total > most:
            raise SourceFailed(f"{title}: refused, it would unpack to more than {most:,} bytes")


def _wrong_name(name: str) -> str | None:
    # As Windows reads it, which takes both slashes, and a drive, for more than a name.
    path = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or path.drive or path.root:
        return "has an absolute path"
    if ".." in path.parts:
        return "leaves its folder (..)"
    return "has a zero byte in its name" if "\0" in name else None

"""Walking through folders of recordings, with links and without meeting anything twice."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import UserError


def folders_below(
    root: Path, refuse: Callable[[OSError], None], hidden: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `root` on and the names of the files in it, whatever order the file system has them in.

    Links to folders are followed, and a folder to which several paths lead is met once, by the first of them. Hidden
    folders are left out: version control keeps copies of its own there; and so are hidden files: macOS leaves
    `._name.wav` beside each file that it copies to a foreign disk.

    Args:
        refuse: hears of a folder that cannot be read, and raises what is to be said of it.
        hidden: takes those as well.
    """
    met = set()
    for folder, inside, names in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in met:  # by another link, or a link to what it lies in
            inside.clear()
            continue
        met.add(real)
        inside[:] = sorted(name for name in inside if hidden or not name.startswith("."))
        yield folder, [name for name in names if hidden or not name.startswith(".")]


def require_utf8(path: str | Path) -> None:
    """Refuses a path with bytes that are no UTF-8, as tables of clips hold text and libsndfile and Arrow read it.

    Raises:
        UserError: naming it, with these bytes as they are written in Python.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: its path is not UTF-8, which tables of clips cannot hold; rename it") from None

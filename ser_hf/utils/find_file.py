"""Finds the files that tables name, also where a name is in another Unicode form."""

import os
from pathlib import Path

from .names import compared, composed


class FileFinder:
    """Finds files by the paths in a table.

    A path is found if it exists, if it has backslashes in place of slashes, or if the names on the
    disk differ from it in their Unicode form only (as on disks and in archives of macOS). Each
    folder is listed once, so one finder is for one reading of a table.
    """

    def __init__(self) -> None:
        self._names_of_folder: dict[str, list[str]] = {}
        self._composed_names: dict[str, dict[str, str]] = {}

    def find(self, path: Path) -> Path:
        """The path of the file; the path itself if there is no such file."""
        if os.path.isfile(path):  # False also for a path that is too long, without an error
            return path
        candidates = [path]
        if "\\" in str(path):
            candidates.append(_with_slashes(path))
        for candidate in candidates:
            existing = self._in_other_form(candidate)
            if existing is not None:
                return existing
        return path

    def similar(self, path: Path) -> str | None:
        """An existing file that has the same path in other letters, from the first difference on.

        The names differ in case, width, invisible characters or the way of writing a number.
        """
        path = _with_slashes(path)
        existing = Path(path.anchor)
        differing: list[str] = []
        for part in path.relative_to(path.anchor).parts:
            name = part
            if not os.path.lexists(existing / part):
                name = self._similar_name(str(existing), part)
                if name is None:
                    return None
            existing = existing / name
            if differing or name != part:
                differing.append(name)
        if not differing or not os.path.isfile(existing):
            return None
        return "/".join(differing)

    def _similar_name(self, folder: str, wanted: str) -> str | None:
        """The first name in a folder that is the same name in other letters."""
        for name in self._names(folder):
            if compared(name) == compared(wanted):
                return name
        return None

    def _in_other_form(self, path: Path) -> Path | None:
        """The existing file whose path differs from `path` in its Unicode form only."""
        if os.path.isfile(path):
            return path
        if str(path).isascii():
            return None  # no other form of it exists
        existing = Path(path.anchor)
        for part in path.relative_to(path.anchor).parts:
            step = existing / part
            if not os.path.lexists(step):
                name = self._names_by_form(str(existing)).get(composed(part))
                if name is None:
                    return None
                step = existing / name
            existing = step
        return existing if os.path.isfile(existing) else None

    def _names(self, folder: str) -> list[str]:
        """The names in a folder; none if it cannot be read."""
        if folder not in self._names_of_folder:
            try:
                names = sorted(os.listdir(folder))
            except (OSError, ValueError):
                names = []
            self._names_of_folder[folder] = names
        return self._names_of_folder[folder]

    def _names_by_form(self, folder: str) -> dict[str, str]:
        """Composed name -> the name on the disk, for all names in a folder."""
        if folder not in self._composed_names:
            self._composed_names[folder] = {composed(name): name for name in self._names(folder)}
        return self._composed_names[folder]


def _with_slashes(path: Path) -> Path:
    """The path with slashes in place of backslashes, which Windows writes."""
    return Path(os.path.normpath(str(path).replace("\\", "/")))

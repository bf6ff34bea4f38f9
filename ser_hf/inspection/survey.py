"""Which audio files lie below a folder, and what each of them is to the corpus."""

import dataclasses
import os
from pathlib import Path, PurePath
from typing import Any, Literal

from ..corpora import CORPORA
from ..corpora.files import audio_paths, is_lfs_pointer
from ..corpora.schema import Clip
from ..errors import UserError

Role = Literal["clip", "left out", "unknown name", "LFS pointer", "absent"]

# In the reason that a parser without `read_name` gives for a name outside its grammar.
_UNKNOWN = "file name"


@dataclasses.dataclass(frozen=True)
class Found:
    """One audio file. `shown` is its path below the root with nothing that cannot be printed; `clip` is None where
    the name is outside the corpus's grammar; `reason` says why a file is not among the clips. What the corpus's own
    tables name, and what is not a clip there (most often for want of the file), is ``absent``."""

    path: str
    shown: str
    role: Role
    clip: Clip | None = None
    reason: str | None = None

    @property
    def audio(self) -> bool:
        """Whether there is anything to decode."""
        return self.role not in ("LFS pointer", "absent")


def survey(name: str, root: str | Path | None, options: dict[str, Any]) -> list[Found]:
    """Every audio file of the corpus at `root`, in the order of the names: the clips and what is not one.

    Raises:
        UserError: if the folder is missing or holds no audio at all.
    """
    pointers = _pointers(root)
    module = CORPORA[name]
    try:
        listing = module.parse(root=root, on_unknown="skip", **options)
    except UserError:
        # The parsers refuse a folder with Git LFS pointers, which is what somebody who inspects wants to be told.
        if not pointers or not hasattr(module, "read_name"):
            raise
        return _read_by_name(name, Path(root), pointers)
    base = _base(root, [clip.path for clip in listing.clips])
    found = [Found(clip.path, shown(clip.path, base), "clip", clip) for clip in listing.clips]
    for path, reason in listing.skipped:
        clip = read_name(name, path)
        unknown = clip is None if hasattr(module, "read_name") else _UNKNOWN in reason
        role = "unknown name" if unknown else "left out" if os.path.isfile(path) else "absent"
        found.append(Found(path, shown(path, base), role, clip, reason))
    return sorted(found, key=lambda file: file.path)


def read_name(name: str, path: str) -> Clip | None:
    """The clip that a path names in the corpus's own grammar; None outside it, or where file names say nothing."""
    reader = getattr(CORPORA[name], "read_name", None)
    return reader(PurePath(path)) if reader else None


def shown(path: str, base: Path | None) -> str:
    """A path as people and JSON can take it: below `base` where it lies there, every odd byte escaped."""
    if base is not None and Path(path).is_relative_to(base):
        path = Path(path).relative_to(base).as_posix()
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _read_by_name(name: str, root: Path, pointers: set[str]) -> list[Found]:
    found = []
    for path in map(str, audio_paths(root)):
        clip = read_name(name, path)
        if path in pointers:
            found.append(Found(path, shown(path, root), "LFS pointer", clip, "a Git LFS pointer, not audio"))
        elif clip is None:
            reason = f"not a file name of {CORPORA[name].TITLE}"
            found.append(Found(path, shown(path, root), "unknown name", None, reason))
        else:
            found.append(Found(path, shown(path, root), "clip", clip))
    return found


def _pointers(root: str | Path | None) -> set[str]:
    if root is None or not Path(root).is_dir():
        return set()
    return {str(path) for path in audio_paths(Path(root)) if _is_pointer(path)}


def _is_pointer(path: Path) -> bool:
    try:
        return is_lfs_pointer(path)
    except OSError:  # may not be read: the measurement will say so
        return False


def _base(root: str | Path | None, paths: list[str]) -> Path | None:
    """The folder that paths are shown below: the root, a table's folder, or what generated clips have in common."""
    if root is not None:
        return Path(root) if Path(root).is_dir() else Path(root).parent
    try:
        return Path(os.path.commonpath(paths)) if paths else None
    except ValueError:  # corpora of a mixture, some below the working folder and some not
        return None

"""Recordings in formats that are not read here: told with what to do, never passed over silently."""

from pathlib import Path

from ..folders import folders_below

SUFFIXES = {".m4a", ".mp4", ".opus", ".webm", ".aac", ".wma", ".amr", ".3gp", ".mkv", ".avi", ".mov"}


def other_recordings(root: Path) -> list[Path]:
    """The files below `root` with the name of such a format, sorted; folders that cannot be read are passed over."""
    found = []
    for folder, names in folders_below(root, lambda error: None):
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    return sorted(found)


def converted(path: Path) -> str:
    """What to do about one of them."""
    return f"{path.suffix} is not read here; convert it: ffmpeg -i {path} -vn {path.with_suffix('.wav')}"

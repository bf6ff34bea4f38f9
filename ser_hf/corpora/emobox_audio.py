"""The audio that a line of EmoBox's metadata means, among the files of a corpus as its owners release it.

Names alone do not always tell: CASIA calls its clips ``liu/angry/201.wav`` and ``wang/angry/201.wav``. So where
EmoBox's list has a name several times, the folders that tell one from the other are demanded, counted from the file
upwards; a clip that lacks them is absent, and is not replaced by another speaker's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import UserError
from .files import audio_files
from .other_formats import converted, other_recordings
from .table_rows import Row


class ListedAudio:
    """The audio below a folder, by the paths that EmoBox lists.

    Args:
        root: the folder (`corpus.audio_root`).
        name: the corpus's.
        listed: every path of the list, to know which names stand in it several times.

    Raises:
        UserError: naming `corpus.audio_root`, where it is no folder or holds nothing that can be read.
    """

    def __init__(self, root: Path, name: str, listed: Iterable[PurePosixPath]):
        if not root.is_dir():
            raise UserError(f"corpus.audio_root: {root} is not a folder; it should hold the audio of {name}")
        self._others = {path.stem: path for path in other_recordings(root)}
        self._root = root
        self._by_stem = _by_stem(_files(root, name, self._others))
        self._listed = _by_stem(set(listed))

    def find(self, wav: PurePosixPath) -> Path | None:
        """The file with the stem of `wav` whose folders agree with it furthest from the end, and at least as far as
        tells it from others of the list; None without one.

        Raises:
            UserError: where two agree as far.
        """
        needed = len(self._telling(wav))
        best: list[Path] = []
        furthest = needed
        for path in self._by_stem.get(wav.stem, ()):
            far = _agreeing(_folders(path), _folders(wav))
            if far > furthest:
                best, furthest = [], far
            if far == furthest:
                best.append(path)
        if len(best) > 1:
            raise UserError(f"{best[1]}: as near to EmoBox's {wav} as {best[0]}; remove one of the two")
        return best[0] if best else None

    def absent(self, wav: PurePosixPath) -> str:
        """Why there is none, and what to do."""
        place = "/".join([*self._telling(wav)[::-1], wav.stem])
        other = self._others.get(wav.stem)
        remedy = f"{other.name}: {converted(other)}" if other else "complete it"
        return f"no audio {place} below {self._root}, in any format; {remedy}, or set corpus.on_unknown: skip"

    def _telling(self, wav: PurePosixPath) -> tuple[str, ...]:
        """The folders that tell `wav` from others of its name in the list, from the file upwards."""
        own = _folders(wav)
        rivals = (_folders(other) for other in self._listed[wav.stem])
        return own[: max((_agreeing(own, rival) + 1 for rival in rivals if rival != own), default=0)]


def require_one_row_each(rows: Sequence[Row]) -> None:
    """Refuses a file that two rows take, unless they are parts of it."""
    taken: dict[Path, str] = {}
    for row in rows:
        if not row.absent and row.piece is None and taken.setdefault(row.path, row.where) != row.where:
            raise UserError(f"{row.where}: {row.path} is the audio of {taken[row.path]} already; mend the list")


def times_of(content: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """Start and end of a clip that is part of a recording, in seconds; None where it is a whole one.

    Raises:
        UserError: naming the line, for times that are no numbers.
    """
    times = [content.get(field) for field in ("start_time", "end_time")]
    if times == [None, None]:
        return None
    for time in times:
        if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
            raise UserError(
                f"{where}: start_time and end_time should be numbers of seconds, got {times[0]!r} to {times[1]!r}"
            )
    return float(times[0]), float(times[1])


def _files(root: Path, name: str, others: Mapping[str, Path]) -> list[Path]:
    try:
        return audio_files(root, name)
    except UserError as error:
        told = str(error).replace("corpus.root: ", "corpus.audio_root: ", 1)
        first = min(others.values(), default=None)
        raise UserError(
            f"{told}; {first.name}: {converted(first)}" if first and "no audio file" in told else told
        ) from None


def _by_stem(paths: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def _folders(path: Path | PurePosixPath) -> tuple[str, ...]:
    """From the file upwards."""
    return path.parts[:-1][::-1]


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many agree, from the first on."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))

"""Tab-delimited text that ELAN exports: a tier, a participant, times and the value of a line each.

    emotion	anna	00:00:12.340	12.34	00:00:15.200	15.2	00:00:02.860	2.86	angry

ELAN's dialog chooses which times are written, and in which of three forms: hours, minutes and
seconds; seconds with decimals; milliseconds. A line has its begin times, its end times and perhaps
its durations, in the same forms. A header is optional.

Source: ELAN, Max Planck Institute for Psycholinguistics, The Language Archive,
https://archive.mpi.nl/tla/elan
"""

import re
from pathlib import Path

from ..errors import UserError
from ..tables import decoded_text
from .turns import Interval, Turn, timed, turns_of_tiers

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:[.,]\d+)?)", re.ASCII)
_SECONDS = re.compile(r"\d+[.,]\d+", re.ASCII)
_MILLISECONDS = re.compile(r"\d+", re.ASCII)
_TOLERANCE = 0.011  # forms of one time are rounded differently


def is_elan(text: str) -> bool:
    """Whether a line among the first two of a text has a name, times and a value."""
    return any(_times(line.split("\t")) is not None for line in text.splitlines()[:2])


def read_elan(path: Path, tier: str | None = None, speaker_tier: str | None = None) -> list[Turn]:
    """Read the turns of exported text (see `turns_of_tiers`); participants are speakers.

    Raises:
        UserError: naming the line that has no times, or wrong ones.
    """
    tiers: dict[str, list[Interval]] = {}
    participants: dict[str, str] = {}
    for number, line in enumerate(decoded_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        cells = line.split("\t")
        times = _times(cells)
        if times is None:
            if number == 1:  # the header
                continue
            raise UserError(
                f"{where}: {line[:60]!r} has no begin and end time; export tab-delimited text with "
                "both"
            )
        name = cells[0].strip()
        if len(cells) > 1 and cells[1].strip() and _seconds(cells[1]) is None:
            participants.setdefault(name, cells[1].strip())
        intervals = tiers.setdefault(name, [])
        text = cells[-1].strip()
        if text:
            intervals.append(Interval(timed(where, *times), text, where))
    return turns_of_tiers(path, tiers, tier, speaker_tier, participants)


def _times(cells: list[str]) -> tuple[float, float] | None:
    """The begin and the end of a line in seconds; None if it has no times."""
    times = []
    for cell in cells[1:-1]:
        seconds = _seconds(cell)
        if seconds is not None:
            times.append(seconds)
    count = len(times)
    if count % 3 == 0 and count:
        forms = count // 3
        begin = times[0]
        end = times[forms]
        if abs(begin + times[2 * forms] - end) < _TOLERANCE:
            return begin, end
    if count % 2 == 0 and count:
        return times[0], times[count // 2]
    return None


def _seconds(cell: str) -> float | None:
    """The seconds of a time in one of ELAN's forms; None for other text."""
    cell = cell.strip()
    clock = _CLOCK.fullmatch(cell)
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if _SECONDS.fullmatch(cell):
        return float(cell.replace(",", "."))
    if _MILLISECONDS.fullmatch(cell):
        return int(cell) / 1000
    return None

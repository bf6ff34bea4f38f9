"""Label tracks of Audacity: lines of start, end and label, separated by tabs.

    12.340000	15.200000	anna: angry
    15.900000	18.100000	neutral

The text of a label is the emotion, or the speaker, a colon and the emotion. Lines that begin with a
backslash have frequencies of the line before, and are left out.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..tables import decoded_text
from .turns import Turn, timed


def is_audacity(text: str) -> bool:
    """Whether the first line of a text has two times and a label."""
    for line in text.splitlines():
        cells = line.split("\t")
        return len(cells) in (2, 3) and _number(cells[0]) is not None
    return False


def read_audacity(path: Path) -> list[Turn]:
    """Read the turns of a label track.

    Raises:
        UserError: naming the line that has no times, or wrong ones.
    """
    turns = []
    for number, line in enumerate(decoded_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        where = f"{path}, line {number}"
        cells = line.split("\t", 2)
        start = _number(cells[0])
        end = _number(cells[1]) if len(cells) > 1 else None
        if start is None or end is None:
            raise UserError(
                f"{where}: {line[:60]!r} is no label; expected start, end and label, separated by "
                "tabs"
            )
        text = cells[2].strip() if len(cells) == 3 else ""
        speaker, colon, label = text.rpartition(":")
        if start == end:  # a label at a point of time
            continue
        segment = timed(where, start, end)
        speaker = speaker.strip() if colon else None
        turns.append(Turn(segment, label.strip() or None, speaker or None, where))
    return turns


def write_audacity(path: Path, turns: Sequence[Turn], duration: float) -> None:
    """Write a label track. `duration` is not needed in this format."""
    lines = []
    for turn in sorted(turns, key=lambda turn: turn.segment):
        label = turn.label or ""
        text = label if turn.speaker is None else f"{turn.speaker}: {label}"
        lines.append(f"{turn.segment.start:.6f}\t{turn.segment.end:.6f}\t{text}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _number(cell: str) -> float | None:
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return None

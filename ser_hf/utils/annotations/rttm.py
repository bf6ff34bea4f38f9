"""Rich Transcription Time Marked (RTTM), the format of speaker diarization.

    SPEAKER call_07 1 12.340 2.860 <NA> angry anna <NA> <NA>

Fields are separated by spaces: type, recording, channel, onset, duration, text, subtype, name,
confidence. Diarizers write the speaker's name and <NA> for the rest; the emotion is the subtype.

Source: NIST, The 2009 Rich Transcription Meeting Recognition Evaluation Plan, appendix A.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..tables import decoded_text
from .turns import Turn, timed

_MISSING = "<NA>"
_LEAST_FIELDS = 8


def read_rttm(path: Path) -> list[Turn]:
    """Read the turns of all recordings in an RTTM file; only lines of type SPEAKER are turns.

    Raises:
        UserError: naming the line with too few fields or a wrong time.
    """
    turns = []
    for number, line in enumerate(decoded_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0].upper() != "SPEAKER":
            continue
        where = f"{path}, line {number}"
        if len(fields) < _LEAST_FIELDS:
            raise UserError(
                f"{where}: {len(fields)} fields; a line of RTTM has 9 or 10, such as SPEAKER "
                "recording 1 onset duration <NA> emotion speaker <NA> <NA>"
            )
        try:
            onset = float(fields[3])
            duration = float(fields[4])
        except ValueError:
            raise UserError(
                f"{where}: the onset {fields[3]!r} or the duration {fields[4]!r} is no number"
            ) from None
        turn = Turn(
            segment=timed(where, onset, onset + duration),
            label=_value(fields[6]),
            speaker=_value(fields[7]),
            where=where,
            recording=fields[1],
        )
        turns.append(turn)
    return sorted(turns, key=lambda turn: (turn.recording, turn.segment.start))


def write_rttm(path: Path, turns: Sequence[Turn], duration: float) -> None:
    """Write an RTTM file. `duration` is not needed in this format.

    Spaces in names become underscores, because spaces separate the fields.
    """
    lines = []
    for turn in turns:
        start, end = turn.segment
        fields = [
            "SPEAKER",
            _word(turn.recording),
            "1",
            f"{start:.3f}",
            f"{end - start:.3f}",
            _MISSING,
            _word(turn.label),
            _word(turn.speaker),
            _MISSING,
            _MISSING,
        ]
        lines.append(" ".join(fields) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def _value(field: str) -> str | None:
    return None if field == _MISSING else field


def _word(value: str | None) -> str:
    return "_".join(value.split()) if value else _MISSING

"""TextGrids of Praat, read and written by the package praatio.

Source: Mahrt T (2016), PraatIO, https://github.com/timmahrt/praatIO. Its reader knows the long and
the short form, UTF-8 and UTF-16.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ..errors import UserError, one_line
from ..tables import decoded_text
from .turns import EMOTION_TIER, Interval, Turn, timed, turns_of_tiers

_MOST_BYTES = 2**27
_UNKNOWN_TIER = "unknown"
# Of the long form: the number of tiers, intervals or points, and the head of each.
_SIZE = re.compile(r"^\s*(?:intervals: |points: )?size = (\d+)\s*$", re.MULTILINE)
_ENTRY = re.compile(r"^\s*(?:item|intervals|points) \[\d+\]:?\s*$", re.MULTILINE)


def read_textgrid(
    path: Path, tier: str | None = None, speaker_tier: str | None = None
) -> list[Turn]:
    """Read the turns of a TextGrid (see `turns_of_tiers`); tiers of points are left out.

    Raises:
        UserError: if the file is no TextGrid, has no tier of intervals, or has a wrong time.
    """
    textgrid = _praatio(path)
    _require_complete(path, decoded_text(path, _MOST_BYTES))
    try:
        grid = textgrid.openTextgrid(
            str(path),
            includeEmptyIntervals=False,
            reportingMode="silence",
            duplicateNamesMode="rename",
        )
    except Exception as error:  # praatio raises many types of errors for a damaged file
        raise UserError(f"{path}: not readable as a TextGrid: {one_line(error)}") from None

    tiers = {}
    for name, content in zip(grid.tierNames, grid.tiers, strict=True):
        if not isinstance(content, textgrid.IntervalTier):
            continue
        intervals = []
        for start, end, text in content.entries:
            where = f"{path}, tier {name}, {float(start):.3f} s"
            if text.strip():
                segment = timed(where, float(start), float(end))
                intervals.append(Interval(segment, text.strip(), where))
        tiers[name] = intervals
    if not tiers:
        raise UserError(f"{path}: has no tier of intervals")
    return turns_of_tiers(path, tiers, tier, speaker_tier)


def _require_complete(path: Path, text: str) -> None:
    """Raise a UserError if a TextGrid in the long form has fewer entries than it announces.

    praatio reads the rest of a file that was cut off without an error.
    """
    announced = [int(number) for number in _SIZE.findall(text)]
    entries = len(_ENTRY.findall(text))
    if sum(announced) != entries:
        raise UserError(
            f"{path}: announces {sum(announced):,} tiers and intervals, but has {entries:,}; it "
            "may be cut off; copy it again"
        )


def write_textgrid(path: Path, turns: Sequence[Turn], duration: float) -> None:
    """Write a TextGrid with a tier for each speaker; without speakers the tier is "emotion".

    Beside speakers, the tier of turns without one is "unknown": a tier "emotion" would be read as
    the only one with emotions.

    Turns of one speaker that overlap are cut at the start of the next one, because intervals of a
    tier do not overlap.

    Args:
        duration: seconds of the recording.
    """
    textgrid = _praatio(path)
    grid = textgrid.Textgrid(minTimestamp=0.0, maxTimestamp=duration)
    turns_of_speaker: dict[str, list[Turn]] = {}
    has_speakers = any(turn.speaker for turn in turns)
    unnamed_tier = _UNKNOWN_TIER if has_speakers else EMOTION_TIER
    for turn in sorted(turns, key=lambda turn: turn.segment):
        turns_of_speaker.setdefault(turn.speaker or unnamed_tier, []).append(turn)
    for speaker, speaker_turns in turns_of_speaker.items():
        entries = []
        for turn, following in zip(speaker_turns, [*speaker_turns[1:], None], strict=True):
            end = min(turn.segment.end, duration)
            if following is not None:
                end = min(end, following.segment.start)
            if end > turn.segment.start:
                entries.append((turn.segment.start, end, turn.label or ""))
        grid.addTier(textgrid.IntervalTier(speaker, entries, 0.0, duration))
    if not turns_of_speaker:
        grid.addTier(textgrid.IntervalTier(EMOTION_TIER, [(0.0, duration, "")], 0.0, duration))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True, reportingMode="silence")


def _praatio(path: Path) -> ModuleType:
    try:
        from praatio import textgrid
    except ImportError:
        raise UserError(
            f'{path}: TextGrids need the package praatio: pip install "ser_hf[annotations]"'
        ) from None
    return textgrid

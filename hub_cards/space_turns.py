"""Divides recordings into turns: speech that is found, or the turns of a file."""

import csv
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Speech is found by the package silero-vad, which contains the weights of its detector.
FINDS_SPEECH = importlib.util.find_spec("silero_vad") is not None
READS_TEXTGRIDS = importlib.util.find_spec("praatio") is not None
SUFFIXES = [".rttm", ".csv", ".tsv", ".txt"] + ([".TextGrid"] if READS_TEXTGRIDS else [])
DETECTOR_RATE = 16000
# A pause of so many seconds ends a turn, and so many seconds are kept before and after speech.
PAUSE = 0.3
PADDING = 0.05
# Turns that are too short are joined if the pause between them is not longer, in seconds.
JOINED_PAUSE = 1.0
_COLUMNS = ("start", "end", "speaker")
_SPEAKER_TIER = "speaker"


class PageError(ValueError):
    """A file that cannot be used; the message is shown on the page."""


class Turn(NamedTuple):
    """A part of a recording, in seconds; the speaker is None if unknown."""

    start: float
    end: float
    speaker: str | None = None


def find_speech(
    samples: np.ndarray,
    rate: int,
    lengths: tuple[float, float],
    progress: Callable[[float], None],
) -> list[Turn]:
    """Find the speech of a recording, in turns whose lengths the model was trained on.

    Args:
        samples: float32 (samples,) at `rate` Hz.
        lengths: the shortest and the longest turn in seconds.
        progress: a function that receives the share of the recording that was searched.
    """
    import silero_vad
    import soxr
    import torch

    shortest, longest = lengths
    seconds = len(samples) / rate
    if rate != DETECTOR_RATE:
        samples = soxr.resample(samples, rate, DETECTOR_RATE)
    detected = silero_vad.get_speech_timestamps(
        torch.from_numpy(samples),
        silero_vad.load_silero_vad(),
        sampling_rate=DETECTOR_RATE,
        min_silence_duration_ms=round(1000 * PAUSE),
        max_speech_duration_s=longest,
        speech_pad_ms=round(1000 * PADDING),
        progress_tracking_callback=lambda percent: progress(percent / 100),
    )
    turns = []
    for speech in detected:
        end = min(speech["end"] / DETECTOR_RATE, seconds)
        turns.append(Turn(speech["start"] / DETECTOR_RATE, end))
    return fitted(turns, shortest, longest, seconds)


def fitted(turns: Sequence[Turn], shortest: float, longest: float, seconds: float) -> list[Turn]:
    """Fit turns to the lengths of clips that a model knows.

    A short turn is joined with the next one, if the pause between them is short and the result is
    not too long. A turn that stays short gets a part of the pauses around it.

    Args:
        turns: sorted, without overlap, at most `longest` seconds long.
        seconds: the length of the recording.
    """
    joined: list[Turn] = []
    for turn in turns:
        if joined and _joinable(joined[-1], turn, shortest, longest):
            joined[-1] = Turn(joined[-1].start, turn.end)
        else:
            joined.append(turn)

    extended: list[Turn] = []
    for i, turn in enumerate(joined):
        free_from = extended[-1].end if extended else 0.0
        free_to = joined[i + 1].start if i + 1 < len(joined) else seconds
        missing = max(0.0, shortest - (turn.end - turn.start))
        start = max(free_from, turn.start - missing / 2)
        end = min(free_to, max(turn.end, start + shortest))
        start = max(free_from, min(start, end - shortest))
        extended.append(Turn(start, end))
    return extended


def _joinable(first: Turn, second: Turn, shortest: float, longest: float) -> bool:
    lengths = (first.end - first.start, second.end - second.start)
    pause = second.start - first.end
    total = second.end - first.start
    return min(lengths) < shortest and pause <= JOINED_PAUSE and total <= longest


def read_turns(path: str, recording: str, seconds: float) -> list[Turn]:
    """Read the turns of a recording from RTTM, a label track of Audacity, a TextGrid or a table.

    Args:
        recording: the file of the recording, by whose name lines of other recordings are left out.
        seconds: the length of the recording.

    Returns:
        The turns, sorted by time.

    Raises:
        PageError: naming the line that is wrong.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".textgrid":
        turns = _textgrid(path)
    else:
        text = _text(path)
        if suffix == ".rttm":
            turns = _rttm(text, Path(recording).stem)
        elif suffix == ".txt":
            turns = _label_track(text)
        else:
            turns = _table(text, "\t" if suffix == ".tsv" else ",")
    if not turns:
        raise PageError("The file of turns has no turn.")
    for turn in turns:
        if not 0 <= turn.start < turn.end < math.inf:
            raise PageError(
                f"The file of turns has a turn from {turn.start:g} to {turn.end:g} s; a start is 0 "
                "or more, and an end is after its start."
            )
        if turn.start >= seconds or turn.end > seconds + 0.02:
            raise PageError(
                f"The file of turns has a turn from {turn.start:g} to {turn.end:g} s, but the "
                f"recording ends at {seconds:.2f} s."
            )
    return sorted(turns, key=lambda turn: turn.start)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise PageError("The file of turns cannot be read as text (UTF-8).") from None


def _number(text: str, line: int) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise PageError(
            f"The file of turns, line {line}: {text[:40]!r} is no number of seconds."
        ) from None


def _rttm(text: str, recording: str) -> list[Turn]:
    """Lines of type, recording, channel, onset, duration, text, subtype and speaker."""
    turns_of_recording: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].upper() != "SPEAKER":
            continue
        if len(fields) < 8:
            raise PageError(
                f"The file of turns, line {number}: {len(fields)} fields; a line of RTTM has 9 or "
                "10, such as SPEAKER recording 1 onset duration <NA> <NA> speaker <NA> <NA>."
            )
        start = _number(fields[3], number)
        speaker = None if fields[7] == "<NA>" else fields[7]
        turn = Turn(start, start + _number(fields[4], number), speaker)
        turns_of_recording.setdefault(fields[1], []).append(turn)
    if len(turns_of_recording) <= 1:
        return [turn for turns in turns_of_recording.values() for turn in turns]
    if recording not in turns_of_recording:
        raise PageError(
            f"The file of turns has turns of {len(turns_of_recording)} recordings, and none is "
            f"named {recording}."
        )
    return turns_of_recording[recording]


def _label_track(text: str) -> list[Turn]:
    """Lines of start, end and label, separated by tabs; the label is a speaker, or has a colon."""
    turns = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.split("\t", 2)
        if len(cells) < 2:
            raise PageError(
                f"The file of turns, line {number}: {line[:40]!r} has no start and end, separated "
                "by a tab."
            )
        start = _number(cells[0], number)
        end = _number(cells[1], number)
        label = cells[2].strip() if len(cells) == 3 else ""
        speaker = label.rpartition(":")[0].strip()
        if end > start:  # others are labels at a point of time
            turns.append(Turn(start, end, speaker or None))
    return turns


def _table(text: str, delimiter: str) -> list[Turn]:
    """Rows with the columns start, end and perhaps speaker."""
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    if not {"start", "end"} <= set(columns):
        raise PageError("The file of turns is a table without the columns start and end.")
    turns = []
    for number, row in enumerate(rows, start=2):
        cells = {name: row.get(columns.get(name, name)) or "" for name in _COLUMNS}
        start = _number(cells["start"], number)
        end = _number(cells["end"], number)
        turns.append(Turn(start, end, cells["speaker"].strip() or None))
    return turns


def _textgrid(path: str) -> list[Turn]:
    """The intervals of the tier `speaker`, whose texts are speakers, or of one tier per speaker."""
    if not READS_TEXTGRIDS:
        raise PageError("TextGrids cannot be read here; use RTTM, a label track or a table.")
    from praatio import textgrid

    try:
        grid = textgrid.openTextgrid(
            path, includeEmptyIntervals=False, reportingMode="silence", duplicateNamesMode="rename"
        )
    except Exception:  # praatio raises many types of errors for a damaged file
        raise PageError("The file of turns cannot be read as a TextGrid.") from None
    tiers = {}
    for tier in grid.tiers:
        if isinstance(tier, textgrid.IntervalTier):
            tiers[tier.name] = [entry for entry in tier.entries if entry[2].strip()]
    turns = []
    for name, entries in tiers.items():
        if _SPEAKER_TIER in tiers and name != _SPEAKER_TIER:
            continue
        for start, end, text in entries:
            speaker = text.strip() if name == _SPEAKER_TIER else name
            turns.append(Turn(float(start), float(end), speaker))
    return turns

"""Divides recordings into segments to predict: speech that is found, or turns of a file."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..audio.decode import SHORTEST, AudioError, read_header
from ..audio.speech import find_speech
from ..models.configuration import CLIP_SECONDS_KEY
from ..utils.annotations import ANNOTATION_SUFFIXES, Turn, read_turns
from ..utils.errors import UserError
from ..utils.segments import END, START, Segment, segments_of_columns
from ..utils.tables import read_table
from .classifier import Classifier
from .recordings import TABLE_SUFFIXES, Recording

logger = logging.getLogger(__name__)

# What recordings are divided into; another text is the path of a file or folder of turns.
WINDOWS = "windows"
SPEECH = "speech"
# The lengths in seconds of segments for a model whose training clips are not known: those of most
# clips of the acted corpora.
USUAL_LENGTHS = (1.0, 8.0)
# Segments that are too short are joined if the pause between them is not longer, in seconds.
_JOINED_PAUSE = 1.0
_SUFFIXES = (*ANNOTATION_SUFFIXES, ".csv")


def lengths_of(classifier: Classifier) -> tuple[float, float]:
    """The shortest and the longest segment for a model, in seconds.

    They are the lengths of most of its training clips, if its configuration has them.
    """
    lengths = getattr(classifier.model.config, CLIP_SECONDS_KEY, None)
    shortest, longest = lengths or USUAL_LENGTHS
    return max(SHORTEST, shortest), max(longest, 2 * shortest, SHORTEST)


def require_undivided(recordings: Sequence[Recording], segments: str) -> None:
    """Raise a UserError if recordings are segments already, which are not divided again."""
    for recording in recordings:
        if recording.segment is not None:
            raise UserError(
                f"--segments {segments}: {recording.path} has segments in the table already; "
                "leave out --segments, or name the recordings themselves"
            )


def seconds_of(recordings: Sequence[Recording]) -> float:
    """The seconds of all recordings, by their headers."""
    seconds = 0.0
    for recording in recordings:
        header = read_header(recording.path, recording.data)
        if header is not None:
            seconds += header.duration
    return seconds


def speech_of(
    recordings: Sequence[Recording],
    lengths: tuple[float, float] = USUAL_LENGTHS,
    skipped: Callable[[Recording, str], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Recording]:
    """Find the speech of recordings; each segment is a recording of the result.

    Args:
        lengths: the shortest and the longest segment in seconds, see `fitted`.
        skipped: a function that receives each recording that cannot be read, and the reason. If it
            is None, such a recording raises an error.
        progress: a function that receives the seconds of audio that were searched.

    Raises:
        AudioError: naming the file that cannot be read, if `skipped` is None.
        UserError: if the package silero-vad is not installed.
    """
    shortest, longest = lengths
    divided = []
    for recording in recordings:
        try:
            segments = find_speech(recording.path, recording.data, longest, progress)
        except AudioError as error:
            if skipped is None:
                raise
            skipped(recording, str(error))
            continue
        if not segments:
            logger.warning("%s: no speech is found", recording.path)
        duration = read_header(recording.path, recording.data).duration
        for segment in fitted(segments, shortest, longest, duration):
            divided.append(part_of(recording, segment))
    return divided


def fitted(
    segments: Sequence[Segment], shortest: float, longest: float, duration: float
) -> list[Segment]:
    """Fit segments of speech to the lengths of clips that a model knows.

    A short segment is joined with the next one, if the pause between them is short and the result
    is not too long. A segment that stays short gets a part of the pauses around it.

    Args:
        segments: sorted, without overlap, at most `longest` seconds long.
        shortest, longest: in seconds.
        duration: seconds of the recording.
    """
    joined: list[Segment] = []
    for segment in segments:
        if joined and _joinable(joined[-1], segment, shortest, longest):
            joined[-1] = Segment(joined[-1].start, segment.end)
        else:
            joined.append(segment)

    extended = []
    for i, segment in enumerate(joined):
        free_from = extended[-1].end if extended else 0.0
        free_to = joined[i + 1].start if i + 1 < len(joined) else duration
        missing = max(0.0, shortest - (segment.end - segment.start))
        start = max(free_from, segment.start - missing / 2)
        end = min(free_to, max(segment.end, start + shortest))
        start = max(free_from, min(start, end - shortest))
        extended.append(Segment(start, end))
    return extended


def _joinable(first: Segment, second: Segment, shortest: float, longest: float) -> bool:
    """Whether two segments become one."""
    lengths = (first.end - first.start, second.end - second.start)
    pause = second.start - first.end
    total = second.end - first.start
    return min(lengths) < shortest and pause <= _JOINED_PAUSE and total <= longest


def turns_of(
    recordings: Sequence[Recording], file: str | Path, key: str = "--segments"
) -> list[Recording]:
    """Divide recordings by the turns of a file; each turn is a recording of the result.

    Args:
        key: the option that names the file, for messages.
        file: RTTM, TextGrid, label track, ELAN's text, or CSV with the columns start, end and
            perhaps speaker, label and path; or a folder with such a file for each recording, of the
            same name. A file for several recordings names them by their paths or names.

    Raises:
        UserError: if the file or a turn is wrong, a recording has no turns, or turns have no
            recording.
    """
    file = Path(file)
    if not file.is_dir():
        return _divided(recordings, read_turn_file(file), file, key)
    divided = []
    for recording in recordings:
        stem = Path(recording.path).stem
        candidates = sorted(path for path in file.glob("*") if path.stem == stem)
        candidates = [path for path in candidates if path.suffix.lower() in _SUFFIXES]
        if len(candidates) != 1:
            raise UserError(
                f"{key}: {file} has {len(candidates)} files of turns named {stem}; it needs "
                f"one ({', '.join(_SUFFIXES)})"
            )
        divided += _divided([recording], read_turn_file(candidates[0]), candidates[0], key)
    return divided


def read_turn_file(file: Path) -> list[Turn]:
    """Read turns from an annotation file or a table.

    Raises:
        UserError: naming the file and the line that is wrong.
    """
    if file.suffix.lower() not in TABLE_SUFFIXES:
        return read_turns(file)
    if file.suffix.lower() == ".tsv" and START not in read_table(file).columns:
        return read_turns(file)  # of ELAN
    table = read_table(file).named((START, END, "speaker", "label", "path"))
    times = segments_of_columns(table.columns)
    if times is None:
        raise UserError(
            f"{file}: a table of turns needs the columns {START} and {END}, in seconds; it has "
            f"{', '.join(table.columns) or 'none'}"
        )
    turns = []
    for line, cells in table.rows:
        where = f"{file}, line {line}"
        segment = times.segment(cells, where)
        if segment is None:
            raise UserError(f"{where}: has no {START} and no {END}")
        turn = Turn(
            segment=segment,
            label=cells.get("label"),
            speaker=cells.get("speaker"),
            where=where,
            recording=cells.get("path"),
        )
        turns.append(turn)
    return turns


def _divided(
    recordings: Sequence[Recording], turns: Sequence[Turn], file: Path, key: str
) -> list[Recording]:
    """The turns as recordings, in the order of the recordings and of time."""
    names = {turn.recording for turn in turns}
    # With one recording and the turns of one, their names may differ.
    alone = len(recordings) == 1 and len(names) <= 1
    if alone:
        for name in names - {None}:
            if not _is_named(recordings[0], name, file.parent):
                logger.warning(
                    "%s: the turns of %s are used for %s", file, name, recordings[0].path
                )
    divided = []
    used = set()
    for recording in recordings:
        turns_of_recording = []
        for position, turn in enumerate(turns):
            if alone or _is_named(recording, turn.recording, file.parent):
                turns_of_recording.append(turn)
                used.add(position)
        if not turns_of_recording:
            raise UserError(f"{key}: {file} has no turn of {recording.path}")
        for turn in sorted(turns_of_recording, key=lambda turn: turn.segment.start):
            divided.append(part_of(recording, turn.segment, turn.speaker, turn.label))
    for position, turn in enumerate(turns):
        if position not in used:
            raise UserError(
                f"{turn.where}: its recording {turn.recording} is not among those to predict"
            )
    return divided


def _is_named(recording: Recording, name: str | None, folder: Path) -> bool:
    """Whether a name is that of a recording: its path, id or name, with or without suffix.

    Args:
        folder: where relative paths may start, besides the working folder.
    """
    if name is None:
        return False
    path = Path(recording.path)
    if name in (recording.path, recording.id, path.name, path.stem):
        return True
    return os.path.realpath(folder / name) == os.path.realpath(path)


def part_of(
    recording: Recording,
    segment: Segment,
    speaker: str | None = None,
    label: str | None = None,
) -> Recording:
    """A segment of a recording as a recording."""
    return Recording(
        id=f"{recording.id}@{segment.name}",
        path=recording.path,
        label=label or recording.label,
        speaker=speaker or recording.speaker,
        data=recording.data,
        segment=segment,
    )

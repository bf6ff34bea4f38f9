"""The class `Turn`: what one annotation says of a segment of a recording."""

import dataclasses
from collections.abc import Mapping, Sequence

from ..errors import UserError
from ..names import compared
from ..segments import Segment

# The tier of emotions, unless another one is named. Other tiers are those of speakers.
EMOTION_TIER = "emotion"
SPEAKER_TIER = "speaker"


@dataclasses.dataclass(frozen=True)
class Turn:
    """A segment of a recording with its annotation.

    Attributes:
        segment: the time in the recording.
        label: the emotion as the file has it; None if the file has none.
        speaker: the speaker as the file has it; None if the file has none.
        where: the file with the line or tier, for messages.
        recording: the name of the recording, if the file has annotations of several.
    """

    segment: Segment
    label: str | None
    speaker: str | None
    where: str = ""
    recording: str | None = None


@dataclasses.dataclass(frozen=True)
class Interval:
    """An annotated interval of a tier."""

    segment: Segment
    text: str
    where: str


def turns_of_tiers(
    path: object,
    tiers: Mapping[str, Sequence[Interval]],
    tier: str | None = None,
    speaker_tier: str | None = None,
    participants: Mapping[str, str] | None = None,
) -> list[Turn]:
    """Make turns from tiers.

    If there is a tier of emotions, its intervals are the turns, and the speaker of a turn is the
    one of the tier of speakers with which it has most time in common. A tier of speakers alone has
    turns without emotions, as a diarizer finds them. Otherwise each tier has the emotions of one
    speaker, whose name is that of the tier.

    Args:
        path: the file, for messages.
        tiers: the name of each tier and its intervals, without empty ones.
        tier: the tier of emotions (default: `EMOTION_TIER`, if there is one).
        speaker_tier: the tier of speakers (default: `SPEAKER_TIER`, if there is one).
        participants: the speaker of a tier, if the file names one.

    Returns:
        The turns, sorted by time.

    Raises:
        UserError: if there is no tier with the given name.
    """
    participants = participants or {}
    emotion_name = _find(path, tiers, tier, EMOTION_TIER, key="corpus.tier")
    speaker_name = _find(path, tiers, speaker_tier, SPEAKER_TIER, key="corpus.speaker_tier")
    turns = []
    if emotion_name is not None:
        speakers = tiers[speaker_name] if speaker_name is not None else []
        for interval in tiers[emotion_name]:
            speaker = _speaker_at(interval.segment, speakers) or participants.get(emotion_name)
            turns.append(Turn(interval.segment, interval.text, speaker, interval.where))
    elif list(tiers) == [speaker_name]:
        for interval in tiers[speaker_name]:
            turns.append(Turn(interval.segment, None, interval.text, interval.where))
    else:
        for name, intervals in tiers.items():
            if name == speaker_name:
                continue
            speaker = participants.get(name) or name
            for interval in intervals:
                turns.append(Turn(interval.segment, interval.text, speaker, interval.where))
    return sorted(turns, key=lambda turn: turn.segment.start)


def _find(
    path: object, tiers: Mapping[str, object], wanted: str | None, usual: str, key: str
) -> str | None:
    """The name of a tier as the file has it; None if the usual tier is missing."""
    for name in tiers:
        if compared(name) == compared(wanted or usual):
            return name
    if wanted is not None:
        raise UserError(
            f"{key}: {path} has no tier {wanted!r}; it has {', '.join(tiers) or 'none'}"
        )
    return None


def _speaker_at(segment: Segment, speakers: Sequence[Interval]) -> str | None:
    """The speaker with most time in common with a segment; None without any."""
    seconds: dict[str, float] = {}
    for interval in speakers:
        common = min(segment.end, interval.segment.end)
        common -= max(segment.start, interval.segment.start)
        if common > 0:
            seconds[interval.text] = seconds.get(interval.text, 0.0) + common
    return max(seconds, key=seconds.get) if seconds else None


def timed(where: str, start: float, end: float) -> Segment:
    """A segment from its times.

    Raises:
        UserError: if a time is negative or not finite, or the end is not after the start.
    """
    if not 0 <= start < end < float("inf"):
        raise UserError(
            f"{where}: from {start:g} to {end:g} s is no segment; a start is 0 or more, and an "
            "end is after its start"
        )
    return Segment(start, end)

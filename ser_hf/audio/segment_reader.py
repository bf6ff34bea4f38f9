"""Decoding of segments of a recording: only their samples are read, forward through the file.

A segment has the samples of a file that was cut at its times: from the nearest sample of `start` to
the nearest sample of `end`, resampled by itself.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import soundfile
import soxr
import xxhash

from ..utils.segments import Segment
from .containers import Content, Layout, layout_of
from .decode import (
    AudioError,
    Decoded,
    Header,
    ReadSamples,
    check_announced,
    checked,
    decode,
    errors_of_file,
    opened,
    read_mono,
    require_content,
    truncated,
)

# Times in tables are rounded: an end so many seconds beyond the recording is its end.
TOLERANCE = 0.02
# The most seconds, and the most segments, that are decoded before they are used. Together they are
# read in one pass: an MP3 file is scanned up to a segment whenever it is opened.
_MOST_SECONDS = 300.0
_MOST_SEGMENTS = 256
# Formats whose decoders need earlier samples, and seconds of them. The bit reservoir of MP3 has at
# most 511 bytes: 0.5 s at 8 kbit/s.
_WITH_MEMORY = ("MP3", "MPEG", "OGG")
_PREROLL = 1.0

Item = TypeVar("Item")


def named(path: str | None, segment: Segment) -> str:
    """A segment for messages."""
    return f"{path}, segment {segment}"


def runs(
    items: Iterable[tuple[Item, str | None, Segment | None]],
) -> Iterator[list[Item]]:
    """Group items whose segments can be decoded together, in the order of the items.

    The segments of a group follow each other in one recording. A whole recording is a group by
    itself.

    Args:
        items: an item, the path of its recording, and its segment; None for the whole recording.
    """
    run: list[Item] = []
    path_of_run = None
    position = 0.0
    seconds = 0.0
    for item, path, segment in items:
        continues = (
            bool(run)
            and segment is not None
            and path == path_of_run
            and segment.start >= position
            and seconds < _MOST_SECONDS
            and len(run) < _MOST_SEGMENTS
        )
        if run and not continues:
            yield run
            run = []
            seconds = 0.0
        run.append(item)
        path_of_run = None if segment is None else path
        if segment is not None:
            # A segment up to the end of the recording is the last of its group.
            end = np.inf if segment.end is None else segment.end
            position = segment.start
            seconds += end - segment.start
    if run:
        yield run


def decode_segments(
    path: str | None,
    segments: Sequence[Segment],
    data: bytes | None = None,
    sampling_rate: int | None = None,
) -> list[Decoded | AudioError]:
    """Decode segments of a recording, mix them to mono and resample each (see `decode`).

    A file with several joined recordings is decoded as a whole. Of other files only the segments
    are read.

    Args:
        path: the path of the file, also for messages.
        segments: parts of the recording; reading is fastest if they are sorted.
        data: the bytes of the file, which are decoded instead of reading the file.
        sampling_rate: the sampling rate of the results, in Hz (default: that of the recording).

    Returns:
        For each segment its samples, or the error why it cannot be used.
    """
    name = str(path)
    try:
        require_content(name, data)
        with errors_of_file(name), np.errstate(all="ignore"), Content(name, data) as content:
            layout = layout_of(content)
            if layout.shortfall is not None:
                raise truncated(name, layout.shortfall)
            if not layout.parts:
                with opened(content, layout, None) as file:
                    if not _may_be_longer(file, layout, segments):
                        return [
                            _read(name, file, layout, segment, sampling_rate)
                            for segment in segments
                        ]
        whole = decode(path, data)
    except AudioError as error:
        return [error] * len(segments)
    return [_cut(name, whole, segment, sampling_rate) for segment in segments]


def decode_segment(
    path: str | None,
    segment: Segment | None,
    data: bytes | None = None,
    sampling_rate: int | None = None,
) -> Decoded:
    """Decode a segment of a recording, or all of it if `segment` is None.

    Raises:
        AudioError: as `decode`; also if the segment is beyond the recording.
    """
    if segment is None:
        return decode(path, data, sampling_rate)
    (decoded,) = decode_segments(path, [segment], data, sampling_rate)
    if isinstance(decoded, AudioError):
        raise decoded
    return decoded


def divisible_header(path: str, data: bytes | None = None) -> Header | None:
    """The size of a recording whose parts can be decoded by themselves.

    Returns:
        The size, or None if the recording has to be decoded as a whole: it consists of several
        joined recordings, its length is an estimate, or it cannot be read.
    """
    if data is None and not os.path.isfile(path):  # opening a pipe would wait
        return None
    try:
        with Content(path, data) as content:
            layout = layout_of(content, thorough=True)
            if layout.parts or layout.is_estimate or layout.shortfall is not None:
                return None
            with opened(content, layout, None) as file:
                return Header(file.frames, file.samplerate, file.channels)
    except (RuntimeError, OSError, TypeError, ValueError):
        return None


def _may_be_longer(file: soundfile.SoundFile, layout: Layout, segments: Sequence[Segment]) -> bool:
    """Whether segments are beyond a length that libsndfile may have wrong."""
    if not (layout.is_estimate or layout.may_go_on):
        return False
    last = max(segment.start if segment.end is None else segment.end for segment in segments)
    return last > file.frames / file.samplerate + TOLERANCE


def _read(
    name: str,
    file: soundfile.SoundFile,
    layout: Layout,
    segment: Segment,
    sampling_rate: int | None,
) -> Decoded | AudioError:
    """Read a segment of an open file."""
    name = named(name, segment)
    rate = sampling_rate or file.samplerate
    try:
        with errors_of_file(name):
            first, stop = _frames_of(name, segment, file.samplerate, file.frames)
            check_announced(name, file, stop - first, rate)
            _go_to(file, first)
            stream = read_mono(name, file, stop - first, rate, xxhash.xxh3_128())
            if stream.count < stop - first and not layout.is_estimate:
                raise truncated(name, "its header announces more than the file holds")
            if stream.loudest is not None:
                _go_to(file, first)
                stream = dataclasses.replace(
                    read_mono(
                        name,
                        file,
                        stop - first,
                        rate,
                        xxhash.xxh3_128(),
                        channel=stream.loudest,
                    ),
                    loudest=stream.loudest,
                )
            return checked(name, [stream], layout)
    except AudioError as error:
        return error


def _go_to(file: soundfile.SoundFile, frame: int) -> None:
    """Move to a frame, so that the next samples are those of the whole recording.

    A frame of MP3 depends on frames before it: they are decoded too.
    """
    if file.format not in _WITH_MEMORY:
        file.seek(frame)
        return
    first = max(0, frame - round(_PREROLL * file.samplerate))
    if not first <= file.tell() <= frame:
        file.seek(first)
    file.read(frame - file.tell(), dtype="float32")


def _cut(
    name: str, whole: Decoded, segment: Segment, sampling_rate: int | None
) -> Decoded | AudioError:
    """Cut a segment out of a decoded recording."""
    name = named(name, segment)
    try:
        first, stop = _frames_of(name, segment, whole.sampling_rate, len(whole.samples))
        samples = whole.samples[first:stop]
        rate = sampling_rate or whole.sampling_rate
        stream = ReadSamples(
            samples=samples,
            count=len(samples),
            sampling_rate=rate,
            channels=whole.channels,
            content_hash=xxhash.xxh3_128(samples),
            finite=True,
            loudest=None,
        )
        if rate != whole.sampling_rate:
            resampled = soxr.resample(samples, whole.sampling_rate, rate)
            stream = dataclasses.replace(stream, samples=resampled)
        return checked(name, [stream], Layout())
    except AudioError as error:
        return error


def _frames_of(name: str, segment: Segment, rate: int, frames: int) -> tuple[int, int]:
    """The first frame of a segment, and the frame after its last one.

    Raises:
        AudioError: if the segment is beyond the recording.
    """
    end = frames / rate if segment.end is None else segment.end
    if segment.start * rate >= frames or end * rate > frames + TOLERANCE * rate:
        raise AudioError(
            f"{name}: beyond the end of the recording ({frames / rate:.3f} s); correct the times, "
            "or rename the columns start and end if the files are cut already"
        )
    first = round(segment.start * rate)
    return first, min(max(round(end * rate), first + 1), frames)

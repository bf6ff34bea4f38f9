"""MPEG audio (MP1, MP2, MP3): its frames, counted, because its header states no length.

A file may begin with a frame that holds the number of frames in place of sound (Xing, Info).
Without it libsndfile estimates the length from the first bit rate, and reads no further. So the
frames are counted here, and libsndfile receives such a frame with the correct number. Where the
frame is there and fits the size of the file, nothing is counted.
"""

import dataclasses
import struct
from collections.abc import Iterator

from ..remarks import Remark, RemarkKind
from .layout import Content, Layout, Part, Section
from .tags import end_of_audio, skip_id3

# kbit/s by (whether MPEG 1, layer) and the index in the header.
_BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)  # of MPEG 1; halves and quarters of MPEG 2 and 2.5
_HEADER_BYTES = 4
_FRAMES_IN_ROW = 3  # the frames that must follow each other for the bytes to be MPEG audio
_SEARCHED_BYTES = 1 << 16  # the most bytes before the first frame
_HAS_FRAMES = 1
_HAS_BYTES = 2


@dataclasses.dataclass(frozen=True)
class _Header:
    """The header of a frame.

    Args:
        kind: the bits that do not change within a stream: version, layer and sampling rate.
        mpeg1: whether the version is 1, not 2 or 2.5.
        layer: 1, 2 or 3.
        rate: the sampling rate in Hz.
        channels: 1 or 2.
        size: the size of the frame in bytes.
    """

    kind: int
    mpeg1: bool
    layer: int
    rate: int
    channels: int
    size: int

    @property
    def samples(self) -> int:
        """Samples per channel."""
        if self.layer == 1:
            return 384
        return 576 if self.layer == 3 and not self.mpeg1 else 1152

    @property
    def side_bytes(self) -> int:
        """Bytes between the header and a Xing or Info tag, in layer III."""
        if self.mpeg1:
            return 17 if self.channels == 1 else 32
        return 9 if self.channels == 1 else 17


@dataclasses.dataclass(frozen=True)
class _LengthFrame:
    """A Xing, Info or VBRI frame.

    Args:
        frames: the number of frames that follow it; None if it does not say.
        bytes: the size of the stream; None if it does not say.
        place: the position of the number of frames in the frame; None for VBRI.
    """

    frames: int | None
    bytes: int | None
    place: int | None


@dataclasses.dataclass
class _Stream:
    """Frames of one kind in a row.

    Args:
        header: the header of the first frame.
        start, stop: positions in the file.
        frames: the number of frames with sound.
        length_frame: the Xing or Info frame at `start`, or None.
        last: the position of the last frame.
        goes_on: whether this is the rest of the stream before it, after damaged bytes.
    """

    header: _Header
    start: int
    stop: int
    frames: int
    length_frame: _LengthFrame | None
    last: int
    goes_on: bool


def mpeg_layout(content: Content) -> Layout | None:
    """The layout of an MPEG audio file, or of several joined ones; None for other files."""
    start = skip_id3(content, 0)
    stop = end_of_audio(content)
    first = _first_frame(content, start, stop)
    if first is None:
        return None
    header = _header(content.read(first, _HEADER_BYTES))
    length_frame = _length_frame(content, first, header)
    if length_frame is not None and length_frame.place is not None and length_frame.frames:
        # Some encoders do not count the frame that states the size.
        held = stop - first
        if length_frame.bytes in (held, held - header.size):
            return Layout()
    return _count(content, first, stop)


def _count(content: Content, start: int, stop: int) -> Layout:
    """Count the frames, and give each stream a frame with their number."""
    walk = _Walk(content, stop)
    streams = list(walk.streams(start))
    parts = []
    remarks = []
    for number, stream in enumerate(streams):
        stated = stream.length_frame.frames if stream.length_frame else None
        is_last = number == len(streams) - 1
        if stated is not None and stream.frames < stated and is_last:
            return Layout(shortfall="its header announces more than the file holds")
        if stated is not None and abs(stream.frames - stated) > 1:
            remarks.append(
                Remark(
                    RemarkKind.OTHER_LENGTH,
                    f"its header states {stated:,} frames, the file holds {stream.frames:,}",
                )
            )
        parts.append(_part(content, stream))
    if walk.missing_bytes:
        return Layout(shortfall="its last frame announces more than the file holds")
    if walk.skipped:
        detail = f"{walk.skipped:,} bytes between frames are no MPEG audio"
        remarks.append(Remark(RemarkKind.SKIPPED_BYTES, detail))
    recordings = sum(not stream.goes_on for stream in streams)
    if recordings > 1:
        remarks.append(Remark(RemarkKind.JOINED, f"{recordings} recordings"))
    return Layout(tuple(parts), tuple(remarks))


class _Walk:
    """Goes from frame to frame.

    Attributes:
        skipped: bytes between frames that are neither a frame nor a tag.
        missing_bytes: the bytes of the last frame that the file does not hold.
    """

    def __init__(self, content: Content, stop: int):
        self.content = content
        self.stop = stop
        self.skipped = 0
        self.missing_bytes = 0
        self._after_damage = False

    def streams(self, position: int) -> Iterator[_Stream]:
        """The streams from the frame at `position` on."""
        # The few different headers of a file are read once, because this loop is long.
        headers: dict[bytes, _Header | None] = {}
        stream: _Stream | None = None
        while position < self.stop:
            head = self.content.read(position, _HEADER_BYTES)
            if head not in headers:
                headers[head] = _header(head)
            header = headers[head]
            if header is None:
                if stream is not None:
                    yield stream
                stream = None
                position = self._skip(position)
                continue
            if position + header.size > self.stop:
                self.missing_bytes = position + header.size - self.stop
                break
            length_frame = _length_frame(self.content, position, header)
            begins = stream is None or length_frame is not None or header.kind != stream.header.kind
            if begins:
                if stream is not None:
                    yield stream
                stream = _Stream(
                    header=header,
                    start=position,
                    stop=position,
                    frames=0,
                    length_frame=length_frame,
                    last=position,
                    goes_on=self._after_damage and length_frame is None,
                )
            self._after_damage = False
            if length_frame is None:
                stream.frames += 1
            stream.last = position
            position += header.size
            stream.stop = position
        if stream is not None:
            yield stream

    def _skip(self, position: int) -> int:
        """The position of the next frame after bytes that are no frame; `stop` without one."""
        after_tag = skip_id3(self.content, position)
        if after_tag > position:
            return after_tag
        if self.content.read(position, 3) == b"TAG":  # of a file that another was joined to
            return position + 128
        if self.stop - position < _HEADER_BYTES and self.content.read(position, 1) == b"\xff":
            self.missing_bytes = _HEADER_BYTES  # the first bytes of a header
            return self.stop
        found = _first_frame(self.content, position + 1, self.stop, searched=None)
        if found is None:
            # Padding or junk after the last frame does not matter.
            return self.stop
        self.skipped += found - position
        self._after_damage = True
        return found


def _first_frame(
    content: Content, start: int, stop: int, searched: int | None = _SEARCHED_BYTES
) -> int | None:
    """The first position at which several frames follow each other, or a last frame ends."""
    limit = stop if searched is None else min(stop, start + searched)
    position = start
    while True:
        position = content.find(b"\xff", position, limit)
        if position < 0:
            return None
        if _frames_follow(content, position, stop):
            return position
        position += 1


def _frames_follow(content: Content, position: int, stop: int) -> bool:
    kind = None
    for number in range(_FRAMES_IN_ROW):
        header = _header(content.read(position, _HEADER_BYTES))
        if header is None or (kind is not None and header.kind != kind):
            return False
        kind = header.kind
        position += header.size
        if position >= stop:
            return number > 0 or position == stop
    return True


def _header(head: bytes) -> _Header | None:
    """The header of a frame; None for other bytes, and for frames without a stated bit rate."""
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version = head[1] >> 3 & 3  # 0: MPEG 2.5, 2: MPEG 2, 3: MPEG 1
    layer = 4 - (head[1] >> 1 & 3)
    bit_rate_index = head[2] >> 4
    rate_index = head[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    mpeg1 = version == 3
    bit_rate = 1000 * _BIT_RATES[mpeg1, layer][bit_rate_index - 1]
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        size = (12 * bit_rate // rate + padding) * 4
    elif layer == 3 and not mpeg1:
        size = 72 * bit_rate // rate + padding
    else:
        size = 144 * bit_rate // rate + padding
    return _Header(
        kind=(head[1] & 0x1E) << 8 | head[2] & 0x0C,
        mpeg1=mpeg1,
        layer=layer,
        rate=rate,
        channels=1 if head[3] >> 6 == 3 else 2,
        size=size,
    )


def _length_frame(content: Content, position: int, header: _Header) -> _LengthFrame | None:
    """The Xing, Info or VBRI frame at `position`; None if that frame has sound."""
    if header.layer != 3:
        return None
    place = _HEADER_BYTES + header.side_bytes
    frame = content.read(position, 54)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        return _read_xing(frame[place:], place)
    if frame[36:40] == b"VBRI":
        size, frames = struct.unpack(">II", frame[46:54])
        return _LengthFrame(frames, size, None)
    return None


def _read_xing(tag: bytes, place: int) -> _LengthFrame:
    flags = int.from_bytes(tag[4:8], "big")
    frames = None
    size = None
    offset = 8
    if flags & _HAS_FRAMES:
        frames = int.from_bytes(tag[offset : offset + 4], "big")
        offset += 4
    if flags & _HAS_BYTES:
        size = int.from_bytes(tag[offset : offset + 4], "big")
    return _LengthFrame(frames, size, place + 8 if flags & _HAS_FRAMES else None)


def _part(content: Content, stream: _Stream) -> Part:
    """A stream with the number of its frames, as libsndfile needs it."""
    sound = Section(stream.start, stream.stop)
    header = stream.header
    if header.layer != 3:
        return _without_tag(content, stream)
    length_frame = stream.length_frame
    if length_frame is not None and length_frame.place is not None:
        if length_frame.frames == stream.frames:
            return Part((sound,))
        place = stream.start + length_frame.place
        number = stream.frames.to_bytes(4, "big")
        return Part((Section(stream.start, place), number, Section(place + 4, stream.stop)))
    if length_frame is not None:
        sound = Section(stream.start + header.size, stream.stop)
    return Part((_info_frame(content, stream, len(sound)), sound))


def _without_tag(content: Content, stream: _Stream) -> Part:
    """A stream of layer I or II, for which libsndfile knows no frame with the length.

    Copies of the last frame make libsndfile's estimate large enough; they are not returned.
    """
    header = stream.header
    last = content.read(stream.last, stream.stop - stream.last)
    held = stream.stop - stream.start
    needed = (stream.frames + 2) * max(header.size, 1) - held
    copies = max(needed, 0) // max(len(last), 1) + 2
    return Part(
        (Section(stream.start, stream.stop), last * copies),
        frames=stream.frames * header.samples,
    )


def _info_frame(content: Content, stream: _Stream, sound_bytes: int) -> bytes:
    """A frame without sound that states the number of frames of a stream of layer III."""
    head = bytearray(content.read(stream.start, _HEADER_BYTES))
    head[1] |= 1  # no CRC
    tag_bytes = stream.header.side_bytes + 16
    for bit_rate_index in range(1, 15):
        head[2] = bit_rate_index << 4 | head[2] & 0x0C
        header = _header(bytes(head))
        if header.size >= _HEADER_BYTES + tag_bytes:
            break
    flags = _HAS_FRAMES | _HAS_BYTES
    tag = b"Info" + struct.pack(">III", flags, stream.frames, sound_bytes + header.size)
    frame = bytes(head) + bytes(header.side_bytes) + tag
    return frame.ljust(header.size, b"\x00")

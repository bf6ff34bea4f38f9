"""FLAC: its number of samples, and where a joined file begins.

A program that writes to a pipe leaves the number 0, which stands for "unknown" (RFC 9639). The
header of the last frame has the position of that frame, so that no sample needs to be decoded.
"""

import dataclasses

from ..remarks import Remark, RemarkKind
from .layout import Content, Layout, Part, Section
from .tags import end_of_audio, skip_id3

_MAGIC = b"fLaC"
_STREAM_MAGIC = b"fLaC\x00\x00\x00\x22"  # with the header of the first metadata block
_STREAMINFO_BYTES = 34
_SAMPLES_MASK = (1 << 36) - 1
_LARGEST_TAIL = 1 << 20  # the most bytes in which the last frame is searched
_READ_AHEAD = 10_000  # libFLAC reads 8 kB at once
_TAIL = 1 << 11
_SHORTEST_HEADER = 6
_LONGEST_HEADER = 16
_CANDIDATES = 3  # headers at the end of a stream that are tried


@dataclasses.dataclass(frozen=True)
class _StreamInfo:
    """The block STREAMINFO.

    Args:
        position: of the eight bytes with rate, channels, bits and number of samples.
        block_size: samples in a block, if all blocks have the same number.
        packed: these bytes as a number.
    """

    position: int
    block_size: int
    packed: int

    @property
    def samples(self) -> int:
        """The number of samples; 0 if unknown."""
        return self.packed & _SAMPLES_MASK

    def with_samples(self, samples: int) -> bytes:
        return (self.packed & ~_SAMPLES_MASK | samples).to_bytes(8, "big")


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A frame: the position after its last sample, and whether all of its bytes are there."""

    end: int
    is_whole: bool


@dataclasses.dataclass(frozen=True)
class _Stream:
    """One stream as libsndfile can read it; see `Layout`."""

    part: Part
    remark: Remark | None = None
    shortfall: str | None = None


def flac_layout(content: Content, thorough: bool = False) -> Layout:
    """The layout of a FLAC file, or of several joined ones.

    Args:
        content: the file.
        thorough: search the whole file for another stream, not only its end.
    """
    starts = [skip_id3(content, 0)]
    # The file is searched only if libsndfile stops before its end, because that takes as long as a
    # tenth of decoding.
    tail = max(content.size - _READ_AHEAD, 0)
    is_late = content.data is None and not thorough
    if not is_late or content.find(_STREAM_MAGIC, max(tail, starts[0] + 1), content.size) >= 0:
        starts = _starts(content)
    stops = [*starts[1:], content.size]
    parts = []
    remarks = []
    for start, stop in zip(starts, stops, strict=True):
        stream = _read_stream(content, start, stop)
        if is_late and (stream.remark is not None or stream.shortfall is not None):
            return flac_layout(content, thorough=True)  # the last frame may be another stream's
        if stream.shortfall is not None:
            return Layout(shortfall=stream.shortfall)
        parts.append(stream.part)
        if stream.remark is not None:
            remarks.append(stream.remark)
    if len(parts) > 1:
        remarks.append(Remark(RemarkKind.JOINED, f"{len(parts)} recordings"))
    if not remarks:
        return Layout(may_go_on=is_late)
    return Layout(tuple(parts), tuple(remarks))


def _starts(content: Content) -> list[int]:
    """The positions of the streams."""
    starts = [skip_id3(content, 0)]
    while True:
        start = content.find(_STREAM_MAGIC, starts[-1] + len(_MAGIC), content.size)
        if start < 0:
            return starts
        starts.append(start)


def _read_stream(content: Content, start: int, stop: int) -> _Stream:
    """Compare the number of samples of one stream with its last frame."""
    whole = Part((Section(start, stop),))
    info = _stream_info(content, start)
    frame = None if info is None else _last_frame(content, info, start, stop)
    if frame is None or frame.end == info.samples:
        return _Stream(whole)
    if stop == content.size:
        stop = end_of_audio(content)
        frame = _last_frame(content, info, start, stop) or frame
    if frame.end < info.samples:
        return _Stream(whole, shortfall="its header announces more than the file holds")
    if not frame.is_whole:
        if info.samples:
            return _Stream(whole)  # what follows the announced samples is no frame
        return _Stream(whole, shortfall="its last frame announces more than the file holds")

    if info.samples == 0:
        remark = Remark(RemarkKind.NO_LENGTH, f"its last frame ends at sample {frame.end:,}")
    else:
        remark = Remark(
            RemarkKind.OTHER_LENGTH,
            f"its header states {info.samples:,} samples, its last frame ends at {frame.end:,}",
        )
    header = info.with_samples(frame.end)
    pieces = (
        Section(start, info.position),
        header,
        Section(info.position + len(header), stop),
    )
    return _Stream(Part(pieces), remark)


def _stream_info(content: Content, start: int) -> _StreamInfo | None:
    head = content.read(start, 8 + _STREAMINFO_BYTES)
    if not head.startswith(_MAGIC) or len(head) < 8 + _STREAMINFO_BYTES or head[4] & 0x7F:
        return None
    return _StreamInfo(
        position=start + 18,
        block_size=int.from_bytes(head[8:10], "big"),
        packed=int.from_bytes(head[18:26], "big"),
    )


def _last_frame(content: Content, info: _StreamInfo, start: int, stop: int) -> _Frame | None:
    """The last frame of a stream; None if no frame begins near its end."""
    tail = b""
    length = _TAIL
    while length <= _LARGEST_TAIL:
        begin = max(start, stop - length)
        tail = content.read(begin, stop - begin)
        frame = _last_frame_in(tail, info)
        if frame is not None or begin == start:
            return frame
        length *= 4
    return None


def _last_frame_in(tail: bytes, info: _StreamInfo) -> _Frame | None:
    """The last frame in the last bytes of a stream.

    Bytes within a frame may look like a header. The CRC of the whole frame tells them apart.
    """
    last = None
    candidates = 0
    position = _last_sync(tail, len(tail))
    while position >= 0 and candidates < _CANDIDATES:
        end = _end_of_frame(tail[position : position + _LONGEST_HEADER], info)
        if end is not None:
            candidates += 1
            if end == info.samples or _crc16(tail[position:]) == 0:
                return _Frame(end, is_whole=True)
            if last is None:
                last = _Frame(end, is_whole=False)
        position = _last_sync(tail, position)
    return last


def _last_sync(tail: bytes, stop: int) -> int:
    """The last position before `stop` at which a frame may begin, or -1."""
    return max(tail.rfind(b"\xff\xf8", 0, stop), tail.rfind(b"\xff\xf9", 0, stop))


def _end_of_frame(header: bytes, info: _StreamInfo) -> int | None:
    """The position after the last sample of a frame; None if these bytes are no frame header."""
    if len(header) < _SHORTEST_HEADER or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    size_code = header[2] >> 4
    if size_code == 0 or header[2] & 0x0F == 0x0F:
        return None
    number, position = _coded_number(header, 4)
    if number is None:
        return None
    if size_code == 1:
        block_size = 192
    elif size_code <= 5:
        block_size = 576 << (size_code - 2)
    elif size_code >= 8:
        block_size = 256 << (size_code - 8)
    else:
        extra_bytes = size_code - 5
        block_size = int.from_bytes(header[position : position + extra_bytes], "big") + 1
        position += extra_bytes
    rate_code = header[2] & 0x0F
    if rate_code >= 12:
        position += 1 if rate_code == 12 else 2
    if position >= len(header) or _crc8(header[:position]) != header[position]:
        return None
    is_fixed = header[1] & 1 == 0
    begin = number * info.block_size if is_fixed else number
    return begin + block_size


def _coded_number(header: bytes, position: int) -> tuple[int | None, int]:
    """The number in the manner of UTF-8, up to 36 bits, and the position after it."""
    first = header[position]
    length = 8 - (first ^ 0xFF).bit_length()
    if length == 0:
        return first, position + 1
    if length == 1 or length > 7:
        return None, position
    number = first & (0x7F >> length)
    following = header[position + 1 : position + length]
    if len(following) < length - 1:
        return None, position
    for byte in following:
        if byte & 0xC0 != 0x80:
            return None, position
        number = number << 6 | byte & 0x3F
    return number, position + length


def _crc8(content: bytes) -> int:
    """CRC-8 with the polynomial of FLAC's frame headers."""
    value = 0
    for byte in content:
        value = _CRC8[value ^ byte]
    return value


def _crc16(content: bytes) -> int:
    """CRC-16 of FLAC's frames; 0 for a whole frame with its own CRC at the end."""
    value = 0
    for byte in content:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value


def _table(polynomial: int, bits: int) -> list[int]:
    """The values of a CRC for each byte."""
    top = 1 << (bits - 1)
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value & top else 0)
        table.append(value & (2 * top - 1))
    return table


_CRC8 = _table(0x07, 8)
_CRC16 = _table(0x8005, 16)

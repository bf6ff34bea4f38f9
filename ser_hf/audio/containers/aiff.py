"""AIFF and AIFF-C: where their samples begin and end."""

import dataclasses

from .chunks import Chunk, ChunkFile, chunks_until, extent, layout_of_files
from .layout import Content, Layout, Part, Section

# The kinds of AIFF-C with a fixed number of bytes per sample: the bits in COMM, or one byte.
_KINDS_OF_BITS = (b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32")
_KINDS_OF_BYTES = (b"ulaw", b"ULAW", b"alaw", b"ALAW", b"raw ")
_RATE_BIAS = 16383 + 63  # of the exponent of an 80-bit float


@dataclasses.dataclass(frozen=True)
class _Common:
    """The chunk COMM.

    Args:
        chunk: its place.
        fields: its bytes.
        frame_bytes: the bytes of one frame; 0 if frames have no fixed size.
    """

    chunk: Chunk
    fields: bytes
    frame_bytes: int

    @property
    def rate(self) -> float:
        """The sampling rate, an 80-bit float in the file."""
        exponent = int.from_bytes(self.fields[8:10], "big") & 0x7FFF
        mantissa = int.from_bytes(self.fields[10:18], "big")
        # The limit avoids an overflow; no rate is that high.
        return mantissa * 2.0 ** min(exponent - _RATE_BIAS, 0)

    def with_frames(self, frames: int) -> bytes:
        """The chunk with another number of frames."""
        content = self.fields[:2] + frames.to_bytes(4, "big") + self.fields[6:]
        padding = bytes(self.chunk.size & 1)
        return b"COMM" + self.chunk.size.to_bytes(4, "big") + content + padding


def aiff_layout(content: Content) -> Layout:
    """The layout of an AIFF file, or of several joined ones."""
    return layout_of_files(content, _aiff_file)


def _aiff_file(content: Content, start: int) -> ChunkFile | None:
    """The AIFF file at a position; None for another file, which libsndfile refuses itself."""
    form = content.read(start, 12)
    if form[:4] != b"FORM" or form[8:] not in (b"AIFF", b"AIFC"):
        return None
    chunks = chunks_until(content, start + 12, "big", b"SSND")
    by_name = {chunk.name: chunk for chunk in chunks}
    if b"COMM" not in by_name or b"SSND" not in by_name:
        return None
    common = _read_common(content, by_name[b"COMM"], form[8:])

    def rebuild(stop: int) -> Part:
        return _rebuilt(form[8:], common, chunks, stop)

    samples = extent(
        content,
        by_name[b"SSND"],
        order="big",
        stated_end=start + 8 + int.from_bytes(form[4:8], "big"),
        byte_rate=int(common.rate * common.frame_bytes),
    )
    return ChunkFile(samples, rebuild if common.frame_bytes else None)


def _read_common(content: Content, chunk: Chunk, form: bytes) -> _Common:
    fields = content.read(chunk.begin, chunk.size)
    channels = int.from_bytes(fields[:2], "big")
    kind = fields[18:22] if form == b"AIFC" else b"NONE"
    frame_bytes = 0
    if kind in _KINDS_OF_BITS:
        bits = int.from_bytes(fields[6:8], "big")
        frame_bytes = channels * ((bits + 7) // 8)
    elif kind in _KINDS_OF_BYTES:
        frame_bytes = channels
    return _Common(chunk, fields, frame_bytes)


def _rebuilt(form: bytes, common: _Common, chunks: list[Chunk], stop: int) -> Part:
    """The file with new sizes and a new number of frames."""
    data = chunks[-1]
    size = stop - data.begin
    offset_bytes = 8  # the chunk begins with the offset of the first sample and a block size
    pieces: list[Section | bytes] = [form]
    for chunk in chunks[:-1]:
        if chunk.name == b"COMM":
            pieces.append(common.with_frames((size - offset_bytes) // common.frame_bytes))
        else:
            pieces.append(Section(chunk.start, chunk.end))
    pieces += [b"SSND", size.to_bytes(4, "big"), Section(data.begin, stop)]
    form_size = sum(len(piece) for piece in pieces)
    return Part((b"FORM", form_size.to_bytes(4, "big"), *pieces))

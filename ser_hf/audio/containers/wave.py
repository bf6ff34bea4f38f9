"""WAV (RIFF, RIFX, RF64, BW64): where its samples begin and end."""

import dataclasses

from .chunks import Chunk, ChunkFile, Order, chunks_until, extent, layout_of_files
from .layout import Content, Layout, Part, Section

_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_LARGEST_SIZE = b"\xff\xff\xff\xff"  # libsndfile reads to the end of the file
_IN_DS64 = 0xFFFFFFFF  # stands for a size that is in the chunk ds64


def wave_layout(content: Content) -> Layout:
    """The layout of a WAV file, or of several joined ones."""
    return layout_of_files(content, _wave_file)


def _wave_file(content: Content, start: int) -> ChunkFile | None:
    """The WAV file at a position; None for another file, which libsndfile refuses itself."""
    magic = content.read(start, 4)
    if magic not in _MAGICS or content.read(start + 8, 4) != b"WAVE":
        return None
    order: Order = "big" if magic == b"RIFX" else "little"
    chunks = chunks_until(content, start + 12, order, b"data")
    if not chunks or chunks[-1].name != b"data":
        return None

    data = chunks[-1]
    file_size = int.from_bytes(content.read(start + 4, 4), order)
    byte_rate = 0
    for chunk in chunks:
        if chunk.name == b"ds64" and data.size == _IN_DS64:
            sizes = content.read(chunk.begin, 16)
            file_size = int.from_bytes(sizes[:8], order)
            size = int.from_bytes(sizes[8:], order)
            # Both 0 and -1 stand for an unknown size.
            data = dataclasses.replace(data, size=size if size < 2**63 else 0)
        elif chunk.name == b"fmt ":
            byte_rate = int.from_bytes(content.read(chunk.begin + 8, 4), order)

    def rebuild(stop: int) -> Part:
        return _rebuilt(magic, chunks, stop)

    samples = extent(
        content,
        data,
        order=order,
        stated_end=start + 8 + file_size,
        byte_rate=byte_rate,
    )
    return ChunkFile(samples, rebuild)


def _rebuilt(magic: bytes, chunks: list[Chunk], stop: int) -> Part:
    """The file with new sizes, and without the chunks that repeat them."""
    pieces: list[Section | bytes] = [
        b"RIFX" if magic == b"RIFX" else b"RIFF",
        _LARGEST_SIZE,
        b"WAVE",
    ]
    for chunk in chunks[:-1]:
        if chunk.name not in (b"ds64", b"fact"):
            pieces.append(Section(chunk.start, chunk.end))
    pieces += [b"data", _LARGEST_SIZE, Section(chunks[-1].begin, stop)]
    return Part(tuple(pieces))

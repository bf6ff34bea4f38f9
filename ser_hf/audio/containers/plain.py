"""AU, W64, CAF, NIST SPHERE and MP4: the size of the samples in one place of the header."""

import re

from ..remarks import Remark, RemarkKind
from .layout import Content, Layout, Part, Section
from .tags import TAGS

_SHORTFALL = "its header announces more than the file holds"
_AU_MAGIC = b".snd"
_UNKNOWN_AU_SIZE = 0xFFFFFFFF
_UNKNOWN_W64_SIZE = 1 << 62
_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_SPHERE_FIELD = re.compile(rb"^(\w+) -i (\d+)", re.MULTILINE)


def au_layout(content: Content) -> Layout:
    """The layout of an AU file (.au, .snd), or of several joined ones."""
    parts = []
    remarks = []
    start = 0
    while start < content.size:
        begin = start + int.from_bytes(content.read(start + 4, 4), "big")
        size = int.from_bytes(content.read(start + 8, 4), "big")
        held = content.size - begin
        if size == _UNKNOWN_AU_SIZE or held <= 0:
            size = max(held, 0)
        elif size > held:
            return Layout(shortfall=_SHORTFALL)
        stop = begin + size
        next_bytes = content.read(stop, 4)
        is_rest = next_bytes[:3] in TAGS or next_bytes == _AU_MAGIC or content.only_zeros(stop)
        if not is_rest:
            kind = RemarkKind.OTHER_LENGTH if size else RemarkKind.NO_LENGTH
            detail = f"its header states {size:,} bytes of samples, the file holds {held:,}"
            remarks.append(Remark(kind, detail))
            stop = content.size
        unknown = _UNKNOWN_AU_SIZE.to_bytes(4, "big")
        parts.append(Part((Section(start, start + 8), unknown, Section(start + 12, stop))))
        if next_bytes != _AU_MAGIC:
            break
        start = stop
    if len(parts) > 1:
        remarks.append(Remark(RemarkKind.JOINED, f"{len(parts)} recordings"))
    return Layout(tuple(parts) if remarks else (), tuple(remarks))


def w64_layout(content: Content) -> Layout:
    """The layout of a W64 file, whose sizes have 64 bits and count their own header."""
    position = 40
    while position + 24 <= content.size:
        header = content.read(position, 24)
        size = int.from_bytes(header[16:], "little")
        if header[:4] == b"data" and header[4:16] == _W64_GUID_TAIL:
            # Programs that write to a pipe leave a size near the largest one.
            is_cut = position + size > content.size and size < _UNKNOWN_W64_SIZE
            return Layout(shortfall=_SHORTFALL if is_cut else None)
        if size < 24:
            break
        position += size + (-size % 8)
    return Layout()


def caf_layout(content: Content) -> Layout:
    """The layout of a CAF file, in which the size -1 means that samples go on to the end."""
    position = 8
    while position + 12 <= content.size:
        header = content.read(position, 12)
        size = int.from_bytes(header[4:], "big", signed=True)
        if header[:4] == b"data":
            held = content.size - position - 12
            if size > held:
                return Layout(shortfall=_SHORTFALL)
            if size >= 0:
                return Layout()
            pieces = (
                Section(0, position + 4),
                held.to_bytes(8, "big"),
                Section(position + 12, content.size),
            )
            return Layout((Part(pieces),), (Remark(RemarkKind.NO_LENGTH),))
        if size < 0:
            break
        position += 12 + size
    return Layout()


def sphere_layout(content: Content) -> Layout:
    """The layout of a NIST SPHERE file, whose header is text."""
    try:
        header_size = int(content.read(8, 8))
    except ValueError:
        return Layout()
    header = content.read(0, min(header_size, 1 << 16))
    fields = {name: int(value) for name, value in _SPHERE_FIELD.findall(header)}
    frame_bytes = fields.get(b"sample_n_bytes", 0) * fields.get(b"channel_count", 1)
    announced = fields.get(b"sample_count", 0) * frame_bytes
    is_packed = b"shorten" in header or b"wavpack" in header
    if not is_packed and header_size + announced > content.size:
        return Layout(shortfall=_SHORTFALL)
    return Layout()


def mp4_layout(content: Content) -> Layout:
    """The layout of an MP4 file (.m4a), which libsndfile does not read: whether it was cut."""
    position = 0
    while position + 8 <= content.size:
        header = content.read(position, 16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if size == 0:
            return Layout()  # the last box, which goes on to the end
        if size < 8:
            break
        position += size
    is_cut = position > content.size
    return Layout(shortfall=_SHORTFALL if is_cut else None)

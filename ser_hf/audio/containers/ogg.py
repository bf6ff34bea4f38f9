"""Ogg (Vorbis, Opus, FLAC): whether its pages are complete, and where a joined file begins."""

import dataclasses

from ..remarks import Remark, RemarkKind
from .layout import Content, Layout, Part, Section

_MAGIC = b"OggS"
_HEADER_BYTES = 27
_FIRST_PAGE = 2
_LAST_PAGE = 4


@dataclasses.dataclass
class _Pages:
    """What the pages of a file say.

    Args:
        starts: the positions at which streams begin.
        ended: whether the last page has the end mark.
        missing_pages: the number of gaps in the numbers of pages.
        skipped: bytes between pages.
        is_cut: whether the file ends within a page.
        stop: the position after the last page.
    """

    starts: list[int]
    ended: bool = False
    missing_pages: int = 0
    skipped: int = 0
    is_cut: bool = False
    stop: int = 0


def ogg_layout(content: Content) -> Layout:
    """The layout of an Ogg file, or of several joined (chained) ones."""
    pages = _read_pages(content)
    if pages.is_cut:
        return Layout(shortfall="its last page announces more than the file holds")
    remarks = []
    if not pages.ended:
        remarks.append(Remark(RemarkKind.NO_END))
    if pages.missing_pages or pages.skipped:
        detail = f"{pages.missing_pages} gaps between pages, {pages.skipped:,} bytes are no page"
        remarks.append(Remark(RemarkKind.SKIPPED_BYTES, detail))
    parts: list[Part] = []
    if len(pages.starts) > 1:
        remarks.append(Remark(RemarkKind.JOINED, f"{len(pages.starts)} recordings"))
        stops = [*pages.starts[1:], pages.stop]
        for start, stop in zip(pages.starts, stops, strict=True):
            parts.append(Part((Section(start, stop),)))
    return Layout(tuple(parts), tuple(remarks))


def _read_pages(content: Content) -> _Pages:
    """Go from page to page."""
    pages = _Pages(starts=[])
    next_numbers: dict[bytes, int] = {}  # of each stream
    position = 0
    may_begin = True
    while position + _HEADER_BYTES <= content.size:
        header = content.read(position, _HEADER_BYTES)
        if header[:4] != _MAGIC:
            found = content.find(_MAGIC, position + 1, content.size)
            if found < 0:
                break  # a tag or padding after the last page
            pages.skipped += found - position
            position = found
            continue
        segments = content.read(position + _HEADER_BYTES, header[26])
        size = _HEADER_BYTES + len(segments) + sum(segments)
        if len(segments) < header[26] or position + size > content.size:
            pages.is_cut = True
            break
        flags = header[5]
        serial = header[14:18]
        number = int.from_bytes(header[18:22], "little")
        if flags & _FIRST_PAGE and may_begin:
            pages.starts.append(position)
            next_numbers.clear()
        elif serial in next_numbers and number != next_numbers[serial]:
            pages.missing_pages += 1
        next_numbers[serial] = number + 1
        # Streams that are read side by side all begin before one of them goes on.
        may_begin = not flags & _FIRST_PAGE
        pages.ended = bool(flags & _LAST_PAGE)
        position += size
        pages.stop = position
    if content.size - position < _HEADER_BYTES:
        head = content.read(position, len(_MAGIC))
        pages.is_cut = pages.is_cut or (bool(head) and _MAGIC.startswith(head))
    return pages

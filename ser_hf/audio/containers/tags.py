"""ID3 and APE tags before and after the audio of a file."""

from .layout import Content

TAGS = (b"TAG", b"ID3", b"APE", b"LYR")  # the first bytes of tags of music players
_ID3V1_BYTES = 128
_APE_FOOTER_BYTES = 32
_APE_HAS_HEADER = 1 << 31


def skip_id3(content: Content, position: int) -> int:
    """The position after the ID3v2 tags that begin at `position`."""
    while True:
        head = content.read(position, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            return position
        has_footer = bool(head[5] & 0x10)
        position += 10 + _synchsafe(head[6:]) + 10 * has_footer


def end_of_audio(content: Content) -> int:
    """The position before the ID3v1, ID3v2 and APE tags at the end of a file."""
    end = content.size
    while True:
        last = content.read(max(end - _ID3V1_BYTES, 0), min(end, _ID3V1_BYTES))
        size = _size_of_tag(last)
        if not 0 < size <= end:
            return end
        end -= size


def _size_of_tag(last: bytes) -> int:
    """The size of the tag that ends with these bytes; 0 if there is none."""
    if len(last) == _ID3V1_BYTES and last[:3] == b"TAG":
        return _ID3V1_BYTES
    footer = last[-_APE_FOOTER_BYTES:]
    if footer[:8] == b"APETAGEX":
        has_header = int.from_bytes(footer[20:24], "little") & _APE_HAS_HEADER
        return int.from_bytes(footer[12:16], "little") + (_APE_FOOTER_BYTES if has_header else 0)
    if footer[-10:-7] == b"3DI":
        return 20 + _synchsafe(footer[-4:])
    return 0


def _synchsafe(content: bytes) -> int:
    """A number with seven bits in each byte."""
    number = 0
    for byte in content:
        number = number << 7 | byte & 0x7F
    return number

"""Containers of audio: where the samples of a file begin and end, whatever its header states.

libsndfile decodes, but takes the length in a header, or its own estimate for MPEG audio, for the
truth, and reads the first of several joined recordings only. `layout_of` compares the header with
the file and says how libsndfile is to be called so that it reads all of it. A dependency on
ffmpeg's libraries would do the same, with another decoder and 100 MB of binaries.
"""

from .aiff import aiff_layout
from .flac import flac_layout
from .layout import Content, Layout, Part, SplicedFile
from .mpeg import mpeg_layout
from .ogg import ogg_layout
from .plain import au_layout, caf_layout, mp4_layout, sphere_layout, w64_layout
from .tags import skip_id3
from .wave import wave_layout

__all__ = ["Content", "Layout", "Part", "SplicedFile", "layout_of"]

_MPEG_SUFFIXES = (".mp3", ".mp2", ".mp1")
_BY_MAGIC = {
    b"RIFF": wave_layout,
    b"RIFX": wave_layout,
    b"RF64": wave_layout,
    b"BW64": wave_layout,
    b"FORM": aiff_layout,
    b"OggS": ogg_layout,
    b".snd": au_layout,
    b"riff": w64_layout,
    b"caff": caf_layout,
    b"NIST": sphere_layout,
}


def layout_of(content: Content, thorough: bool = False) -> Layout:
    """Compare the header of a file with its bytes.

    Only the start and the end of most good files are read, and all pages of an Ogg file. Memory
    holds 1 MB at most.

    Args:
        content: the file.
        thorough: search the file for another stream, see `Layout.may_go_on`.
    """
    magic = content.read(0, 4)
    if magic == b"fLaC":
        return flac_layout(content, thorough)
    read_layout = _BY_MAGIC.get(magic)
    if read_layout is not None:
        return read_layout(content)
    # FLAC and MPEG audio may begin with a tag.
    if content.read(4, 4) == b"ftyp":
        return mp4_layout(content)
    start = skip_id3(content, 0)
    if start and content.read(start, 4) == b"fLaC":
        return flac_layout(content, thorough)
    if start or content.read(0, 1) == b"\xff" or content.path.lower().endswith(_MPEG_SUFFIXES):
        return mpeg_layout(content) or Layout(is_estimate=True)
    return Layout()

"""Reads and writes the files of annotation tools by their suffix and content."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..tables import decoded_text
from .audacity import is_audacity, read_audacity, write_audacity
from .elan import is_elan, read_elan
from .rttm import read_rttm, write_rttm
from .textgrid import read_textgrid, write_textgrid
from .turns import Turn

# Suffixes in lower case. The lines of a .txt file show whether it is of Audacity or of ELAN.
ANNOTATION_SUFFIXES = (".textgrid", ".rttm", ".txt", ".tsv")
_WRITERS = {".textgrid": write_textgrid, ".txt": write_audacity, ".rttm": write_rttm}
WRITTEN_SUFFIXES = tuple(_WRITERS)


def read_turns(
    path: str | Path, tier: str | None = None, speaker_tier: str | None = None
) -> list[Turn]:
    """Read the turns of an annotation file.

    Args:
        path: a TextGrid of Praat, a label track of Audacity, tab-delimited text of ELAN, or RTTM.
        tier, speaker_tier: the tiers of emotions and speakers, in formats with tiers (see
            `ser_hf.utils.annotations.turns.turns_of_tiers`).

    Raises:
        UserError: naming the file and the line or tier that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".textgrid":
        return read_textgrid(path, tier, speaker_tier)
    if suffix == ".rttm":
        return read_rttm(path)
    if suffix not in ANNOTATION_SUFFIXES:
        raise UserError(
            f"{path}: unknown format; annotations are {', '.join(ANNOTATION_SUFFIXES)} files"
        )
    text = decoded_text(path)
    if is_elan(text):
        return read_elan(path, tier, speaker_tier)
    if is_audacity(text) or not text.strip():
        return read_audacity(path)
    raise UserError(
        f"{path}: neither a label track of Audacity (start, end and label, separated by tabs) nor "
        "tab-delimited text of ELAN (tier, times, value)"
    )


def write_turns(path: str | Path, turns: Sequence[Turn], duration: float) -> None:
    """Write turns in the format of the suffix: .TextGrid, .txt (Audacity) or .rttm.

    Args:
        turns: of one recording; RTTM may have turns of several.
        duration: seconds of the recording.

    Raises:
        UserError: if the suffix is unknown.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise UserError(f"{path}: unknown format; choose one of {', '.join(_WRITERS)}")
    write(path, turns, duration)

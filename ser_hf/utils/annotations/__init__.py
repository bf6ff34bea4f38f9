"""Annotations of recordings: turns read from and written to files of annotation tools.

| format | suffix | of |
|---|---|---|
| TextGrid | .TextGrid | Praat |
| label track | .txt | Audacity |
| tab-delimited text | .txt, .tsv | ELAN |
| RTTM | .rttm | speaker diarization (NIST) |
"""

from .files import ANNOTATION_SUFFIXES, WRITTEN_SUFFIXES, read_turns, write_turns
from .turns import Turn

__all__ = ["ANNOTATION_SUFFIXES", "WRITTEN_SUFFIXES", "Turn", "read_turns", "write_turns"]

"""Hotline: an invented corpus of calls, one file each, such as `anna_angry_03.wav`: speaker,
emotion and number.

Cards and reports state the constants below; None stands for an unknown value.
"""

import re
from pathlib import PurePath
from typing import Literal

from ser_hf.corpora.files import parse_files
from ser_hf.corpora.schema import Clip, Listing
from ser_hf.corpora.settings import CorpusSettings

TITLE = "Hotline"
LICENSE = "cc-by-4.0"
LANGUAGE = "en"
URL = None
CITATION = None
ACTED = False

GRAMMAR = re.compile(r"(?P<speaker>[a-z]+)_(?P<emotion>angry|happy|neutral|sad)_(?P<number>\d+)")


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name does not belong to the corpus."""
    fields = GRAMMAR.fullmatch(path.stem)
    if fields is None:
        return None
    return Clip(
        path=str(path),
        emotion=fields["emotion"],
        speaker=f"hotline:{fields['speaker']}",
        id=f"hotline/{path.stem}",
        language=LANGUAGE,
    )


class Settings(CorpusSettings):
    """Keys of `corpus` in a recipe for this corpus; further fields would be its options."""

    name: Literal["hotline"] = "hotline"


def parse(settings: Settings) -> Listing:
    """Read the clips below the root."""
    return parse_files(settings, TITLE, "anna_angry_03.wav", read_name)

"""Hotline: an invented corpus of calls, one file each, such as `anna_angry_03.wav`: speaker,
emotion and number.

The constants below are the facts that cards and reports state; None stands for an unknown one.
"""

import re
from pathlib import Path, PurePath
from typing import Literal

from ser_hf.corpora.files import parse_files
from ser_hf.corpora.schema import Clip, Listing

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


def parse(root: str | Path | None, on_unknown: Literal["error", "skip"] = "error") -> Listing:
    """Read the clips below `root`; other parameters of this function would be keys of `corpus` in a
    recipe.
    """
    return parse_files(root, "hotline", TITLE, "anna_angry_03.wav", read_name, on_unknown)

"""A finding about a corpus: a sentence with numbers, a level, and advice."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ..report.views import counted
from .measure import AudioFile

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A finding about a corpus.

    `code` identifies the kind of finding and does not change between versions. `files` are pairs of
    a path and a remark, which may be empty; or pairs of another `noun`, such as speaker.
    """

    code: str
    level: Level
    text: str
    advice: str = ""
    files: tuple[tuple[str, str], ...] = ()
    noun: str = "file"


def about(
    files: Sequence[AudioFile],
    text: str,
    *,
    code: str,
    level: Level,
    advice: str = "",
    remark: Callable[[AudioFile], str] | None = None,
    noun: str = "clip",
) -> Iterator[Finding]:
    """Make a finding about files, unless there are none.

    Args:
        text: the rest of the sentence, after the number of files.
        remark: function that returns a remark about a file; None for no remarks.
        noun: the word for a file in the sentence.
    """
    if not files:
        return
    members = tuple((file.shown, remark(file) if remark else "") for file in files)
    yield Finding(code, level, f"{counted(len(files), noun)} {text}.", advice, members)

"""Corpora from where they are published: resumed, unpacked without trust, and every file checked.

    ser-hf download ravdess data/RAVDESS

What arrives waits in `.download` below the corpus's folder (`shelf`), named by its content, until all of the release
is there; only then do files get their names, and `.download` goes. `release` is what the command does, `recipes` what
`corpus.download: true` does; `alone` lets one process at a time into a folder. `sources` says who serves what, and
`asking` asks them; `line`, `client` and `fetch` are HTTP; `archives`, `members`, `folders` and `objects` know the
kinds of sources; `standing` compares a folder with the release's list of files.
"""

from .line import Patience
from .recipes import complete
from .release import download
from .standing import Standing, look

__all__ = ["Patience", "Standing", "complete", "download", "look"]

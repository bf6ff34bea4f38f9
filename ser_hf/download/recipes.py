"""`corpus.download: true`: the corpora of a recipe, each looked at before anything of any of them is fetched."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..corpora import CORPORA, complete_options
from ..corpora.files import audio_paths, unfinished
from ..errors import UserError
from . import sources
from .alone import usable_folder
from .release import absent, choose, download
from .standing import look

logger = logging.getLogger(__name__)


class _Corpus(NamedTuple):
    name: str
    root: Path
    options: Mapping[str, Any]


def complete(name: str, root: str | Path | None, options: Mapping[str, Any]) -> None:
    """Downloads what the corpus of a recipe lacks (`corpus.download: true`), or each corpus of a mixture.

    A corpus that is sent after registration has to be in its folder. One that says nothing of where it comes from (a
    table of one's own, a data set of the Hub) is its parser's concern. Names and sizes are looked at, so that this is
    quick where everything is there; and files beside the audio only where an option needs them.

    Raises:
        UserError: as `download` does, and for a corpus that is neither there nor to be had, before anything comes.
    """
    options = complete_options(name, options)
    if name == "mixture":
        items = {f"corpus.corpora[{place}]": item for place, item in enumerate(options["corpora"])}
    else:
        items = {"corpus": {**options, "name": name, "root": root}}
    for corpus in [_checked(key, item) for key, item in items.items()]:
        if corpus is not None:
            _complete(corpus)


def _checked(key: str, item: Mapping[str, Any]) -> _Corpus | None:
    """A corpus that can be downloaded; None for one whose files are there, or are no concern of this module."""
    name, root = item["name"], item["root"]
    if name not in sources.SOURCES and name not in sources.REGISTRATION:
        logger.info("%s: nothing is known to download of %s; it is taken as it is", key, name)
        return None
    module = CORPORA[name]
    if root is None and name in sources.SOURCES:
        raise UserError(f"{key}.root: missing; name the folder to download {module.TITLE} into")
    folder = None if root is None else usable_folder(os.path.expanduser(root), f"{key}.root", module.TITLE)
    if name in sources.REGISTRATION:
        if folder is not None and folder.is_dir() and audio_paths(folder):
            return None
        raise UserError(f"{key}.download: {name}: cannot be downloaded: {sources.REGISTRATION[name]}")
    choose(name, None)
    if item.get("song") and not _sung(name, folder):
        raise UserError(
            f"{key}.download: brings the spoken part, and {key}.song is true; unpack Audio_Song_Actors_01-24.zip of "
            f"{module.URL} into {folder} as well"
        )
    return _Corpus(name, folder, item)


def _complete(corpus: _Corpus) -> None:
    name, root = corpus.name, corpus.root
    standing = look(name, root, hashed=False)
    beside = [item for item in absent(name, root) if item.url and _needed(item, corpus)]
    if standing.missing or beside or unfinished(root):
        standing = download(name, root)
    if not standing.whole:
        logger.warning("%s", standing.told())


def _needed(item: sources.Companion, corpus: _Corpus) -> bool:
    """Whether an option asks for a file, and the file is none of the places where parsers look for it besides."""
    if corpus.options.get(item.option) not in item.values or corpus.options.get("tables") is not None:
        return False
    above = corpus.root.absolute().parents[:2]
    return not any((folder / item.path).is_file() for folder in above)


def _sung(name: str, folder: Path) -> bool:
    """Whether clips of the release are there that its list does not cover."""
    module = CORPORA[name]
    clips = (module.read_name(path) for path in (audio_paths(folder) if folder.is_dir() else ()))
    return any(clip is not None and not module.in_manifest(clip) for clip in clips)

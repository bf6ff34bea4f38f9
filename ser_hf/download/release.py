"""A folder and a corpus's release: what is lacking comes, whatever was there before, and all of it is compared."""

import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from ..corpora import CORPORA, manifest
from ..corpora.files import unfinished
from ..errors import UserError
from . import sources
from .alone import Unwritable, alone_in, clear, usable_folder
from .asking import Asked, Lacking, bring
from .line import Patience
from .sources import Archive, Companion, Kaggle, LfsStore, OnDisk, Source
from .standing import Standing, look

logger = logging.getLogger(__name__)


def download(
    name: str,
    folder: str | Path,
    source: str | None = None,
    jobs: int = 8,
    patience: Patience | None = None,
    replace: bool = False,
) -> Standing:
    """Downloads what a folder lacks of a corpus's release, and compares every byte of it with the release's list.

    Files that stand there are left as they are, but for Git LFS pointers and empty files. What an interrupted or
    failed download has brought is kept, and gone on from; once nothing is lacking, what is left of it is removed.

    Args:
        source: one of the corpus's sources by name (`ser_hf.download.sources`), an archive or a folder on this disk,
            or the address of an archive or of a Git LFS server (which ends in ``/info/lfs``). By default the corpus's
            own, one after another until everything is there; Kaggle is only asked by name.
        jobs: connections at a time, where files come one by one.
        replace: downloads altered files anew, and puts them in the place of those.

    Raises:
        UserError: if there is nothing to download from, the disk is too small or cannot be written to, or the sources
            did not give all of it; the line says what each of them said.
    """
    if name not in CORPORA:
        raise UserError(f"corpus: {name!r} is none of {', '.join(CORPORA)}")
    chosen = choose(name, source)
    if jobs < 1:
        raise UserError(f"--jobs: expected one or more, got {jobs}")
    folder = usable_folder(folder, "DIR", CORPORA[name].TITLE)
    asked = Asked(chosen, source is not None, jobs, patience or Patience())
    _fill(name, folder, asked, lambda: _lacking(name, folder, asked.named, replace))
    _tell_absent(name, folder)
    return look(name, folder, progress=_shown)


def choose(name: str, source: str | None) -> list[Source]:
    """The sources to ask, in order.

    Raises:
        UserError: if there is none, with what to do instead.
    """
    own = sources.SOURCES.get(name, ())
    if source is None:
        if name in sources.REGISTRATION:
            raise UserError(f"{name}: cannot be downloaded: {sources.REGISTRATION[name]}")
        if not own:
            url = getattr(CORPORA[name], "URL", None)
            raise UserError(f"{name}: there is nothing known to download{f'; see {url}' if url else ''}")
        return [one for one in own if not isinstance(one, Kaggle)]
    if name not in manifest.NAMES:
        raise UserError(f"--source: no list of the files of {name} is known to check them by; unpack them yourself")
    if named := [one for one in own if one.name == source]:
        return named
    if source.lower().startswith(("http://", "https://")):
        address = source.rstrip("/")
        return [LfsStore(source, address) if address.endswith("/info/lfs") else Archive(source, source)]
    if source.strip() and "\0" not in source and Path(source).exists():
        return [OnDisk(source)]
    names = "".join(f"{one.name}, " for one in own)
    raise UserError(
        f"--source: {source[:200]!r} is none of {names}a file, a folder, or an address that begins with http"
    )


def absent(name: str, folder: Path) -> list[Companion]:
    """The files beside the audio that are not in a folder."""
    return [item for item in sources.COMPANIONS.get(name, ()) if not (folder / item.path).is_file()]


def _shown(files: Iterable) -> Iterable:
    return tqdm(files, "checking", unit="file", leave=False, disable=None)


def _fill(name: str, folder: Path, asked: Asked, find: Callable[[], Lacking]) -> None:
    """Gets what is lacking, if anything is; then nothing of a download is left in the folder."""
    lacking = find()
    if not lacking and not unfinished(folder):
        return
    try:
        with alone_in(folder):
            lacking = find()  # another process may have brought it in the meantime
            if lacking:
                # For a file beside the audio, which is whole without it, nobody waits long.
                patience = asked.patience if lacking.files else dataclasses.replace(asked.patience, tries=1)
                bring(name, lacking, dataclasses.replace(asked, patience=patience))
            clear(folder)
    except Unwritable as error:
        if lacking.files or unfinished(folder):
            raise
        for item in lacking.companions:
            logger.warning("%s, which %s needs, was not asked for: %s", item.path, item.why, error)


def _lacking(name: str, folder: Path, named: bool, replace: bool) -> Lacking:
    standing = look(name, folder, hashed=True, progress=_shown) if replace else look(name, folder, hashed=False)
    altered = standing.altered_entries() if replace else {}
    files = [*standing.missing, *altered.values()]
    places = standing.stubs | {entry.path: path for path, entry in altered.items()}
    # What is only in an archive comes along with the audio, or where somebody names the archive.
    companions = [item for item in absent(name, folder) if item.url or named or files]
    return Lacking(standing, files, places, companions)


def _tell_absent(name: str, folder: Path) -> None:
    """Where a file is to be had that is in no more than an archive."""
    archives = [one.name for one in sources.SOURCES.get(name, ()) if isinstance(one, Archive)]
    for item in absent(name, folder):
        if item.url is None and archives:
            logger.warning(
                "%s, which %s needs, is not in %s; it is in the archive of %s: ser-hf download %s %s --source %s",
                *(item.path, item.why, folder, archives[0], name, folder, archives[0]),
            )

"""Download of corpora: what a folder lacks of a release comes from its sources, and every file is checked.

    ser-hf download ravdess data/RAVDESS

Files wait in `.download` below the corpus's folder until the release is complete, and are then moved into place.
"""

import errno
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..utils.cache import format_size
from ..utils.errors import UserError
from . import CORPORA, complete_options, download_sources
from .download_sources import Archive, Companion, Connection, Kaggle, LfsStore, Local, Source, SourceError, Staging
from .files import NAMES, UNFINISHED, audio_paths, unfinished
from .release_check import ReleaseCheck, check_release, entries_by_clip

logger = logging.getLogger(__name__)

_SPARE_BYTES = 100 << 20  # stay free on the disk


def download(
    name: str, folder: str | Path, source: str | None = None, jobs: int = 8, replace: bool = False
) -> ReleaseCheck:
    """Downloads what a folder lacks of a corpus's release, and compares every byte with the release's list.

    Files in the folder are left as they are, except Git LFS pointers and empty files. What an interrupted or failed
    download has brought is kept, and the next call continues it.

    Args:
        source: one of the corpus's sources by name (`ser_hf.corpora.download_sources`), an archive or a folder on this
            disk, or the URL of an archive or of a Git LFS server (which ends in ``/info/lfs``). By default the
            corpus's own, one after another until everything has arrived; Kaggle is only used by name.
        jobs: number of files at a time, where they come one by one.
        replace: downloads altered files again, and replaces them.

    Raises:
        UserError: if there is nothing to download from, the disk is too small or cannot be written to, or the sources
            did not provide everything; the line has the reason of each of them.
    """
    if name not in CORPORA:
        raise UserError(f"corpus: {name!r} is unknown; expected one of {', '.join(CORPORA)}")
    sources = _choose_sources(name, source)
    if jobs < 1:
        raise UserError(f"--jobs: expected one or more, got {jobs}")
    folder = usable_folder(folder, "DIR", CORPORA[name].TITLE)
    staging = _find_missing(name, folder, source is not None, replace)
    if staging.wanted or staging.companions or unfinished(folder):
        with _locked(folder):
            staging = _find_missing(name, folder, source is not None, replace)  # another process may have downloaded
            if staging.wanted or staging.companions:
                _fetch(staging, sources, jobs, source is not None)
            if staging.folder.exists():
                shutil.rmtree(staging.folder)
    for item in _absent_companions(name, folder):
        archives = [one.name for one in download_sources.SOURCES.get(name, ()) if isinstance(one, Archive)]
        if item.url is None and archives:
            logger.warning(
                f"{item.path}, which {item.needed_by} needs, is not in {folder}; it is in the archive of "
                f"{archives[0]}: ser-hf download {name} {folder} --source {archives[0]}"
            )
    return check_release(name, folder, progress=_shown)


def download_missing(name: str, root: str | Path | None, options: Mapping[str, Any]) -> None:
    """Downloads what the corpus of a recipe lacks (`corpus.download: true`), or each corpus of a mixture.

    A corpus that requires a registration has to be in its folder. Corpora without known sources (tables of the user,
    data sets of the Hub) are left to their parsers. Names and sizes are compared, so that this is quick where
    everything is present; files beside the audio are only downloaded where an option needs them.

    Raises:
        UserError: as `download`; for a corpus that is neither present nor available, before anything is downloaded.
    """
    options = complete_options(name, options)
    if name == "mixture":
        items = {f"corpus.corpora[{place}]": item for place, item in enumerate(options["corpora"])}
    else:
        items = {"corpus": {**options, "name": name, "root": root}}
    for item, folder in [(item, _checked_folder(key, item)) for key, item in items.items()]:
        if folder is None:
            continue
        check = check_release(item["name"], folder, hashed=False)
        needed = [one for one in _absent_companions(item["name"], folder) if one.url and _is_needed(one, item, folder)]
        if check.missing or needed or unfinished(folder):
            check = download(item["name"], folder)
        if not check.complete:
            logger.warning("%s", check.summary())


def usable_folder(path: str | os.PathLike[str], key: str, title: str) -> Path:
    """The folder for a corpus, which may not exist yet; raises a `UserError` that names `key` if it cannot be one."""
    text = os.fspath(path)
    if not text.strip():
        raise UserError(f"{key}: empty; name the folder for {title}")
    try:
        os.stat(text)
    except FileNotFoundError:
        return Path(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{key}: {text[:200]!r} cannot be a folder ({reason})") from None
    if not os.path.isdir(text):
        raise UserError(f"{text}: is no folder; name the folder for {title}")
    return Path(text)


def _choose_sources(name: str, source: str | None) -> Sequence[Source]:
    own = download_sources.SOURCES.get(name, ())
    if source is None:
        if name in download_sources.REGISTRATION:
            raise UserError(f"{name}: cannot be downloaded: {download_sources.REGISTRATION[name]}")
        if not own:
            url = getattr(CORPORA[name], "URL", None)
            raise UserError(f"{name}: no source is known to download it from{f'; see {url}' if url else ''}")
        return [one for one in own if not isinstance(one, Kaggle)]
    if name not in NAMES:
        raise UserError(f"--source: no list of the files of {name} is known to check them by; unpack them yourself")
    if named := [one for one in own if one.name == source]:
        return named
    if source.lower().startswith(("http://", "https://")):
        url = source.rstrip("/")
        return [LfsStore(source, url) if url.endswith("/info/lfs") else Archive(source, source)]
    if source.strip() and "\0" not in source and Path(source).exists():
        return [Local(source)]
    names = "".join(f"{one.name}, " for one in own)
    raise UserError(f"--source: {source[:200]!r} is unknown; expected {names}a file, a folder, or a URL (http, https)")


def _find_missing(name: str, folder: Path, named: bool, replace: bool) -> Staging:
    check = check_release(name, folder, hashed=replace, progress=_shown)
    places, wanted = dict(check.stubs), list(check.missing)
    for path in check.altered if replace else ():
        entry = entries_by_clip(name)[CORPORA[name].read_name(path).id]
        wanted.append(entry)
        places[entry.path] = path
    # Those that are only in an archive come along with the audio, or where the user names a source.
    companions = [item for item in _absent_companions(name, folder) if item.url or named or wanted]
    return Staging(name, folder, wanted, companions, places)


def _absent_companions(name: str, folder: Path) -> list[Companion]:
    return [item for item in download_sources.COMPANIONS.get(name, ()) if not (folder / item.path).is_file()]


def _shown(files: Iterable) -> Iterable:
    return tqdm(files, "checking", unit="file", leave=False, disable=None)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Creates a folder, and waits until no other process downloads into it.

    Raises:
        UserError: for whatever the disk refuses, and for symbolic links where files are written.
    """
    # The lock is beside `.download` and stays: a lock file that is deleted may be held twice.
    lock, staging = folder / f"{UNFINISHED}.lock", folder / UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (lock, staging, *(staging.glob("*"))):
            if path.is_symlink():
                raise UserError(f"{path}: a symbolic link, through which nothing is written; remove it")
        try:
            held = FileLock(lock).acquire(timeout=0)
        except Timeout:
            logger.info("%s: waiting for another process that downloads into it", folder)
            held = FileLock(lock).acquire()
        with held:
            try:
                yield
            finally:
                with suppress(OSError):  # not empty, most often
                    staging.rmdir()
    except OSError as error:
        place, reason = error.filename2 or error.filename or folder, error.strerror or error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place, remedy = folder, "make room"
        else:
            remedy = "move away what is in the way, or make it writable"
        raise UserError(f"{place}: cannot be written ({reason}); {remedy}, or name another folder") from error


def _fetch(staging: Staging, sources: Sequence[Source], jobs: int, named: bool) -> None:
    """Fetches from one source after the other until everything has arrived, and moves it into place.

    Raises:
        UserError: with the reason of each source, if something is still missing.
        OSError: of the disk.
    """
    staging.require_places()
    staging.folder.mkdir(exist_ok=True)
    if staging.wanted:
        _announce(staging, sources[0])
    reasons = []
    for source in sources:
        if not staging.missing() and not (named and not all(map(staging.has, staging.companions))):
            continue
        try:
            connection = Connection(staging.folder, jobs)
            with connection.session:
                source.fetch(staging, connection)
            if missing := staging.missing():
                more = f" and {len(missing) - 1:,} more" if missing[1:] else ""
                reasons.append(f"{source.name} does not have {missing[0].path}{more} as released")
        except SourceError as error:
            reasons.append(str(error))
            logger.warning("%s", error)
    if missing := [item for item in staging.wanted if not staging.has(item)]:
        unnamed = [one.name for one in download_sources.SOURCES.get(staging.corpus, ()) if one not in sources]
        raise UserError(
            f"{staging.corpus}: {len(missing):,} of {len(entries_by_clip(staging.corpus)):,} files could not be "
            f"downloaded ({'; '.join(reasons)}); the same command "
            f"{f'continues from {staging.folder}' if any(staging.folder.iterdir()) else 'tries again'}"
            f"{', and --source kaggle uses another mirror' if 'kaggle' in unnamed else ''}"
        )
    for item in staging.companions:
        if item.url is not None and not staging.has(item):
            try:
                connection = Connection(staging.folder, 1)
                with connection.session:
                    connection.fetch(item.url, item.sha256, f"sha256:{item.sha256}", item.bytes)
            except SourceError as error:  # without it, the corpus is complete nevertheless
                logger.warning("%s, which %s needs, could not be downloaded: %s", item.path, item.needed_by, error)
    staging.place()


def _announce(staging: Staging, source: Source) -> None:
    """Logs licence and size; raises a `UserError` if the disk has no room for the files, and their archive."""
    corpus, left = CORPORA[staging.corpus], sum(item.bytes for item in staging.missing())
    free = shutil.disk_usage(staging.root).free
    logger.info(
        f"{corpus.TITLE} (licence: {corpus.LICENSE}): {len(staging.wanted):,} of "
        f"{len(entries_by_clip(staging.corpus)):,} files to download, {format_size(left)}; {format_size(free)} are "
        f"free in {staging.root}"
    )
    logger.info("please cite: %s", corpus.CITATION)
    arrived = sum(map(staging.has, staging.wanted))
    if arrived:
        logger.info("%s of them have arrived in an earlier download", f"{arrived:,}")
    present = sum(path.stat().st_size for path in staging.folder.glob("archive-*"))
    archive = max(0, (source.bytes or left) - present) if isinstance(source, Archive) else 0
    if left + archive + _SPARE_BYTES > free:
        raise UserError(
            f"{staging.root}: {format_size(left + archive)} are still to be written and {format_size(_SPARE_BYTES)} "
            f"stay free, but its disk has {format_size(free)} left; make room, or name a folder on another disk"
        )


def _checked_folder(key: str, item: Mapping[str, Any]) -> Path | None:
    """The folder of a recipe's corpus that can be downloaded; None for one whose files are present, or that has no
    known source."""
    name, root = item["name"], item["root"]
    if name not in download_sources.SOURCES and name not in download_sources.REGISTRATION:
        logger.info("%s: no source of %s is known; it is read as it is", key, name)
        return None
    corpus = CORPORA[name]
    if root is None and name in download_sources.SOURCES:
        raise UserError(f"{key}.root: missing; name the folder to download {corpus.TITLE} into")
    folder = None if root is None else usable_folder(os.path.expanduser(root), f"{key}.root", corpus.TITLE)
    if name in download_sources.REGISTRATION:
        if folder is not None and folder.is_dir() and audio_paths(folder):
            return None
        raise UserError(f"{key}.download: {name}: cannot be downloaded: {download_sources.REGISTRATION[name]}")
    clips = [corpus.read_name(path) for path in (audio_paths(folder) if folder.is_dir() else ())]
    if item.get("song") and not any(clip is not None and not corpus.in_manifest(clip) for clip in clips):
        raise UserError(
            f"{key}.download: brings the spoken part, and {key}.song is true; unpack Audio_Song_Actors_01-24.zip of "
            f"{corpus.URL} into {folder} as well"
        )
    return folder


def _is_needed(companion: Companion, item: Mapping[str, Any], folder: Path) -> bool:
    """Whether an option requests a file, and it is in none of the other places where the parser looks for it."""
    if item.get(companion.option) not in companion.values or item.get("tables") is not None:
        return False
    return not any((above / companion.path).is_file() for above in folder.absolute().parents[:2])

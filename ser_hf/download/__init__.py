"""Corpora from where they are published: resumed, unpacked without trust, and every file checked.

    ser-hf download ravdess data/RAVDESS

What arrives waits in `.download` below the corpus's folder (`shelf`), named by its content, until all of the release
is there; only then do files get their names. `sources` says who serves what; `line` and `fetch` are HTTP; `archives`,
`folders` and `objects` know the kinds of sources; `standing` compares a folder with the release's list of files.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout
from tqdm import tqdm

from ..cache import key_of, told_size
from ..corpora import CORPORA, manifest
from ..corpora.files import UNFINISHED, audio_paths
from ..errors import UserError
from .archives import unpack
from .fetch import Expected, fetch
from .folders import kaggle_folder, take_on_disk
from .line import Line, Patience, SourceFailed, host
from .objects import fetch_from_dataverse, fetch_from_lfs
from .shelf import Shelf, Wanted
from .sources import COMPANIONS, REGISTRATION, SOURCES, Archive, Companion, Kaggle, LfsStore, OnDisk, Source
from .standing import Standing, by_clip, look

__all__ = ["Patience", "Standing", "complete", "download", "look"]

logger = logging.getLogger(__name__)

# Archives hold more than the files that are wanted (EMO-DB's: annotations), but not so many times more.
_SLACK = 10
_SPARE_BYTES = 100 << 20


def download(
    name: str,
    folder: str | Path,
    source: str | None = None,
    jobs: int = 8,
    patience: Patience | None = None,
) -> Standing:
    """Downloads what a folder lacks of a corpus's release, and compares every byte of it with the release's list.

    Files that stand there are left as they are, but for Git LFS pointers and empty files. What an interrupted or
    failed download has brought is kept, and gone on from.

    Args:
        source: one of the corpus's sources by name (`ser_hf.download.sources`), an archive or a folder on this disk,
            or the address of an archive or of a Git LFS server (which ends in ``/info/lfs``). By default the corpus's
            own, one after another until everything is there; Kaggle is only asked by name.
        jobs: connections at a time, where files come one by one.

    Raises:
        UserError: if there is nothing to download from, the disk is too small or cannot be written to, or the sources
            did not give all of it; the line says what each of them said.
    """
    if name not in CORPORA:
        raise UserError(f"corpus: {name!r} is none of {', '.join(CORPORA)}")
    chosen = _chosen(name, source)
    if jobs < 1:
        raise UserError(f"--jobs: expected one or more, got {jobs}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; name the one that {CORPORA[name].TITLE} is to lie in")
    if _lacking(name, folder):
        with _alone_in(folder):
            _bring(name, folder, chosen, jobs, patience or Patience())
    return look(name, folder, progress=lambda files: tqdm(files, "checking", unit="file", leave=False, disable=None))


def complete(name: str, root: str | Path | None, options: Mapping[str, Any]) -> None:
    """Downloads what the corpus of a recipe lacks (`corpus.download: true`), or each corpus of a mixture.

    A corpus that cannot be downloaded has to be in its folder. Names and sizes are looked at, so that this is quick
    where everything is there.

    Raises:
        UserError: as `download` does, and for a corpus that is neither there nor to be had.
    """
    if name == "mixture":
        for item in options.get("corpora") or ():
            complete(item["name"], item.get("root"), item)
        return
    if name not in SOURCES and root is not None and Path(root).is_dir() and audio_paths(Path(root)):
        return
    _chosen(name, None)
    if root is None:
        raise UserError(f"corpus.root: missing; name the folder to download {CORPORA[name].TITLE} into")
    if _lacking(name, Path(root)):
        download(name, root)
    standing = look(name, root, hashed=False)
    if options.get("song") and not standing.unlisted:
        raise UserError(
            "corpus.download: brings the spoken part, and corpus.song is true; unpack Audio_Song_Actors_01-24.zip of "
            f"{CORPORA[name].URL} into {root} as well"
        )
    if not standing.whole:
        logger.warning("%s", standing.told())


def _chosen(name: str, source: str | None) -> list[Source]:
    """The sources to ask, in order.

    Raises:
        UserError: if there is none, with what to do instead.
    """
    own = SOURCES.get(name, ())
    if source is None:
        if name in REGISTRATION:
            raise UserError(f"{name}: cannot be downloaded: {REGISTRATION[name]}")
        if not own:
            url = getattr(CORPORA[name], "URL", None)
            raise UserError(f"{name}: there is nothing known to download{f'; see {url}' if url else ''}")
        return [one for one in own if not isinstance(one, Kaggle)]
    if name not in manifest.NAMES:
        raise UserError(f"--source: no list of the files of {name} is known to check them by; unpack them yourself")
    if named := [one for one in own if one.name == source]:
        return named
    if source.startswith(("http://", "https://")):
        return [LfsStore(source, source) if source.endswith("/info/lfs") else Archive(source, source)]
    if Path(source).exists():
        return [OnDisk(source)]
    names = "".join(f"{one.name}, " for one in own)
    raise UserError(f"--source: {source!r} is none of {names}a file, a folder, or an address that begins with http")


def _lacking(name: str, folder: Path) -> bool:
    """Whether something is to come: a file of the release, or one beside it that can be had alone."""
    beside = any(item.url for item in _companions(name, folder))
    return beside or bool(look(name, folder, hashed=False).missing)


def _companions(name: str, folder: Path) -> list[Companion]:
    return [item for item in COMPANIONS.get(name, ()) if not (folder / item.path).is_file()]


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One download at a time in a folder; what its disk refuses is told as a mistake of the user's.

    Raises:
        UserError: if the folder cannot be written to.
    """
    try:
        with _held(folder / UNFINISHED):
            yield
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written to ({error.strerror or error}); make room, or name another folder"
        ) from error


def _held(work: Path) -> AcquireReturnProxy:
    lock, patience = FileLock(work / "lock"), 0
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            return lock.acquire(timeout=patience)
        except FileNotFoundError:
            continue  # who held it has finished, and cleared the folder away
        except Timeout:
            logger.info("%s: another process downloads into it; waiting", work.parent)
            patience = -1


def _bring(name: str, folder: Path, chosen: Sequence[Source], jobs: int, patience: Patience) -> None:
    """Asks one source after the other until everything has arrived, and puts it in its places.

    Raises:
        UserError: with what each source said, if something is still missing.
    """
    standing, companions = look(name, folder, hashed=False), _companions(name, folder)
    shelf = Shelf(folder, standing.missing, companions)
    said = []
    if shelf.open_wants():
        _tell(name, standing, shelf)
    for source in chosen:
        if not shelf.open_wants():
            break
        try:
            _ask(name, source, shelf, jobs, patience)
            if left := shelf.missing():
                said.append(f"{source.name} has not got {left[0].path} and {len(left) - 1:,} more as released")
        except SourceFailed as error:
            said.append(str(error))
            logger.warning("%s", error)
    if left := shelf.missing():
        kaggle = any(isinstance(one, Kaggle) for one in SOURCES.get(name, ()) if one not in chosen)
        raise UserError(
            f"{name}: {len(left):,} of {standing.clips:,} files did not come ({'; '.join(said)}); the same command "
            f"goes on with what is in {shelf.folder}{', and --source kaggle asks another mirror' if kaggle else ''}"
        )
    for companion in companions:
        _bring_companion(companion, shelf, patience)
    shelf.place(standing.stubs)
    shutil.rmtree(shelf.folder, ignore_errors=True)


def _tell(name: str, standing: Standing, shelf: Shelf) -> None:
    """How much comes, under which licence, and whether the disk has room for it."""
    module, size = CORPORA[name], sum(item.bytes for item in standing.missing)
    free = shutil.disk_usage(standing.folder).free
    logger.info(
        f"{module.TITLE} (licence: {module.LICENSE}): {len(standing.missing):,} of {standing.clips:,} files to come, "
        f"{told_size(size)}; {told_size(free)} are free in {standing.folder}"
    )
    logger.info("please cite: %s", module.CITATION)
    here = len(standing.missing) - len(shelf.missing())
    if here:
        logger.info("%s of them are here from a download that did not end", f"{here:,}")
    _require_room(standing.folder, sum(item.bytes for item in shelf.open_wants()))


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        raise UserError(
            f"{folder}: {told_size(size)} are to come, but {told_size(free)} are free on its disk; make room, or name "
            "a folder on another disk"
        )


def _ask(name: str, source: Source, shelf: Shelf, jobs: int, patience: Patience) -> None:
    """Gets from one source what the shelf lacks.

    Raises:
        SourceFailed: if it refuses, or could not give some of it.
    """
    size = sum(item.bytes for item in shelf.open_wants())
    most = _SLACK * sum(entry.bytes for entry in manifest.manifest(name))
    if isinstance(source, OnDisk):
        take_on_disk(Path(source.name), shelf, most)
        return
    if isinstance(source, Kaggle):
        take_on_disk(kaggle_folder(source), shelf, most)
        return
    if isinstance(source, Archive):
        size = source.bytes or 0
        logger.info("an archive%s from %s", f" of {told_size(size)}" if size else "", host(source.url))
    title = source.name if source.name != source.url else host(source.url)
    bar = tqdm(total=size or None, desc=f"{name}, {title}", unit="B", unit_scale=True, leave=False, disable=None)
    with bar, Line(jobs, patience, bar.update) as line:
        if isinstance(source, Archive):
            _ask_for_archive(line, source, shelf, most)
        elif isinstance(source, LfsStore):
            fetch_from_lfs(line, source, shelf, jobs)
        else:
            fetch_from_dataverse(line, source, shelf, jobs, _finder(name))


def _ask_for_archive(line: Line, source: Archive, shelf: Shelf, most: int) -> None:
    archive = shelf.folder / f"archive-{key_of(source.url)[:8]}"
    unpacked = sum(item.bytes for item in shelf.open_wants())
    _require_room(shelf.root, unpacked + (source.bytes or unpacked))
    digest = ("md5", source.md5) if source.md5 else None
    fetch(line, source.url, archive, Expected(source.bytes, digest, most))
    try:
        unpack(archive, shelf, most, f"the archive of {host(source.url)}")
    finally:
        archive.unlink()


def _finder(name: str):
    clips, read_name = by_clip(name), CORPORA[name].read_name

    def find(path: PurePath) -> Wanted | None:
        clip = read_name(path)
        return clips.get(clip.id) if clip else None

    return find


def _bring_companion(companion: Companion, shelf: Shelf, patience: Patience) -> None:
    """A file beside the audio: without it a download is whole all the same."""
    if shelf.path(companion.sha256).exists() or companion.url is None:
        return
    try:
        with Line(1, patience) as line:
            expected = Expected(companion.bytes, ("sha256", companion.sha256))
            fetch(line, companion.url, shelf.path(companion.sha256), expected)
    except SourceFailed as error:
        logger.warning("%s, which %s needs, did not come: %s", companion.path, companion.why, error)

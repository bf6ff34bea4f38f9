"""One source after the other, until everything that a folder lacks of a release has arrived in it."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tqdm import tqdm

from ..cache import key_of, told_size
from ..corpora import CORPORA, manifest
from ..errors import UserError
from . import sources
from .archives import unpack
from .fetch import Expected, arrived, fetch
from .folders import kaggle_folder, take_on_disk
from .line import Line, Patience, SourceFailed, host
from .objects import fetch_from_dataverse, fetch_from_lfs
from .shelf import Shelf, Wanted
from .sources import Archive, Companion, Kaggle, LfsStore, OnDisk, Source
from .standing import Standing, by_clip

logger = logging.getLogger(__name__)

# Archives hold more than the files that are wanted (EMO-DB's: annotations), but not so many times more.
_SLACK = 10
# Stays free on the disk.
_SPARE_BYTES = 100 << 20


@dataclass(frozen=True)
class Lacking:
    """What a folder lacks: files of the release, which of them go to other places than the release's, and files beside
    them that can be had."""

    standing: Standing
    files: list[manifest.Entry]
    places: dict[str, Path]
    companions: list[Companion]

    def __bool__(self) -> bool:
        return bool(self.files or self.companions)


@dataclass(frozen=True)
class Asked:
    """Whom to ask, in order, with how many connections at a time and how much patience; whether a user named the
    source, which then is asked for the files beside the audio too."""

    sources: Sequence[Source]
    named: bool
    jobs: int
    patience: Patience


def bring(name: str, lacking: Lacking, asked: Asked) -> None:
    """Asks one source after the other until everything has arrived, and puts it in its places.

    Raises:
        UserError: with what each source said, if something is still missing.
        OSError: of the disk.
    """
    standing = lacking.standing
    shelf = Shelf(standing.folder, lacking.files, lacking.companions)
    shelf.require_places(lacking.places)
    said = []
    if lacking.files:
        _tell(name, lacking, shelf)
    for source in asked.sources:
        beside = asked.named and isinstance(source, Archive | OnDisk | Kaggle)
        if not (shelf.open_wants() or (beside and not all(map(shelf.has, lacking.companions)))):
            continue
        try:
            _ask(name, source, shelf, asked)
            if left := shelf.missing():
                more = f" and {len(left) - 1:,} more" if left[1:] else ""
                said.append(f"{source.name} has not got {left[0].path}{more} as released")
        except SourceFailed as error:
            said.append(str(error))
            logger.warning("%s", error)
    if left := shelf.missing():
        raise UserError(_told_left(name, left, said, lacking, shelf, asked.sources))
    for companion in lacking.companions:
        _bring_companion(companion, shelf, asked.patience)
    shelf.place(lacking.places)


def _told_left(
    name: str, left: Sequence[Wanted], said: list[str], lacking: Lacking, shelf: Shelf, asked: Sequence[Source]
) -> str:
    kaggle = any(isinstance(one, Kaggle) for one in sources.SOURCES.get(name, ()) if one not in asked)
    some = any(shelf.folder.iterdir())
    return (
        f"{name}: {len(left):,} of {lacking.standing.clips:,} files did not come ({'; '.join(said)}); the same "
        f"command {f'goes on with what is in {shelf.folder}' if some else 'tries again'}"
        f"{', and --source kaggle asks another mirror' if kaggle else ''}"
    )


def _tell(name: str, lacking: Lacking, shelf: Shelf) -> None:
    """How much comes, under which licence, and whether the disk has room for it."""
    module, folder = CORPORA[name], lacking.standing.folder
    size, free = sum(item.bytes for item in lacking.files), shutil.disk_usage(folder).free
    logger.info(
        f"{module.TITLE} (licence: {module.LICENSE}): {len(lacking.files):,} of {lacking.standing.clips:,} files to "
        f"come, {told_size(size)}; {told_size(free)} are free in {folder}"
    )
    logger.info("please cite: %s", module.CITATION)
    here = len(lacking.files) - len(shelf.missing())
    if here:
        logger.info("%s of them are here from a download that did not end", f"{here:,}")
    _require_room(folder, sum(item.bytes - arrived(shelf.path(item.sha256)) for item in shelf.open_wants()))


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        raise UserError(
            f"{folder}: {told_size(size)} are still to come and {told_size(_SPARE_BYTES)} stay free, but "
            f"{told_size(free)} are free on its disk; make room, or name a folder on another disk"
        )


def _ask(name: str, source: Source, shelf: Shelf, asked: Asked) -> None:
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
    with bar, Line(asked.jobs, asked.patience, bar.update) as line:
        if isinstance(source, Archive):
            _ask_for_archive(line, source, shelf, most)
        elif isinstance(source, LfsStore):
            fetch_from_lfs(line, source, shelf, asked.jobs)
        else:
            fetch_from_dataverse(line, source, shelf, asked.jobs, _finder(name))


def _ask_for_archive(line: Line, source: Archive, shelf: Shelf, most: int) -> None:
    archive = shelf.folder / f"archive-{key_of(source.url)[:8]}"
    unpacked = sum(item.bytes for item in shelf.open_wants())
    _require_room(shelf.root, unpacked + max(0, (source.bytes or unpacked) - arrived(archive)))
    digest = ("md5", source.md5) if source.md5 else None
    fetch(line, source.url, archive, Expected(source.bytes, digest, most))
    try:
        unpack(archive, shelf, most, f"the archive of {host(source.url)}")
    except SourceFailed:
        archive.unlink()
        raise
    # Not where the disk fills up or somebody interrupts: then the archive is unpacked by the next command.
    archive.unlink()


def _finder(name: str):
    clips, read_name = by_clip(name), CORPORA[name].read_name

    def find(path: PurePath) -> Wanted | None:
        clip = read_name(path)
        return clips.get(clip.id) if clip else None

    return find


def _bring_companion(companion: Companion, shelf: Shelf, patience: Patience) -> None:
    """A file beside the audio: without it a download is whole all the same."""
    if shelf.has(companion) or companion.url is None:
        return
    try:
        with Line(1, patience) as line:
            expected = Expected(companion.bytes, ("sha256", companion.sha256))
            fetch(line, companion.url, shelf.path(companion.sha256), expected)
    except SourceFailed as error:
        logger.warning("%s, which %s needs, did not come: %s", companion.path, companion.why, error)

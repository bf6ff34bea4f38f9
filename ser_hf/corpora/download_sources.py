"""Sources of the downloadable corpora, and how files of each kind of source reach the staging folder.

Official sources come first, mirrors after them. Size and MD5 of an archive are those that its publisher states. From
every source, a file is only taken if its SHA-256 is in `ser_hf.corpora.files`; names in archives decide nothing.
A source has a `name` and `fetch(staging, connection)`, which raises a `SourceError` if it does not provide all of it.

- RAVDESS: https://zenodo.org/records/1188976 (the record lists size and MD5 of its files).
- CREMA-D: objects in Git LFS are named by their SHA-256, which is the manifest's. The authors point to the mirror on
  GitLab, as GitHub's quota is used up (https://github.com/CheyneyComputerScience/CREMA-D/issues/15).
- TESS: Borealis, where the authors published it, is a Dataverse and serves the clips one by one. The data set of the
  same name in PaddleSpeech downloads a zip of them, and states its MD5.
- EMO-DB: the authors' page; https://zenodo.org/records/7447302 is their later release in audformat.
"""

import dataclasses
import hashlib
import json
import shutil
import stat
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import pooch
import requests
import urllib3
from tqdm import tqdm

from ..utils.cache import key_of
from ..utils.errors import UserError
from ..utils.files import folders_below
from . import CORPORA
from .files import UNFINISHED, Entry, is_lfs_pointer, manifest
from .release_check import entries_by_clip

_HEADERS = {"User-Agent": "ser_hf", "Accept-Encoding": "identity"}  # a compressed body cannot be continued
_LFS_HEADERS = dict.fromkeys(("Accept", "Content-Type"), "application/vnd.git-lfs+json")
# Objects in one request to a Git LFS server: GitHub and GitLab accept a hundred.
_BATCH = 100
# Seconds without a byte, or with fewer than `_SLOWEST` bytes a second, after which a connection is given up.
_STALL_SECONDS = 30.0
_SLOWEST = 200
_RETRIES = 4
_LONGEST_PAUSE = 300.0  # seconds that a server may ask to wait
# Statuses after which the same request may succeed; Git LFS servers send 509 for a bandwidth limit.
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504, 509}
_MOST_FAILURES = 10  # files after which a server is given up
_ANSWER_BYTES = 64 << 20
_SHOWN_BYTES = 64 << 20  # of a file that has a progress bar
# Archives hold more than the wanted files (EMO-DB's: annotations), but not so many times more.
_ARCHIVE_FACTOR = 10
_ARCHIVE_MEMBERS = 100_000


class SourceError(Exception):
    """A source does not provide what it should, in one line; another source may."""


@dataclasses.dataclass(frozen=True)
class Companion:
    """A file beside the audio that is needed where the corpus's `option` has one of `values`; it is found in archives
    by its SHA-256, or else downloaded from `url` (None: it is only in the archives)."""

    path: str
    bytes: int
    sha256: str
    option: str
    values: tuple[Any, ...]
    url: str | None = None

    @property
    def needed_by(self) -> str:
        """The settings that need it."""
        return f"corpus.{self.option}: {' or '.join(str(value).lower() for value in self.values)}"


class Staging:
    """The files that a folder lacks of a release, and the folder `.download` in it, where they wait by SHA-256: an
    unfinished download has no file with the name of an audio file, and is never taken for a corpus.

    Args:
        wanted: files of the release that are missing, or to be replaced.
        companions: files that are kept if a source has them.
        places: where files go that have another place than in the release, by their path in the release.
    """

    def __init__(
        self, corpus: str, root: Path, wanted: list[Entry], companions: list[Companion], places: Mapping[str, Path]
    ):
        self.corpus = corpus
        self.root = root
        self.folder = root / UNFINISHED
        self.wanted = wanted
        self.companions = companions
        self.limit = _ARCHIVE_FACTOR * sum(entry.bytes for entry in manifest(corpus))
        self._targets = {item: places.get(item.path, root / item.path) for item in (*wanted, *companions)}
        self._hashes = {item.sha256 for item in self._targets}
        self.sizes = {item.bytes for item in self._targets}

    def has(self, item: Entry | Companion) -> bool:
        """Whether a file has arrived."""
        return (self.folder / item.sha256).is_file()

    def missing(self) -> list[Entry]:
        """The wanted files that have not arrived, each content once."""
        return list({item.sha256: item for item in self.wanted if not self.has(item)}.values())

    def take(self, content: bytes) -> bool:
        """Keeps the content of a file if it is a missing one; returns whether it is."""
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self._hashes:
            part = self.folder / "content.part"
            part.write_bytes(content)
            part.replace(self.folder / sha256)
        return sha256 in self._hashes

    def require_places(self) -> None:
        """Raises a `UserError` if something is in the way of a file, or a symbolic link leads out of the folder."""
        for target in self._targets.values():
            for folder in target.relative_to(self.root).parents[:-1]:
                folder = self.root / folder
                if folder.is_symlink():
                    raise UserError(f"{folder}: a symbolic link, through which nothing is written; make it a folder")
                if folder.exists() and not folder.is_dir():
                    raise UserError(f"{folder}: a file is in the place of a folder; move it away")
            if target.is_dir():
                raise UserError(f"{target}: a folder is in the place of a file; move it away")

    def place(self) -> None:
        """Moves what has arrived to its place."""
        self.require_places()
        arrived = [item for item in self._targets if self.has(item)]
        left = Counter(item.sha256 for item in arrived)
        for item in arrived:
            source, target = self.folder / item.sha256, self._targets[item]
            target.parent.mkdir(parents=True, exist_ok=True)
            left[item.sha256] -= 1
            if left[item.sha256]:  # another file has equal content
                source = shutil.copyfile(source, self.folder / "content.part")
            source.replace(target)


class Connection:
    """Downloads into a folder through pooch, `jobs` files at a time."""

    def __init__(self, folder: Path, jobs: int):
        self.jobs = jobs
        self.folder = folder
        self.stopped = threading.Event()
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=jobs))
        self._cache = pooch.create(path=folder.absolute(), base_url="", retry_if_failed=_RETRIES)
        pooch.get_logger().setLevel("WARNING")  # otherwise one line for each file

    def fetch(self, url: str, name: str, known_hash: str | None, limit: int, **request: Any) -> Path:
        """Downloads at most `limit` bytes to the file `name`, unless they are there already.

        Args:
            known_hash: of the content, in pooch's form (``md5:...``); None where none is published.
            request: further arguments of `requests.Session.request`.

        Raises:
            SourceError: if the server refuses, is down, or sends something else.
        """
        self._cache.registry[name], self._cache.urls[name] = known_hash, url
        part = self.folder / f"{name}.part"
        transfer = _Transfer(self.session, self.stopped, part, limit, request)
        try:
            return Path(self._cache.fetch(name, downloader=transfer))
        except requests.RequestException as error:
            raise SourceError(f"{_host(url)}: {_one_line(error)} (tried {_RETRIES + 1} times)") from None
        except ValueError as error:  # a wrong hash
            raise SourceError(f"{_host(url)}: {_one_line(error)}") from None
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()

    def json(self, url: str, **request: Any) -> Any:
        """The JSON that a server answers with; raises a `SourceError` if it does not."""
        for old in self.folder.glob("answer.json*"):
            old.unlink()
        answer = self.fetch(url, "answer.json", None, _ANSWER_BYTES, **request)
        try:
            return json.loads(answer.read_bytes())
        except (ValueError, RecursionError):
            raise SourceError(f"{_host(url)}: the answer is not JSON") from None
        finally:
            answer.unlink()

    def fetch_all(self, files: Sequence[tuple[Entry, str, Mapping[str, str]]], failures: dict[str, str]) -> None:
        """Downloads files from their URLs with these headers, and adds the reason to `failures` for those that failed,
        by path; ends early after too many of them."""
        bar = tqdm(total=sum(file[0].bytes for file in files), unit="B", unit_scale=True, leave=False, disable=None)
        with bar, ThreadPoolExecutor(self.jobs) as pool:
            running = {
                pool.submit(self.fetch, url, item.sha256, f"sha256:{item.sha256}", item.bytes, headers=headers): item
                for item, url, headers in files
            }
            try:
                for done in as_completed(running):
                    bar.update(running[done].bytes)
                    try:
                        done.result()
                    except SourceError as error:
                        failures[running[done].path] = str(error)
                        if len(failures) >= _MOST_FAILURES:
                            break
            finally:
                if not all(future.done() for future in running):  # too many failures, Ctrl-C or a full disk
                    self.stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)


@dataclasses.dataclass
class _Transfer:
    """A downloader for pooch, which adds retries, a temporary file and the check of the hash.

    Unlike `pooch.HTTPDownloader` it continues the file `part` where an earlier attempt stopped, limits size and time,
    waits as long as the server asks for, and does not repeat what the server refuses.
    """

    session: requests.Session
    stopped: threading.Event
    part: Path
    limit: int
    request: Mapping[str, Any]
    completed: int = 0

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        if self.stopped.is_set():
            raise SourceError("stopped")
        if self.completed == 2:  # the first may have continued another file, the second may not
            raise SourceError(f"{_host(url)}: sends another file than the published one")
        start = self.part.stat().st_size if self.part.exists() else 0
        headers = {**_HEADERS, **self.request.get("headers", {})} | ({"Range": f"bytes={start}-"} if start else {})
        request = {"method": "GET", **self.request, "url": url, "headers": headers}
        try:
            response = self.session.request(**request, stream=True, timeout=_STALL_SECONDS)
        except requests.Timeout:
            raise requests.Timeout(f"no answer within {_STALL_SECONDS:g} s") from None
        except requests.ConnectionError as error:
            reason = getattr(error.args[0] if error.args else error, "reason", error)
            raise requests.ConnectionError(f"no connection: {reason}") from None
        except (OSError, ValueError) as error:  # no URL, no header, no certificates, redirects without end
            raise SourceError(f"{_host(url)}: {_one_line(error)}") from None
        with response:
            continued = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if start and (response.status_code == 416 or (response.status_code == 206 and not continued)):
                self.part.unlink()
                raise requests.ConnectionError("the file cannot be continued")
            self._require_success(response)
            start = start if response.status_code == 206 else 0
            remaining = response.raw.length_remaining
            total = start + remaining if remaining else None
            hidden = None if self.limit > _SHOWN_BYTES else True
            bar = tqdm(
                desc=_host(url), total=total, initial=start, unit="B", unit_scale=True, leave=False, disable=hidden
            )
            try:
                with bar, self.part.open("ab" if start else "wb") as file:
                    for block in self._blocks(response, self.limit - start):
                        file.write(block)
                        bar.update(len(block))
            except SourceError:
                self.part.unlink()
                raise
        self.part.replace(output_file)
        self.completed += 1

    def _require_success(self, response: requests.Response) -> None:
        if response.status_code < 400:
            return
        reason = f"HTTP {response.status_code} {response.reason}"
        with suppress(ValueError, LookupError, TypeError, RecursionError, requests.RequestException, SourceError):
            # Git LFS servers and Dataverses give the reason in JSON.
            reason += f": {json.loads(b''.join(self._blocks(response, 4096)))['message']}"
        if response.status_code not in _TEMPORARY:
            raise SourceError(f"{_host(response.url)}: {_one_line(reason)}")
        pause = response.headers.get("Retry-After", "")
        if pause.isdecimal():
            if float(pause) > _LONGEST_PAUSE:
                raise SourceError(f"{_host(response.url)}: {_one_line(reason)}, and asks to wait {pause[:20]} s")
            self.stopped.wait(float(pause))
        raise requests.HTTPError(reason)

    def _blocks(self, response: requests.Response, limit: int) -> Iterator[bytes]:
        """The body of a response as it comes, unless more than `limit` bytes come, or hardly any."""
        received = before = 0
        since = time.monotonic()
        try:
            # Unlike `iter_content`, this returns what there is, so that a server that sends single bytes is noticed.
            while block := response.raw.read1(1 << 16, decode_content=False):
                received += len(block)
                if self.stopped.is_set() or received > limit:
                    raise SourceError(f"{_host(response.url)}: does not end after {limit:,} bytes")
                yield block
                seconds = time.monotonic() - since
                if seconds > _STALL_SECONDS:
                    if received - before < _SLOWEST * seconds:
                        raise urllib3.exceptions.TimeoutError
                    since, before = time.monotonic(), received
        except urllib3.exceptions.HTTPError as error:
            stalled = isinstance(error, urllib3.exceptions.TimeoutError)
            problem = "stalled" if stalled else "the connection broke off"
            raise requests.ConnectionError(f"{problem} after {received:,} bytes") from None


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip or tar of the release's files, in whatever folders; `bytes` and `md5` as published."""

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None

    def fetch(self, staging: Staging, connection: Connection) -> None:
        name, known_hash = f"archive-{key_of(self.url)[:8]}", f"md5:{self.md5}" if self.md5 else None
        archive = connection.fetch(self.url, name, known_hash, self.bytes or staging.limit)
        try:
            _unpack(archive, f"the archive of {_host(self.url)}", staging)
        except SourceError:
            archive.unlink()
            raise
        archive.unlink()  # not if unpacking is interrupted or the disk is full: then the next command unpacks it


@dataclasses.dataclass(frozen=True)
class LfsStore:
    """The Git LFS server of a repository (`url` ends in ``.git/info/lfs``): content by its SHA-256, through the batch
    API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md) and the basic transfer."""

    name: str
    url: str

    def fetch(self, staging: Staging, connection: Connection) -> None:
        failures, missing = {}, staging.missing()
        for start in range(0, len(missing), _BATCH):
            files = self._locate(missing[start : start + _BATCH], connection, failures)
            connection.fetch_all(files, failures)
            if len(failures) >= _MOST_FAILURES:
                break
        _require_no_failures(self.name, failures)

    def _locate(self, batch: list[Entry], connection: Connection, failures: dict[str, str]) -> list[tuple]:
        question = {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": item.sha256, "size": item.bytes} for item in batch],
            "hash_algo": "sha256",
        }
        answer = connection.json(f"{self.url}/objects/batch", method="POST", json=question, headers=_LFS_HEADERS)
        files = []
        try:
            objects = {found["oid"]: found for found in answer["objects"]}
            for item in batch:
                found = objects.get(item.sha256, {})
                if "actions" in found:
                    action = found["actions"]["download"]
                    files.append((item, str(action["href"]), dict(action.get("header") or {})))
                else:
                    error = found.get("error") or {"code": 404, "message": "the server has no such object"}
                    failures[item.path] = _one_line(f"{error['code']} {error['message']}")
        except (LookupError, TypeError, ValueError, AttributeError):
            raise SourceError(f"{self.name}: {_host(self.url)} does not answer as a Git LFS server") from None
        return files


@dataclasses.dataclass(frozen=True)
class Dataverse:
    """A data set of a Dataverse (`url` its server), whose files are downloaded one by one
    (https://guides.dataverse.org/en/latest/api/dataaccess.html). pooch can do that too, but resolves the DOI and
    requests the list of files again for each of them."""

    name: str
    url: str
    persistent_id: str

    def fetch(self, staging: Staging, connection: Connection) -> None:
        missing = {item.sha256: item for item in staging.missing()}
        query = f"persistentId={quote(self.persistent_id, safe=':/')}"
        listed = connection.json(f"{self.url}/api/datasets/:persistentId/?{query}")
        clips, files = entries_by_clip(staging.corpus), []
        try:
            for entry in listed["data"]["latestVersion"]["files"]:
                file = entry["dataFile"]
                clip = CORPORA[staging.corpus].read_name(PurePath(file["filename"]))
                item = clips.get(clip.id) if clip else None
                if item is not None and missing.pop(item.sha256, None):
                    files.append((item, f"{self.url}/api/access/datafile/{int(file['id'])}", {}))
        except (LookupError, TypeError, ValueError):
            raise SourceError(f"{self.name}: {_host(self.url)} does not answer with a list of files") from None
        failures = {item.path: "not in the data set" for item in missing.values()}
        connection.fetch_all(files, failures)
        _require_no_failures(self.name, failures)


@dataclasses.dataclass(frozen=True)
class Local:
    """An archive or a folder on this disk, in which files may be anywhere: mirrors add folders around the release's
    own, or hold everything twice."""

    name: str

    def fetch(self, staging: Staging, _: Connection) -> None:
        path, pointers, taken = Path(self.name), [], False
        if path.is_file():
            _unpack(path, self.name, staging)
            return
        # Hidden folders too: a clone keeps what Git LFS has downloaded below `.git`.
        for folder, names in folders_below(path, _refuse, hidden=True):
            for file in (Path(folder, name) for name in sorted(names)):
                try:
                    size = file.stat().st_size if file.is_file() else None
                    content = file.read_bytes() if size in staging.sizes else None
                except OSError as error:
                    _refuse(error)
                if content is not None:
                    taken = staging.take(content) or taken
                elif size is not None and is_lfs_pointer(file):
                    pointers.append(file)
        if pointers and not taken:
            raise SourceError(
                f"{path}: {len(pointers):,} Git LFS pointers in place of files (first {pointers[0].name}); "
                "`git lfs pull` there fetches their content"
            )


@dataclasses.dataclass(frozen=True)
class Kaggle:
    """A Kaggle data set, downloaded by the package kagglehub to its own cache; only used when it is named."""

    name: str
    handle: str

    def fetch(self, staging: Staging, connection: Connection) -> None:
        try:
            import kagglehub
        except ImportError:
            raise UserError('--source kaggle: needs kagglehub; pip install "ser_hf[kaggle]"') from None
        try:
            folder = kagglehub.dataset_download(self.handle)
        except Exception as error:  # errors of kagglehub and of requests, and OSError
            raise SourceError(f"kaggle ({self.handle}): {_one_line(error)}") from error
        Local(folder).fetch(staging, connection)


Source = Archive | LfsStore | Dataverse | Local | Kaggle


def _unpack(archive: Path, title: str, staging: Staging) -> None:
    """Keeps the members of a zip or tar file that are missing files, by their content.

    Their names are not used, and links and devices are no files here, so that an archive cannot choose where anything
    is written.
    """
    for content in _contents(archive, title, staging):
        staging.take(content)


def _contents(archive: Path, title: str, staging: Staging) -> Iterator[bytes]:
    """The content of each member that has the size of a missing file; raises a `SourceError` for a bad archive."""
    total = 0
    try:
        for number, (size, open_member) in enumerate(_members(archive)):
            total += size
            if total > staging.limit or number == _ARCHIVE_MEMBERS:
                raise SourceError(f"{title}: refused, it holds more than the release can have")
            if size in staging.sizes:
                with open_member() as stream:
                    yield stream.read(size)
    except tarfile.ReadError as error:
        with archive.open("rb") as file:
            start = file.read(24).decode("ascii", "backslashreplace")
        # Often the page that a server shows in place of a file.
        raise SourceError(f"{title}: no zip or tar archive, or damaged; it begins with {start!r}") from error
    except SourceError:
        raise
    except Exception as error:  # zlib.error, lzma.LZMAError, struct.error, OverflowError, EOFError, OSError ...
        raise SourceError(f"{title}: damaged ({_one_line(error) or type(error).__name__})") from error


def _members(archive: Path) -> Iterator[tuple[int, Callable[[], BinaryIO]]]:
    """Size in bytes and content of each file in a zip or tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as package:
            for info in package.infolist():
                if stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG):
                    yield info.file_size, partial(package.open, info)
    else:
        with tarfile.open(archive) as package:
            for info in package:
                yield info.size if info.isreg() else 0, partial(package.extractfile, info)


def _require_no_failures(name: str, failures: Mapping[str, str]) -> None:
    if failures:
        number = str(len(failures)) if len(failures) < _MOST_FAILURES else "most"
        first = min(failures)
        raise SourceError(f"{name}: {number} not available, {first}: {failures[first]}")


def _refuse(error: OSError) -> None:
    raise SourceError(f"{error.filename}: cannot be read ({error.strerror})") from None


def _host(url: str) -> str:
    """The host of a URL, for messages; the URL itself where it has none."""
    try:
        return _one_line(urlsplit(url).hostname or url)
    except ValueError:
        return _one_line(url)


def _one_line(text: Any) -> str:
    """Text from a server or an archive for a message: one line of at most 200 characters, all of them printable."""
    line = " ".join(str(text).split())
    line = line if len(line) <= 200 else f"{line[:200]}..."
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "ravdess": (
        Archive(
            "zenodo",
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
            208_468_073,
            "bc696df654c87fed845eb13823edef8a",
        ),
        Kaggle("kaggle", "uwrfkaggler/ravdess-emotional-speech-audio"),
    ),
    "cremad": (
        LfsStore("gitlab", "https://gitlab.com/cs-cooper-lab/crema-d-mirror.git/info/lfs"),
        LfsStore("github", "https://github.com/CheyneyComputerScience/CREMA-D.git/info/lfs"),
        Kaggle("kaggle", "ejlok1/cremad"),
    ),
    "tess": (
        Dataverse("borealis", "https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF"),
        Archive(
            "paddlespeech",
            "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
            md5="1465311b24d1de704c4c63e4ccc470c7",
        ),
        Kaggle("kaggle", "ejlok1/toronto-emotional-speech-set-tess"),
    ),
    "emodb": (
        Archive("bilderbar", "http://emodb.bilderbar.info/download/download.zip"),
        Archive(
            "zenodo",
            "https://zenodo.org/records/7447302/files/emodb.zip?download=1",
            39_981_818,
            "9d21362dbc5676ef3ab4745d83ced0db",
        ),
        Kaggle("kaggle", "piyushagni5/berlin-database-of-emotional-speech-emodb"),
    ),
}

# Corpora whose release requires a registration: what to do instead.
REGISTRATION: Mapping[str, str] = {
    "savee": "its authors send it after registration at http://kahlan.eps.surrey.ac.uk/savee/; then "
    "`ser-hf download savee DIR --source ARCHIVE` unpacks and checks what they sent",
    "iemocap": "USC sends it on request, under an agreement: https://sail.usc.edu/iemocap/; unpack it and name the "
    "folder that holds Session1 to Session5",
}

_VOTES = "processedResults/tabulatedVotes.csv"
COMPANIONS: Mapping[str, tuple[Companion, ...]] = {
    "cremad": (
        Companion(
            _VOTES,
            4_057_953,
            "774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
            "target",
            ("voice", "face", "multimodal"),
            f"https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master/{_VOTES}",
        ),
    ),
    "emodb": (
        Companion(
            "erkennung.txt",
            32_758,
            "9c317eb758cf111090fe697ef1cce68faf7da8109e7b7e80fc2d884791f47967",
            "perception",
            (True,),
        ),
    ),
}

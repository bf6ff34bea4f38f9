"""Download of files from servers that may stall, refuse a request, or send wrong content."""

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

import pooch
import requests
import urllib3
from tqdm import tqdm

from ..utils.errors import one_line
from .files import refuse_links
from .release import Entry

_HEADERS = {"User-Agent": "ser_hf", "Accept-Encoding": "identity"}
# A transfer is stopped if no byte arrives for `_STALL_SECONDS`, or if it is slower than
# `_SLOWEST` bytes per second. B bytes therefore take at most B/1000 s + 30 s.
_STALL_SECONDS = 30.0
_SLOWEST = 1000
_BLOCK_BYTES = 1 << 16
_PARALLEL_FILES = 8  # for a server that has each file by itself
_RETRIES = 3
_PAUSE_SECONDS = 10.0  # wait before the next request if a server is busy
_MOST_FAILURES = 10  # stop using a server after so many failed files
_PARTIAL_CONTENT = 206
_RANGE_REFUSED = 416
# Status codes of a server that is busy: the same request may work later.
_BUSY = (408, 429)


class SourceError(Exception):
    """A source cannot provide a file. The message is one line; the next source is tried."""


class _RangeRefused(Exception):
    """A server has no bytes after those of a partial file."""


class Location(NamedTuple):
    """The URL of a file of a release, with the headers of the request."""

    entry: Entry
    url: str
    headers: Mapping[str, str]


class Connection:
    """Downloads into a folder through pooch."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.session = requests.Session()
        self.session.headers.update(_HEADERS)
        self._cache = pooch.create(path=folder.absolute(), base_url="", retry_if_failed=_RETRIES)
        pooch.get_logger().setLevel("WARNING")  # by default pooch logs a line for each file

    def fetch(
        self, url: str, name: str, known_hash: str | None, limit: int, **request: Any
    ) -> Path:
        """Download a URL to the file `name` in the folder, if this file does not exist yet.

        Args:
            known_hash: the hash of the content in pooch's form (``md5:...``); None if no hash is
                published.
            limit: the largest accepted size in bytes.
            request: further arguments of `requests.Session.request`.

        Raises:
            SourceError: if the server refuses the request, is down, or sends wrong content.
        """
        refuse_links(self.folder.parent, [self.folder])
        self._cache.registry[name] = known_hash
        self._cache.urls[name] = url
        downloader = partial(self._transfer, limit=limit, request=request)
        try:
            return Path(self._cache.fetch(name, downloader=downloader))
        except (requests.RequestException, ValueError) as error:  # ValueError: a wrong hash
            raise SourceError(one_line(error)) from None

    def fetch_resumed(self, url: str, name: str, sha256: str, limit: int) -> Path:
        """Download one large file to `name` in the folder; a partial file is continued.

        pooch starts a broken transfer again from the first byte, which is slow for a file of
        hundreds of megabytes, so this method requests the missing bytes itself. If the server does
        not send a part of a file, it sends the whole file again.

        Args:
            limit: the largest accepted size in bytes.

        Raises:
            SourceError: if the server refuses the request, is down, or sends wrong content. The
                bytes that have arrived are kept, except wrong content.
        """
        refuse_links(self.folder.parent, [self.folder, self.folder / name])
        path = self.folder / name
        reason: Exception | None = None
        for _ in range(_RETRIES + 1):
            if path.is_file() and _sha256(path) == sha256:
                return path
            partial_bytes = path.stat().st_size if path.is_file() else 0
            try:
                self._append(url, path, partial_bytes, limit)
            except _RangeRefused as error:  # the file on the server is not longer
                reason = error
                path.unlink()
                continue
            except requests.RequestException as error:
                reason = error
                continue
            actual = _sha256(path)
            if actual == sha256:
                return path
            path.unlink()
            reason = SourceError(f"another file: its SHA-256 is {actual}, not {sha256}")
            if not partial_bytes:
                break  # the server has another file
        if path.is_file() and not path.stat().st_size:
            path.unlink()
            if isinstance(reason, requests.ConnectionError):
                # The library's message is long, and repeats the whole address.
                host = urlsplit(url).hostname
                reason = SourceError(f"no connection to {host}, or it sends nothing")
        raise SourceError(one_line(reason)) from None

    def _append(self, url: str, path: Path, partial_bytes: int, limit: int) -> None:
        """Append the missing bytes to a partial file."""
        request: dict[str, Any] = {"url": url}
        if partial_bytes:
            request["headers"] = {"Range": f"bytes={partial_bytes}-"}
        with path.open("ab") as file:
            self._write(file, limit, request)

    def fetch_all(self, locations: Sequence[Location]) -> None:
        """Download several files at a time; the name of each is its SHA-256.

        Raises:
            SourceError: if any file failed, after all other files were tried or after
                `_MOST_FAILURES` failures.
        """
        failures: list[str] = []
        bar = tqdm(
            total=sum(location.entry.bytes for location in locations),
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with bar, ThreadPoolExecutor(_PARALLEL_FILES) as pool:
            entry_of_download = {
                pool.submit(self._fetch_entry, location): location.entry for location in locations
            }
            try:
                for download in as_completed(entry_of_download):
                    entry = entry_of_download[download]
                    bar.update(entry.bytes)
                    try:
                        download.result()
                    except SourceError as error:
                        failures.append(f"{entry.path}: {error}")
                    if len(failures) >= _MOST_FAILURES:
                        break
            finally:  # also after too many failures, Ctrl-C or a full disk
                pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            raise SourceError(f"{len(failures)} files not available, {min(failures)}")

    def _fetch_entry(self, location: Location) -> Path:
        entry = location.entry
        return self.fetch(
            location.url,
            entry.sha256,
            f"sha256:{entry.sha256}",
            entry.bytes,
            headers=location.headers,
        )

    def _transfer(
        self, url: str, output_file: str, _: Any, *, limit: int, request: Mapping[str, Any]
    ) -> None:
        """Download a URL to a file. pooch calls this function.

        pooch adds retries, a temporary file and the check of the hash. Unlike
        `pooch.HTTPDownloader` this function limits size and time, and does not repeat a request
        that the server refuses.
        """
        with open(output_file, "wb") as file:  # closing the file also ends the thread
            self._write(file, limit, {**request, "url": url})

    def _write(self, file: BinaryIO, limit: int, request: Mapping[str, Any]) -> None:
        """Write the response to a file, and stop a transfer that stalls.

        Another thread receives the response, so that the total time is limited even if a server
        sends each byte of a header just before the read times out.
        """
        arguments = {"method": "GET", **request, "stream": True, "timeout": _STALL_SECONDS}
        done: Future = Future()
        start = time.monotonic()
        first_byte = file.tell()
        receiver = threading.Thread(
            target=self._receive, args=(done, file, limit, arguments), daemon=True
        )
        receiver.start()
        while not wait([done], _STALL_SECONDS / 10).done:
            seconds = time.monotonic() - start
            if file.tell() - first_byte < _SLOWEST * (seconds - _STALL_SECONDS):
                raise requests.Timeout(f"stalled after {file.tell():,} bytes")
        done.result()

    def _receive(
        self, done: Future, file: BinaryIO, limit: int, arguments: Mapping[str, Any]
    ) -> None:
        """Request a URL and write the body of the response to the file.

        An error is stored in `done`, because this function runs in its own thread.
        """
        try:
            with self.session.request(**arguments) as response:
                _check_status(response)
                if file.tell() and response.status_code != _PARTIAL_CONTENT:
                    file.truncate(0)  # the server sends the whole file
                _write_body(response, file, limit - file.tell())
            done.set_result(None)
        except urllib3.exceptions.HTTPError as error:
            done.set_exception(requests.ConnectionError(f"{error} after 0 bytes"))
        except Exception as error:
            done.set_exception(error)


def _check_status(response: requests.Response) -> None:
    """Check the status code of a response.

    Raises:
        SourceError: if the server refuses the request.
        requests.HTTPError: if the server is busy, after a pause; the caller then tries again.
    """
    if response.status_code < 400:
        return
    if response.status_code == _RANGE_REFUSED:
        raise _RangeRefused("the server has no further bytes of the file")
    reason = one_line(f"HTTP {response.status_code} {response.reason}")
    if response.status_code < 500 and response.status_code not in _BUSY:
        raise SourceError(reason)
    time.sleep(_PAUSE_SECONDS)
    raise requests.HTTPError(reason)


def _write_body(response: requests.Response, file: BinaryIO, limit: int) -> None:
    """Write the body of a response to the file.

    Raises:
        SourceError: if the body has more than `limit` bytes.
    """
    total = response.raw.length_remaining
    if total is not None and total > limit:
        raise SourceError(f"announces {total:,} bytes, more than {limit:,}")
    received = 0
    bar = tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=None, delay=5)
    try:
        with bar:
            # Unlike `iter_content`, `read1` returns the bytes that have arrived without waiting for
            # a full block, so that a slow server is noticed.
            while block := response.raw.read1(_BLOCK_BYTES, decode_content=False):
                received += len(block)
                if received > limit:
                    raise SourceError(f"does not end after {limit:,} bytes")
                file.write(block)
                bar.update(len(block))
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(f"{error} after {received:,} bytes") from None


def _sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

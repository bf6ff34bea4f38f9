"""Transfers of files from servers that may stall, refuse, or send something else."""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pooch
import requests
import urllib3
from tqdm import tqdm

from ..utils.errors import one_line
from .files import refuse_links
from .release import Entry

_HEADERS = {"User-Agent": "ser_hf", "Accept-Encoding": "identity"}
# A connection ends without a byte for so long, or with fewer than `_SLOWEST` a second: B bytes take
# B/1000 s + 30 s at most.
_STALL_SECONDS = 30.0
_SLOWEST = 1000
_BLOCK_BYTES = 1 << 16
_AT_A_TIME = 8  # files, where they come one by one
_RETRIES = 3
_PAUSE_SECONDS = 10.0  # after a server is busy
_MOST_FAILURES = 10  # files after which a server is given up
# Answers of a server that is busy, which may work later.
_BUSY = (408, 429)


class SourceError(Exception):
    """A source fails to provide a file; the message is one line. Other sources are tried."""


class Location(NamedTuple):
    """Where to download a file from, with the headers of the request."""

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
        refuse_links(self.folder.parent, [self.folder])
        self._cache.registry[name] = known_hash
        self._cache.urls[name] = url
        downloader = partial(self._transfer, limit=limit, request=request)
        try:
            return Path(self._cache.fetch(name, downloader=downloader))
        except (requests.RequestException, ValueError) as error:  # ValueError: a wrong hash
            raise SourceError(one_line(error)) from None

    def fetch_all(self, locations: Sequence[Location]) -> None:
        """Download files to the names of their SHA-256, several at a time.

        Raises:
            SourceError: after all files, or many failures.
        """
        failures: list[str] = []
        bar = tqdm(
            total=sum(location.entry.bytes for location in locations),
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with bar, ThreadPoolExecutor(_AT_A_TIME) as pool:
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
            finally:  # too many failures, Ctrl-C or a full disk
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
        """A downloader for pooch, which adds retries, a temporary file and the check of the hash.

        Unlike `pooch.HTTPDownloader` it limits size and time, and does not repeat what the server
        refuses. Another thread receives: a server may send a header so slowly that no read of it
        takes too long.
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
            receiver = threading.Thread(
                target=self._receive, args=(done, file, limit, arguments), daemon=True
            )
            receiver.start()
            while not wait([done], _STALL_SECONDS / 10).done:
                seconds = time.monotonic() - start
                if file.tell() < _SLOWEST * (seconds - _STALL_SECONDS):
                    raise requests.Timeout(f"stalled after {file.tell():,} bytes")
            done.result()

    def _receive(
        self, done: Future, file: BinaryIO, limit: int, arguments: Mapping[str, Any]
    ) -> None:
        """Write the body of a response to the file; `done` has the error, if there is one."""
        try:
            with self.session.request(**arguments) as response:
                _check_status(response)
                _write_body(response, file, limit)
            done.set_result(None)
        except urllib3.exceptions.HTTPError as error:
            done.set_exception(requests.ConnectionError(f"{error} after 0 bytes"))
        except Exception as error:
            done.set_exception(error)


def _check_status(response: requests.Response) -> None:
    """Raise a SourceError if the server refuses, and an HTTPError, after a pause, if it is busy."""
    if response.status_code < 400:
        return
    reason = one_line(f"HTTP {response.status_code} {response.reason}")
    if response.status_code < 500 and response.status_code not in _BUSY:
        raise SourceError(reason)
    time.sleep(_PAUSE_SECONDS)
    raise requests.HTTPError(reason)


def _write_body(response: requests.Response, file: BinaryIO, limit: int) -> None:
    """Write the body to the file; a SourceError for one of more than `limit` bytes."""
    total = response.raw.length_remaining
    if total is not None and total > limit:
        raise SourceError(f"announces {total:,} bytes, more than {limit:,}")
    received = 0
    bar = tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=None, delay=5)
    try:
        with bar:
            # Unlike `iter_content`, `read1` returns what there is, so that a slow server is
            # noticed.
            while block := response.raw.read1(_BLOCK_BYTES, decode_content=False):
                received += len(block)
                if received > limit:
                    raise SourceError(f"does not end after {limit:,} bytes")
                file.write(block)
                bar.update(len(block))
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(f"{error} after {received:,} bytes") from None

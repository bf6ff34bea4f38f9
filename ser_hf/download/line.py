"""HTTP with patience: one pool of connections, retries with back-off, a server's own wishes heard by all its users."""

import dataclasses
import email.utils
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from .client import Sockets, open_client

logger = logging.getLogger(__name__)

# Statuses after which the same request may succeed; 509 is what Git LFS servers say of a bandwidth limit.
_PASSING = {408, 425, 429, 500, 502, 503, 504, 509}
_ANSWER_BYTES = 64 << 20
_REASON_BYTES = 4096
_SPOKEN = 200
# An attempt that brought so much is no failure: the next one goes on behind it.
_SOMETHING = 64 << 10


class SourceFailed(Exception):
    """A source does not give what it should, in one line; another one may."""


class Refused(SourceFailed):
    """The server answers that it will not (HTTP 4xx), which the same request will not change."""


class Interrupted(Exception):
    """An attempt failed in a way that may pass, after it `brought` so many bytes. `wait` is the pause in seconds that
    the server asks for, None where it says nothing."""

    def __init__(self, reason: str, wait: float | None = None, brought: int = 0):
        super().__init__(reason)
        self.wait = wait
        self.brought = brought


class Stopped(Exception):
    """Another worker of the same download has given up."""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for what.

    Attributes:
        stall: seconds without a byte, or of fewer than `trickle` bytes a second, that end a connection.
        tries: attempts in a row that bring nothing.
        pause: seconds before the second attempt; each pause is twice the one before.
        longest: the longest wait (s) that a server may ask for.
    """

    stall: float = 30.0
    trickle: float = 200.0
    tries: int = 5
    pause: float = 1.0
    longest: float = 300.0


class Line:
    """A pool of `jobs` connections. `moved` hears how many bytes came, or (below zero) have to come again."""

    def __init__(self, jobs: int, patience: Patience, moved: Callable[[int], Any] = lambda count: None):
        self.patience = patience
        self._moved = moved
        self._moving = threading.Lock()
        self._stop = threading.Event()
        self._quiet_until = 0.0  # by time.monotonic: when a server that asked for a pause may be asked again
        self._sockets = Sockets()
        self._client = open_client(jobs, patience.stall)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: Any) -> None:
        self._client.close()

    def moved(self, count: int) -> None:
        """Tells how many bytes came (one thread at a time)."""
        with self._moving:
            self._moved(count)

    def stop(self) -> None:
        """Ends what all threads do on this line, by `Stopped`; those that wait for a server hear of it at once."""
        self._stop.set()
        self._sockets.shut()

    def require_running(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def patiently(self, attempt: Callable[[], Any], what: str) -> Any:
        """The result of `attempt`, which is called again where it is `Interrupted`.

        Raises:
            SourceFailed: after too many attempts in a row that brought nothing, or if the server asks for a longer
                wait than there is patience for.
        """
        failures = 0
        while True:
            self._keep_quiet()
            try:
                return attempt()
            except Interrupted as error:
                self.require_running()  # else it is `stop` that has interrupted it
                failures = 1 if error.brought >= _SOMETHING else failures + 1
                if error.wait is not None and error.wait > self.patience.longest:
                    raise SourceFailed(f"{what}: {error}, and asks to wait {told_time(error.wait)}") from None
                if failures >= self.patience.tries:
                    raise SourceFailed(f"{what}: {error} (tried {failures} times)") from None
                if error.wait is None:
                    pause = self.patience.pause * 2 ** (failures - 1)
                    logger.info("%s: %s; trying again in %s", what, error, told_time(pause))
                    self._sleep(pause)
                else:
                    logger.info("%s: %s, and asks to wait %s", what, error, told_time(error.wait))
                    self._quiet_until = max(self._quiet_until, time.monotonic() + error.wait)

    @contextmanager
    def answer(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Iterator[httpx2.Response]:
        """The answer to one request, its body not read yet.

        Raises:
            Interrupted: for what may pass: no connection, a stall, a server that is busy.
            SourceFailed: for what will not: a refusal, redirects without end, what is no address.
        """
        try:
            watched = {"trace": self._sockets.heed}
            with self._client.stream(method, url, headers=dict(headers), json=body, extensions=watched) as response:
                if response.status_code in _PASSING:
                    raise Interrupted(self._told_status(response), _retry_after(response.headers.get("retry-after")))
                ranged = response.status_code == 416 and "Range" in headers
                if response.status_code >= 400 and not ranged:
                    raise Refused(f"{host(url)}: {self._told_status(response)}")
                yield response
        except httpx2.TooManyRedirects:
            raise SourceFailed(f"{host(url)}: redirects more than {self._client.max_redirects} times") from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError, UnicodeError) as error:
            raise SourceFailed(f"{host(url)}: {spoken(error)}") from None
        except httpx2.TimeoutException:
            raise Interrupted(f"nothing came for {told_time(self.patience.stall)}") from None
        except httpx2.TransportError as error:
            raise Interrupted(spoken(error) or type(error).__name__) from None

    def json(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Any:
        """The JSON that a server answers with.

        Raises:
            SourceFailed: if it refuses, or answers with something else.
        """

        def attempt() -> bytes:
            with self.answer(method, url, headers, body) as response:
                return _read(response, _ANSWER_BYTES, self.patience.longest)

        try:
            return json.loads(self.patiently(attempt, host(url)))
        except (ValueError, RecursionError):
            raise SourceFailed(f"{host(url)}: answers with something that is not JSON") from None

    def _keep_quiet(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            self._sleep(left)
        self.require_running()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def _told_status(self, response: httpx2.Response) -> str:
        """The status, and the reason that a server gives in JSON, as Git LFS and Dataverse do."""
        told = spoken(f"HTTP {response.status_code} {response.reason_phrase}")
        try:
            reason = json.loads(_read(response, _REASON_BYTES, self.patience.stall))["message"]
        except (ValueError, LookupError, TypeError, RecursionError, httpx2.HTTPError):
            return told
        return f"{told}: {spoken(reason)}"


def host(url: str) -> str:
    """Whom an address asks, for messages; the address itself where that cannot be told."""
    try:
        return spoken(httpx2.URL(url).host or url)
    except (httpx2.InvalidURL, UnicodeError):
        return spoken(url)


def told_time(seconds: float) -> str:
    """Seconds for a reader: ``0.5 s``, ``30 s``, ``5 min``."""
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def spoken(words: Any) -> str:
    """What a server or an archive says, for a message: one line of at most 200 characters, with nothing in it that
    steers a terminal."""
    line = " ".join(str(words).split())
    line = line if len(line) <= _SPOKEN else f"{line[:_SPOKEN]}..."
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def _read(response: httpx2.Response, most: int, seconds: float) -> bytes:
    content, end = bytearray(), time.monotonic() + seconds
    for block in response.iter_bytes():
        content += block
        if len(content) > most:
            break
        if time.monotonic() > end:
            raise httpx2.ReadTimeout("a trickle")
    return bytes(content[:most])


def _retry_after(value: str | None) -> float | None:
    """Seconds, out of seconds or a date (RFC 9110, section 10.2.3); None where it says neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)  # however many digits: at worst it is endless
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):  # no date, or one before the calendar
        return None

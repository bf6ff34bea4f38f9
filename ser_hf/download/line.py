"""HTTP with patience: one pool of connections, retries with back-off, a server's own wishes heard by all its users."""

import dataclasses
import email.utils
import functools
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from .. import __version__

logger = logging.getLogger(__name__)

# Statuses after which the same request may succeed; 509 is what Git LFS servers say of a bandwidth limit.
_PASSING = {408, 425, 429, 500, 502, 503, 504, 509}
_REDIRECTS = 10
_ANSWER_BYTES = 64 << 20
_REASON_BYTES = 4096
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
        self._client = httpx2.Client(
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            verify=_trusted(),
            timeout=httpx2.Timeout(patience.stall, pool=None),
            limits=httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
            # What is stored is what the server stores; a body compressed on the way could not be resumed.
            headers={"User-Agent": f"ser_hf/{__version__}", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: Any) -> None:
        self._client.close()

    def moved(self, count: int) -> None:
        """Tells how many bytes came (one thread at a time)."""
        with self._moving:
            self._moved(count)

    def stop(self) -> None:
        """Ends what all threads do on this line, by `Stopped`."""
        self._stop.set()

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
            with self._client.stream(method, url, headers=dict(headers), json=body) as response:
                if response.status_code in _PASSING:
                    raise Interrupted(_told_status(response), _retry_after(response.headers.get("retry-after")))
                if response.status_code >= 400 and response.status_code != 416:
                    raise Refused(f"{host(url)}: {_told_status(response)}")
                yield response
        except httpx2.TooManyRedirects:
            raise SourceFailed(f"{host(url)}: redirects more than {_REDIRECTS} times") from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise SourceFailed(f"{host(url)}: {error}") from None
        except httpx2.TimeoutException:
            raise Interrupted(f"nothing came for {told_time(self.patience.stall)}") from None
        except httpx2.TransportError as error:
            raise Interrupted(" ".join(str(error).split()) or type(error).__name__) from None

    def json(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Any:
        """The JSON that a server answers with.

        Raises:
            SourceFailed: if it refuses, or answers with something else.
        """

        def attempt() -> bytes:
            with self.answer(method, url, headers, body) as response:
                return _read(response, _ANSWER_BYTES)

        try:
            return json.loads(self.patiently(attempt, host(url)))
        except ValueError:
            raise SourceFailed(f"{host(url)}: answers with something that is not JSON") from None

    def _keep_quiet(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            self._sleep(left)
        self.require_running()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates that all lines trust, which take a moment to load."""
    return httpx2.create_ssl_context()


def host(url: str) -> str:
    """Whom an address asks, for messages; the address itself where that cannot be told."""
    try:
        return httpx2.URL(url).host or url
    except httpx2.InvalidURL:
        return url


def told_time(seconds: float) -> str:
    """Seconds for a reader: ``0.5 s``, ``30 s``, ``5 min``."""
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _read(response: httpx2.Response, most: int) -> bytes:
    content = bytearray()
    for block in response.iter_bytes():
        content += block
        if len(content) > most:
            break
    return bytes(content[:most])


def _told_status(response: httpx2.Response) -> str:
    """The status, and the reason that a server gives in JSON, as Git LFS and Dataverse do."""
    told = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    try:
        reason = json.loads(_read(response, _REASON_BYTES))["message"]
    except (ValueError, LookupError, TypeError, httpx2.HTTPError):
        return told
    return f"{told}: {' '.join(str(reason).split())}"


def _retry_after(value: str | None) -> float | None:
    """Seconds, out of seconds or a date (RFC 9110, section 10.2.3); None where it says neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None

"""The pool of connections below a `line.Line`: how it is opened, and how those who wait on it are woken."""

import contextlib
import functools
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import httpx2

from .. import __version__
from ..errors import UserError

_REDIRECTS = 10
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")


def open_client(jobs: int, stall: float) -> httpx2.Client:
    """A client of `jobs` connections that waits `stall` seconds for a byte.

    Raises:
        UserError: if the environment names a proxy, or a file of certificates, that is of no use.
    """
    trusted = _trusted()
    try:
        return httpx2.Client(
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            verify=trusted,
            timeout=httpx2.Timeout(stall, pool=None),
            limits=httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
            # What is stored is what the server stores; a body compressed on the way could not be resumed.
            headers={"User-Agent": f"ser_hf/{__version__}", "Accept-Encoding": "identity"},
        )
    except ImportError:
        raise UserError(f"{_proxies()}: a SOCKS proxy needs a package; pip install socksio") from None
    except (ValueError, httpx2.InvalidURL) as error:
        raise UserError(f"{_proxies()}: {error}; give the address of a proxy, such as http://host:3128") from None


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates that all lines trust, which take a moment to load."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        named = _named("SSL_CERT_FILE", "SSL_CERT_DIR") or "the certificates of this Python"
        raise UserError(f"{named}: cannot be read as certificates ({error.strerror or error})") from None


def _proxies() -> str:
    return _named(*_PROXIES) or "the proxy of this system"


def _named(*variables: str) -> str:
    """Those of the variables that are set, in either case, with what they say but for passwords."""
    names = [name for variable in variables for name in (variable, variable.lower()) if os.environ.get(name)]
    return ", ".join(f"{name}={os.environ[name].rpartition('@')[2]}" for name in names)


class Sockets:
    """The connections of a client, by the events that it tells of (httpcore's extension `trace`): closing a socket
    does not wake the thread that waits for a byte of it, shutting it down does."""

    def __init__(self):
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._changing = threading.Lock()
        self._shut = False

    def heed(self, event: str, facts: Mapping[str, Any]) -> None:
        """Keeps the socket of a connection that has come about."""
        stream = facts.get("return_value")
        if not event.endswith((".connect_tcp.complete", ".start_tls.complete")) or stream is None:
            return
        with self._changing:
            self._open.add(stream.get_extra_info("socket"))
            if self._shut:
                self._end()

    def shut(self) -> None:
        """Ends every connection, and those that are still to come about."""
        with self._changing:
            self._shut = True
            self._end()

    def _end(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):  # closed already
                # Not what a socket of TLS makes of it, which is not for a second thread.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

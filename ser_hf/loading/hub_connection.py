"""Finds out with one request whether the Hub can be reached.

Without a connection, the client of the Hub sends the request for each file of a model six times,
with pauses of up to 8 s, also for files that a model may lack. That takes minutes. Here the first
failure is final: files of earlier downloads are used, or the command stops.
"""

import dataclasses
import time

import httpx2
from huggingface_hub import constants, get_session, is_offline_mode

# In a notebook the connection may come back, so a failure is forgotten after this time.
_VALID_SECONDS = 60.0
# With these errors no server was reached. After other errors, such as a late response, the client
# of the Hub tries again with its own limits of time.
_NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)


@dataclasses.dataclass
class _LastRequest:
    """What the last request to an address of the Hub has shown."""

    endpoint: str
    problem: str | None
    time: float

    def is_valid(self) -> bool:
        """Whether no new request is needed."""
        if self.endpoint != constants.ENDPOINT:
            return False
        return self.problem is None or time.monotonic() - self.time < _VALID_SECONDS


_last_request: _LastRequest | None = None


def connection_problem() -> str | None:
    """Why the Hub cannot be reached, such as "Name or service not known"; None if it can.

    The first call in a process sends one request, without retries and with the limit of
    ``HF_HUB_ETAG_TIMEOUT`` (by default 10 s). Any response means that the Hub can be reached.
    """
    global _last_request
    if is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    if _last_request is None or not _last_request.is_valid():
        problem = _request_problem()
        _last_request = _LastRequest(constants.ENDPOINT, problem, time.monotonic())
    return _last_request.problem


def _request_problem() -> str | None:
    """Send the request, and describe an error of the connection."""
    limit = constants.HF_HUB_ETAG_TIMEOUT
    try:
        get_session().head(constants.ENDPOINT, timeout=limit, follow_redirects=False)
    except httpx2.ConnectTimeout:
        return f"no connection within {limit} s (HF_HUB_ETAG_TIMEOUT)"
    except _NO_CONNECTION as error:
        return str(error) or type(error).__name__
    except httpx2.HTTPError:
        return None
    return None


def unreachable_message() -> str | None:
    """That the Hub cannot be reached, and the remedy, as a part of a sentence; None if it can."""
    problem = connection_problem()
    if problem is None:
        return None
    remedy = "unset it" if is_offline_mode() else "connect to the network"
    return f"the Hub ({constants.ENDPOINT}) cannot be reached: {problem}; {remedy}"

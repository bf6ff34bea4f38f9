"""What the loopback Hub answers: a status, headers and a body; refusals in the words and headers of the Hub."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    """`body` is bytes, or a file that is sent as it stands; both honour a request's `Range` where `ranged`."""

    status: int = 200
    body: bytes | Path = b""
    headers: dict[str, str] = field(default_factory=dict)
    ranged: bool = False


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(content).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


class Refused(Exception):
    """An answer of 4xx.

    Args:
        code: for the client's `X-Error-Code`, such as ``RepoNotFound``.
        mistake: whether no client that works as it should would have asked for this; such are kept for the test.
        more: further keys of the JSON.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        mistake: bool = False,
        headers: dict[str, str] | None = None,
        **more: Any,
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.mistake = mistake
        self.headers = {"X-Error-Message": _one_line(message), **(headers or {})}
        if code:
            self.headers["X-Error-Code"] = code
        self.more = more

    def answer(self) -> Answer:
        return as_json({"error": self.message, **self.more}, self.status, self.headers)


def malformed(message: str, status: int = 400) -> Refused:
    """A request that is wrong in itself."""
    return Refused(status, message, mistake=True)


def _one_line(text: str) -> str:
    """As a header can carry it."""
    return " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")

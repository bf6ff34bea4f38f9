"""What a test asks the loopback Hub to do wrong: refuse, hang up, keep silent."""

import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus

from .answers import Answer, as_json


@dataclass
class Fault:
    """Befalls the next `times` requests of a method whose path and query a pattern is found in."""

    method: str
    pattern: str
    times: int

    def matches(self, method: str, target: str) -> bool:
        return self.times > 0 and method == self.method and re.search(self.pattern, target) is not None


@dataclass
class Failure(Fault):
    """An answer of 4xx or 5xx."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self) -> Answer:
        return as_json({"error": HTTPStatus(self.status).phrase}, self.status, self.headers)


@dataclass
class Cut(Fault):
    """The connection ends after so many bytes of the request's body or, `in_answer`, of that of the answer."""

    after_bytes: int = 0
    in_answer: bool = False


@dataclass
class Stall(Fault):
    """The answer's body pauses for `seconds` after so many bytes; its headers wait as well where those are none."""

    seconds: float = 1.0
    after_bytes: int = 0


class Faults:
    """Those that are still to come, in the order in which they were asked for."""

    def __init__(self):
        self._coming: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        re.compile(fault.pattern)
        with self._lock:
            self._coming.append(fault)

    def take(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self._coming:
                if fault.matches(method, target):
                    fault.times -= 1
                    return fault
        return None

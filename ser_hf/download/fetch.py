"""One address into one file: resumed where it stopped, checked, and there only when it is whole.

What has come so far lies beside the file as ``NAME.part``, with ``NAME.part.json`` to say what it is the beginning
of. It is gone on with under `Range` and `If-Range` (RFC 9110, section 13.1.5), so that a server whose file has changed
sends the new one from its start; where a server names no version of its file, only under a checksum that would notice.
"""

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2

from .line import Interrupted, Line, SourceFailed, host, spoken

# Sizes of up to eighteen digits, which is an exabyte.
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclasses.dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes: its size in bytes, and an algorithm of hashlib with the digest in
    hexadecimal. `most` bounds the size where it is not known."""

    bytes: int | None = None
    digest: tuple[str, str] | None = None
    most: int | None = None


def fetch(line: Line, url: str, path: Path, expected: Expected, headers: Mapping[str, str] | None = None) -> None:
    """Downloads `url` into `path`; what is whole there already is not asked for.

    Raises:
        SourceFailed: if the server refuses, is of another opinion on the size, or sends other content than expected.
    """
    part = _Part(path, url, expected)
    if path.exists():
        if part.wrong(path) is None:
            line.moved(path.stat().st_size)
            return
        path.unlink()
    resumed = part.size
    line.moved(resumed)
    try:
        line.patiently(lambda: _attempt(line, part, headers or {}), host(url))
        wrong = part.wrong(part.path)
        if wrong is not None and resumed:
            # Perhaps it was resumed behind the beginning of something else: once more, all of it.
            part.drop(line)
            line.patiently(lambda: _attempt(line, part, headers or {}), host(url))
            wrong = part.wrong(part.path)
        if wrong is not None:
            part.drop(line)
            raise SourceFailed(f"{host(url)}: {wrong}")
        part.finish()
    finally:
        part.tidy()


def arrived(path: Path) -> int:
    """How many bytes of what `fetch` downloads into `path` are on the disk."""
    there = (one for one in (path, _beginning(path)) if one.is_file())
    return next((one.stat().st_size for one in there), 0)


def _beginning(path: Path) -> Path:
    return path.with_name(path.name + ".part")


class _Part:
    """The beginning of a file, and what it is the beginning of."""

    def __init__(self, target: Path, url: str, expected: Expected):
        self.target = target
        self.path = _beginning(target)
        self.note = target.with_name(target.name + ".part.json")
        self.url = url
        self.expected = expected
        recognisable = self.version is not None or expected.digest is not None
        if not recognisable or (expected.bytes is not None and self.size > expected.bytes):
            self._remove()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str | None:
        """The server's name for the version of its file that this is the beginning of."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            return noted["version"] if noted["url"] == self.url else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def begin(self, version: str | None) -> None:
        """Notes the version of which the first byte comes next."""
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def drop(self, line: Line) -> None:
        line.moved(-self.size)
        self._remove()

    def finish(self) -> None:
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Leaves nothing behind where nothing has come."""
        if not self.size:
            self._remove()

    def wrong(self, path: Path) -> str | None:
        """How the content of a file differs from what was expected, in words."""
        size = path.stat().st_size
        if self.expected.bytes not in (None, size):
            return f"sends {size:,} bytes, {self.expected.bytes:,} are published"
        if self.expected.digest is None:
            return None
        algorithm, published = self.expected.digest
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        return None if digest == published else f"sends another file: its {algorithm} is {digest}, not {published}"

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _attempt(line: Line, part: _Part, headers: Mapping[str, str]) -> None:
    """One request for what is missing; returns when nothing is.

    Raises:
        Interrupted: if some of it came, or nothing, and more may.
        SourceFailed: if what comes cannot be the file.
    """
    have, version = part.size, part.version
    if have and have == part.expected.bytes:
        return
    ranged = {"Range": f"bytes={have}-"} if have else {}
    if have and version is not None:
        ranged["If-Range"] = version
    with line.answer("GET", part.url, {**headers, **ranged}) as response:
        continued = response.status_code == 206
        total = _total(response, have)
        if response.status_code == 416 and have and total == have:
            return
        if response.status_code == 416 or (continued and version is not None and _version(response) != version):
            part.drop(line)
            raise Interrupted("the file has changed since its beginning came")
        _require_size(part, total)
        if not continued:
            part.drop(line)
            part.begin(_version(response))
        _receive(line, part, response, total)


def _receive(line: Line, part: _Part, response: httpx2.Response, total: int | None) -> None:
    limit = total if total is not None else part.expected.bytes or part.expected.most
    began = position = seen = part.size
    since = time.monotonic()
    try:
        with part.path.open("ab") as file:
            for block in response.iter_raw():
                line.require_running()
                position += len(block)
                if limit is not None and position > limit:
                    raise SourceFailed(f"{host(part.url)}: does not end after {limit:,} bytes")
                file.write(block)
                line.moved(len(block))
                now = time.monotonic()
                if now - since > line.patience.stall:
                    if position - seen < line.patience.trickle * (now - since):
                        raise httpx2.ReadTimeout("a trickle")
                    since, seen = now, position
    except httpx2.TransportError as error:
        stalled = isinstance(error, httpx2.TimeoutException)
        of = f" of {total:,}" if total is not None else ""
        raise Interrupted(
            f"{'stalled' if stalled else 'the connection broke off'} after {position:,}{of} bytes",
            brought=position - began,
        ) from None


def _total(response: httpx2.Response, have: int) -> int | None:
    """The size of the whole file in bytes as the server announces it, None where it does not."""
    ranged = response.headers.get("content-range", "")
    if response.status_code == 416:
        unsatisfied = _UNSATISFIED.fullmatch(ranged)
        return int(unsatisfied[1]) if unsatisfied else None
    if response.status_code == 206:
        match = _RANGE.fullmatch(ranged)
        if match is None or int(match[1]) != have:
            answers = spoken(ranged) or "a part"
            raise SourceFailed(f"{host(str(response.url))}: asked from byte {have:,} on, answers {answers}")
        return int(match[2]) if match[2] != "*" else None
    length = response.headers.get("content-length", "")
    return int(length) if _LENGTH.fullmatch(length) else None


def _require_size(part: _Part, total: int | None) -> None:
    expected = part.expected
    if total is not None and expected.bytes not in (None, total):
        raise SourceFailed(f"{host(part.url)}: announces {total:,} bytes, {expected.bytes:,} are published")
    if total is not None and expected.most is not None and total > expected.most:
        raise SourceFailed(f"{host(part.url)}: announces {total:,} bytes, more than {expected.most:,} cannot be right")


def _version(response: httpx2.Response) -> str | None:
    """A strong entity tag, else the date of the last change: a weak tag may not stand in If-Range."""
    tag = response.headers.get("etag", "")
    return tag if tag.startswith('"') else response.headers.get("last-modified")

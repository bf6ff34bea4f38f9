"""A request as the endpoints of the loopback Hub read it, which is strictly."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .answers import malformed

_KINDS = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}


@dataclass
class Request:
    """`target` is the path as it was sent, with its query; a body is bytes, or a file where an endpoint takes large
    ones."""

    method: str
    target: str
    headers: Message
    body: bytes | Path

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def query(self, allowed: Collection[str] = ()) -> dict[str, list[str]]:
        """The query's values by key."""
        values = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        _only(values, allowed, "query")
        return values

    def number(self, name: str, allowed: Collection[str], default: int) -> int:
        value = self.query(allowed).get(name, [str(default)])[-1]
        if not value.isdecimal():
            raise malformed(f'"{name}" must be a number, not {value}')
        return int(value)

    def flag(self, name: str, allowed: Collection[str]) -> bool:
        value = self.query(allowed).get(name, ["false"])[-1].lower()
        if value not in ("true", "false", "1", "0"):
            raise malformed(f'"{name}" must be a boolean, not {value}')
        return value in ("true", "1")

    def content_type(self, *accepted: str) -> str:
        sent = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if sent not in accepted:
            raise malformed(f"Content-Type must be {' or '.join(accepted)}, not {sent or 'absent'}", 415)
        return sent

    def json(self, kinds: dict[str, str], content_type: str = "application/json") -> dict[str, Any]:
        """The body's object.

        Args:
            kinds: key -> name of its type, followed by ``?`` where the key may be absent or null.
        """
        self.content_type(content_type)
        try:
            content = json.loads(self.body)
        except ValueError as error:
            raise malformed(f"Invalid JSON: {error}") from error
        return checked(content, kinds, "value")

    def form(self, allowed: Collection[str]) -> dict[str, list[str]]:
        self.content_type("application/x-www-form-urlencoded")
        try:
            values = parse_qs(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(self.body))
        except ValueError as error:
            raise malformed(f"Invalid form: {error}") from error
        _only(values, allowed, "form")
        return values


def checked(content: Any, kinds: dict[str, str], name: str) -> dict[str, Any]:
    """An object that has these keys, of these types, and no others; keys that may be absent are None there."""
    if not isinstance(content, dict):
        raise malformed(f'"{name}" must be of type object')
    _only(content, kinds, name)
    for key, kind in kinds.items():
        value = content.get(key)
        if value is None and kind.endswith("?"):
            continue
        if value is None:
            raise malformed(f'"{name}.{key}" is required')
        kind = kind.rstrip("?")
        if kind != "any" and (not isinstance(value, _KINDS[kind]) or (kind == "int" and isinstance(value, bool))):
            raise malformed(f'"{name}.{key}" must be of type {kind}, not {type(value).__name__}')
    return {key: content.get(key) for key in kinds}


def _only(content: Collection[str], allowed: Collection[str], name: str) -> None:
    if unknown := sorted(set(content) - set(allowed)):
        raise malformed(f'"{name}.{unknown[0]}" is not allowed')

"""ser-hf cache: lists what the cache holds, and deletes it."""

import datetime
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Option

from ..utils.cache import Entry, cache_root, entries, format_size, remove
from ..utils.errors import UserError

_DAY = 24 * 3600


def cache(
    cache_dir: Annotated[
        str | None, Option(metavar="DIR", help="[default: $SER_HF_CACHE, or else ~/.cache/ser_hf]")
    ] = None,
    remove_older_than: Annotated[
        float | None, Option(metavar="DAYS", help="Delete what was not used for so long.")
    ] = None,
    clear: Annotated[bool, Option("--clear", help="Delete everything, after a confirmation.")] = False,
    yes: Annotated[bool, Option("--yes", help="Do not ask for the confirmation of --clear.")] = False,
) -> None:
    """List what the cache holds, or delete what is unused.

    Example: ser-hf cache --remove-older-than 30
    """
    days = remove_older_than
    if days is not None and clear:
        raise UserError("--remove-older-than: contradicts --clear; give one of the two")
    if days is not None and not 0 <= days < math.inf:
        raise UserError(f"--remove-older-than: expected days, zero or more, got {days:g}")
    if yes and not clear:
        raise UserError("--yes: answers the question of --clear; leave it out")
    root = cache_root(cache_dir)
    if cache_dir is not None and not root.is_dir():
        raise UserError(f"--cache-dir: {root} is not a folder")
    found = entries(root)
    if days is not None:
        found = [entry for entry in found if time.time() - entry.last_used >= days * _DAY]
    elif not clear:
        print(table(root, found))
        return
    elif found and not yes:
        _require_confirmation(f"delete all of {root}: {_total(found)}?")
    _remove(root, found)


def table(root: Path, found: Sequence[Entry]) -> str:
    """One line for each entry, the longest unused first, below the sum."""
    lines = [f"{root}: {_total(found)}"]
    if found:
        lines.append(f"{'size':>11}  {'last used':<10}  {'kind':<15}  folder")
    for entry in found:
        day = datetime.date.fromtimestamp(entry.last_used).isoformat()
        state = ", in use" if entry.in_use else ", unfinished" if entry.unfinished else ""
        lines.append(f"{format_size(entry.bytes):>11}  {day}  {entry.kind:<15}  {entry.path.name}{state}")
    return "\n".join(lines)


def _require_confirmation(question: str) -> None:
    if not sys.stdin.isatty():
        raise UserError(f"--clear: {question} This is no terminal to confirm it on; add --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("--clear: nothing was deleted")


def _remove(root: Path, found: Sequence[Entry]) -> None:
    removed, used = [], []
    for entry in found:
        try:
            (removed if remove(entry) else used).append(entry)
        except OSError as error:
            raise UserError(f"{entry.path}: cannot be deleted ({error.strerror or error})") from None
    print(f"{root}: deleted {_total(removed)}")
    if used:
        print(f"  kept, because a process uses it: {', '.join(entry.path.name for entry in used)}")


def _total(found: Sequence[Entry]) -> str:
    folders = "1 folder" if len(found) == 1 else f"{len(found):,} folders"
    return f"{format_size(sum(entry.bytes for entry in found))} in {folders}"

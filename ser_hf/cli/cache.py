"""ser-hf cache: what the cache holds, when it was last used, and how to be rid of it."""

import argparse
import datetime
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..utils.cache import Entry, cache_root, entries, format_size, remove
from ..utils.errors import UserError

EXAMPLE = "ser-hf cache --remove-older-than 30"

_DAY = 24 * 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-dir", metavar="DIR", help="the cache (default: SER_HF_CACHE of the environment, or ~/.cache/ser_hf)"
    )
    removed = parser.add_mutually_exclusive_group()
    removed.add_argument(
        "--remove-older-than", type=float, metavar="DAYS", help="delete what was not used for so many days"
    )
    removed.add_argument("--clear", action="store_true", help="delete everything, once you have said yes")
    parser.add_argument("--yes", action="store_true", help="do not ask before --clear")


def run(options: argparse.Namespace) -> None:
    """Lists, or deletes what is not in use and says how much that was."""
    days = options.remove_older_than
    if days is not None and not 0 <= days < math.inf:
        raise UserError(f"--remove-older-than: expected days, zero or more, got {days:g}")
    if options.yes and not options.clear:
        raise UserError("--yes: answers the question of --clear; leave it out")
    root = cache_root(options.cache_dir)
    if options.cache_dir is not None and not root.is_dir():
        raise UserError(f"--cache-dir: {root} is not a folder")
    found = entries(root)
    if not (options.clear or days is not None):
        print(table(root, found))
        return
    if days is not None:
        found = [entry for entry in found if time.time() - entry.last_used >= days * _DAY]
    elif found and not options.yes:
        _require_yes(root, found)
    _remove(root, found)


def table(root: Path, found: Sequence[Entry]) -> str:
    """A line an entry, the longest unused first, and the sum."""
    lines = [f"{root}: {_told(found)}"]
    if found:
        lines.append(f"{'size':>11}  {'last used':<10}  {'kind':<15}  folder")
    for entry in found:
        day = datetime.date.fromtimestamp(entry.last_used).isoformat()
        state = ", in use" if entry.in_use else ", unfinished" if entry.unfinished else ""
        lines.append(f"{format_size(entry.bytes):>11}  {day}  {entry.kind:<15}  {entry.path.name}{state}")
    return "\n".join(lines)


def _require_yes(root: Path, found: Sequence[Entry]) -> None:
    question = f"delete all of {root}: {_told(found)}?"
    if not sys.stdin.isatty():
        raise UserError(f"--clear: {question} Nobody can be asked here; say --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("--clear: nothing was deleted")


def _remove(root: Path, found: Sequence[Entry]) -> None:
    gone, used = [], []
    for entry in found:
        try:
            (gone if remove(entry) else used).append(entry)
        except OSError as error:
            raise UserError(f"{entry.path}: cannot be deleted ({error.strerror or error})") from None
    print(f"{root}: deleted {_told(gone)}")
    if used:
        print(f"  left alone, as a process has it open: {', '.join(entry.path.name for entry in used)}")


def _told(found: Sequence[Entry]) -> str:
    counted = "1 folder" if len(found) == 1 else f"{len(found):,} folders"
    return f"{format_size(sum(entry.bytes for entry in found))} in {counted}"

"""ser-hf cache: lists what the cache holds, and deletes it."""

import datetime
import time
from collections.abc import Sequence
from typing import Annotated

from typer import Option

from ..utils.cache import Entry, cache_root, entries, format_size, remove
from ..utils.errors import UserError, printable


def cache(
    cache_dir: Annotated[
        str | None, Option(metavar="DIR", help="[default: $SER_HF_CACHE, or else ~/.cache/ser_hf]")
    ] = None,
    remove_older_than: Annotated[
        float | None, Option(metavar="DAYS", min=0, help="Delete folders that were not used for so long.")
    ] = None,
    clear: Annotated[bool, Option("--clear", help="Delete everything; needs --yes.")] = False,
    yes: Annotated[bool, Option("--yes", help="Confirm --clear.")] = False,
) -> None:
    """List what the cache holds, or delete what is unused.

    Example: ser-hf cache --remove-older-than 30
    """
    if remove_older_than is not None and clear:
        raise UserError("--remove-older-than: contradicts --clear; give one of the two")
    root = cache_root(cache_dir)
    if cache_dir is not None and not root.is_dir():
        raise UserError(f"--cache-dir: {root} is not a folder")
    found = entries(root)
    if remove_older_than is None and not clear:
        print(f"{root}: {_total(found)}")
        for entry in found:
            day = datetime.date.fromtimestamp(entry.last_used).isoformat()
            state = ", unfinished" if entry.unfinished else ""
            print(f"{format_size(entry.bytes):>11}  {day}  {entry.kind:<15}  {printable(entry.path.name)}{state}")
        return
    if remove_older_than is not None:
        found = [entry for entry in found if time.time() - entry.last_used >= remove_older_than * 24 * 3600]
    elif not yes:
        raise UserError(f"--clear: deletes all of {root}, {_total(found)}; add --yes")
    used = []
    for entry in found:
        try:
            if not remove(entry):
                used.append(entry)
        except OSError as error:
            raise UserError(f"{entry.path}: cannot be deleted ({error.strerror or error})") from None
    print(f"{root}: deleted {_total([entry for entry in found if entry not in used])}")
    if used:
        print(f"  kept, because a process uses it: {', '.join(entry.path.name for entry in used)}")


def _total(found: Sequence[Entry]) -> str:
    return f"{format_size(sum(entry.bytes for entry in found))} in {len(found):,} folder{'s' * (len(found) != 1)}"

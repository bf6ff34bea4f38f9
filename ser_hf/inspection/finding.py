"""A finding: one sentence with numbers, how much it matters, and what to do about it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from .tables import Row

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the verdict. `code` is stable; `paths` are the files it speaks of, as shown, each with a remark or
    an empty string."""

    code: str
    level: Level
    text: str
    advice: str = ""
    paths: tuple[tuple[str, str], ...] = ()


def verdict(findings: Sequence[Finding]) -> tuple[Level, str]:
    """The gravest level, and one sentence."""
    counts = Counter(finding.level for finding in findings)
    errors, warnings = counts["error"], counts["warning"]
    if errors:
        also = f" and {count(warnings, 'warning')}" if warnings else ""
        return "error", f"Not fit to train on as it is: {count(errors, 'error')}{also}."
    if warnings:
        return "warning", f"Usable, with {count(warnings, 'warning')} to read first."
    if counts["note"]:
        return "note", f"Fit to train on; {count(counts['note'], 'note')} to know of."
    return "ok", "Fit to train on; nothing stands out."


def listed(rows: Sequence[Row], remark: Callable[[Row], str] = lambda row: "") -> tuple[tuple[str, str], ...]:
    """The `paths` of a finding about `rows`."""
    return tuple((row.file.shown, remark(row)) for row in rows)


def usual(counts: Counter) -> Any:
    """The most frequent value; of equally frequent ones the largest, so that the order of files decides nothing."""
    return max(counts, key=lambda value: (counts[value], value))


def tally(counts: Counter, unit: str = "") -> str:
    """Each value with how often it occurs, sorted by value."""
    return ", ".join(f"{value}{unit}: {counts[value]}" for value in sorted(counts))


def count(number: int, noun: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def percent(share: float, digits: int = 1) -> str:
    """A share between 0 and 1 as per cent."""
    return f"{100 * share:.{digits}f} %"

"""From facts to findings: every check, and its results in the order in which they matter."""

from collections.abc import Sequence

from . import clip_checks, file_checks
from .finding import LEVELS, Finding
from .official import Official
from .tables import NearCopy, Row


def find(rows: Sequence[Row], official: Official | None, near_copies: Sequence[NearCopy], title: str) -> list[Finding]:
    """Every finding about the files, the gravest first, within a level in the order of the checks below."""
    clips = [row for row in rows if row.usable]
    found = [
        *file_checks.completeness(rows, official, title),
        *file_checks.readability(rows),
        *file_checks.originality(rows, official),
        *file_checks.copies(rows),
        *file_checks.near_copies(near_copies),
        *clip_checks.signals(clips),
        *clip_checks.formats(clips, rows),
        *clip_checks.balance(clips),
        *clip_checks.leaks(clips),
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))

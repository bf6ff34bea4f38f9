"""Names that the Hub takes: of repositories, of branches and tags, of files."""

import re

from .answers import malformed

_REPOSITORY = re.compile(r"\w([\w.-]*\w)?", re.ASCII)
_REFERENCE = re.compile(r"(?![/.-])(?!.*(\.\.|//|@\{|\.lock$|[/.]$))[^\s~^:?*\[\\\x00-\x1f]+")


def is_repository(repo_id: str) -> bool:
    """Whether it is an owner and a name, as the client's `validate_repo_id` has them."""
    parts = repo_id.split("/")
    forbidden = "--" in repo_id or ".." in repo_id or repo_id.endswith((".git", ".ipynb")) or len(repo_id) > 96
    return len(parts) == 2 and all(_REPOSITORY.fullmatch(part) for part in parts) and not forbidden


def check_reference(name: str) -> None:
    """As `git check-ref-format` has it; a name that reads as a commit's oid is none."""
    if not _REFERENCE.fullmatch(name) or re.fullmatch("[0-9a-f]{40}", name):
        raise malformed(f'Invalid reference name: "{name}"')


def check_path(path: str) -> None:
    """A path below the repository's root, written in the one way there is to write it."""
    parts = path.split("/")
    wrong = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    if wrong or any(ord(letter) < 32 or letter == "\\" for letter in path) or len(path.encode()) > 1024:
        raise malformed(f"Invalid path: {path!r}")

"""Names that the Hub takes: of repositories, of branches and tags, of files."""

import re

from .answers import malformed

_REPOSITORY = re.compile(r"\w([\w.-]*\w)?", re.ASCII)
_REFERENCE = re.compile(r"(?![/.-])(?!.*(\.\.|//|@\{|\.lock$|[/.]$))[^\s~^:?*\[\\\x00-\x1f]+")


def check_repository(owner: str, name: str) -> None:
    """As the client's `validate_repo_id` has it."""
    for part in (owner, name):
        valid = _REPOSITORY.fullmatch(part) and "--" not in part and ".." not in part
        if not valid or len(f"{owner}/{name}") > 96 or part.endswith((".git", ".ipynb")):
            raise malformed(f'Invalid repository name: "{owner}/{name}"')


def check_reference(name: str) -> None:
    """As `git check-ref-format` has it; a name that reads as a commit's oid is none."""
    if not _REFERENCE.fullmatch(name) or re.fullmatch("[0-9a-f]{40}", name):
        raise malformed(f'Invalid reference name: "{name}"')


def check_path(path: str) -> None:
    """A path below the repository's root, written in the one way there is to write it."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or ".git" in (part.lower() for part in parts):
        raise malformed(f'Invalid path: "{path}"')
    if any(ord(letter) < 32 for letter in path) or "\\" in path or len(path.encode()) > 1024:
        raise malformed(f"Invalid path: {path!r}")

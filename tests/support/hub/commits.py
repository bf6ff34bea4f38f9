"""The endpoint that makes a commit of the lines of NDJSON which a client sends."""

import json
import re
from typing import Any
from urllib.parse import unquote

from . import git
from .answers import Answer, Refused, as_json, malformed
from .cards import check_card
from .git import Entry
from .names import check_path
from .request import Request, checked
from .site import Site
from .store import Repository
from .uploads import LARGEST_REGULAR, decoded, needs_lfs

NDJSON = "application/x-ndjson"
_HEADER = {"summary": "str", "description": "str?", "parentCommit": "str?"}


def commit(site: Site, request: Request, repo_type: str, repo_id: str, revision: str) -> Answer:
    """All of the lines or none.

    Raises:
        Refused: 400 for lines that are not as they must be, for an object of Git LFS that was never uploaded and for a
            card that the Hub does not take; 404 for a branch or a deleted path that is not there; 412 where others
            have committed since `parentCommit`.
    """
    request.query()
    request.content_type(NDJSON)
    (kind, header), *lines = _lines(request.body)
    if kind != "header":
        raise malformed("the first line must be the header")
    header = checked(header, _HEADER, "header")
    if not header["summary"].strip():
        raise malformed('"header.summary" is not allowed to be empty')
    person, repository = site.writable(request, repo_type, repo_id)
    branch = unquote(revision).removeprefix("refs/heads/")
    if branch not in repository.branches:
        raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    head = site.commit(repository, branch)
    if header["parentCommit"] is not None and not _names(header["parentCommit"], head.oid):
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    files, changed, contents = dict(head.files), set(), {}
    for kind, value in lines:
        if kind == "header":
            raise malformed("there must be one header")
        changed |= _apply(site, repository, files, contents, kind, value)
    for content in contents.values():
        site.store.keep(content)
    made = site.store.add_commit(
        repository,
        branch,
        files,
        changed,
        author=person.name,
        title=header["summary"],
        description=header["description"] or "",
    )
    page = f"{site.page(repository)}/commit/{made.oid}"
    return as_json({"success": True, "commitOid": made.oid, "commitUrl": page, "hookOutput": ""})


def _lines(body: bytes) -> list[tuple[str, Any]]:
    read = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise malformed(f"line {number} is no JSON: {error}") from error
        content = checked(content, {"key": "str", "value": "dict"}, f"line {number}")
        read.append((content["key"], content["value"]))
    return read or [("", {})]


def _names(shown: str, oid: str) -> bool:
    """A commit is named by its oid or by the beginning of it."""
    if not re.fullmatch("[0-9a-f]{7,40}", shown):
        raise malformed('"header.parentCommit" must be a commit hash')
    return oid.startswith(shown)


def _apply(
    site: Site, repository: Repository, files: dict[str, Entry], contents: dict[str, bytes], kind: str, value: Any
) -> set[str]:
    """Does to `files` what a line says; returns the paths that it touched."""
    if kind == "file":
        value = checked(value, {"path": "str", "content": "str", "encoding": "str?"}, kind)
        content = _content(value)
        _check_regular(repository, value["path"], content)
        entry = git.regular(content)
        contents[entry.sha256] = content
        return _put(files, value["path"], entry)
    if kind == "lfsFile":
        value = checked(value, {"path": "str", "algo": "str", "oid": "str", "size": "int?"}, kind)
        return _put(files, value["path"], _large(site, repository, value))
    if kind == "deletedFile":
        path = checked(value, {"path": "str"}, kind)["path"]
        if files.pop(path, None) is None:
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        return {path}
    if kind == "deletedFolder":
        folder = checked(value, {"path": "str"}, kind)["path"].rstrip("/")
        inside = {path for path in files if path.startswith(f"{folder}/")}
        if not inside:
            raise Refused(404, f"A folder with this name doesn't exist: {folder}", "EntryNotFound")
        for path in inside:
            del files[path]
        return inside
    raise malformed(f'"key" must be one of [header, file, lfsFile, deletedFile, deletedFolder], not {kind}')


def _put(files: dict[str, Entry], path: str, entry: Entry) -> set[str]:
    check_path(path)
    above = {path[:position] for position, letter in enumerate(path) if letter == "/"}
    if above & files.keys() or any(other.startswith(f"{path}/") for other in files):
        raise malformed(f"{path} would be both a file and a folder")
    files[path] = entry
    return {path}


def _content(value: dict[str, Any]) -> bytes:
    if value["encoding"] == "base64":
        return decoded(value["content"], "file.content")
    if value["encoding"] in (None, "utf-8"):
        return value["content"].encode()
    raise malformed('"file.encoding" must be one of [base64, utf-8]')


def _check_regular(repository: Repository, path: str, content: bytes) -> None:
    if len(content) > LARGEST_REGULAR:
        raise malformed(f"Your push was rejected because it contains files larger than 10 MiB: {path}. Use Git LFS.")
    if content and needs_lfs(len(content), content):
        raise malformed(f"Your push was rejected because it contains binary files: {path}. Use Git LFS.")
    if path == "README.md":
        errors, _ = check_card(content.decode("utf-8", "replace"), repository.type)
        if errors:
            raise malformed(f"Invalid metadata in README.md: {'; '.join(errors)}")


def _large(site: Site, repository: Repository, value: dict[str, Any]) -> Entry:
    oid, size = value["oid"], value["size"]
    if value["algo"] != "sha256" or not re.fullmatch("[0-9a-f]{64}", oid):
        raise malformed('"lfsFile.algo" must be sha256 and "lfsFile.oid" one')
    if not site.store.has_large(repository, oid):
        message = f"an LFS pointer pointed to a file that does not exist: {value['path']}"
        raise malformed(f"Your push was rejected because {message}")
    stored = site.store.blob(oid).stat().st_size
    if size not in (None, stored):
        raise malformed(f'"lfsFile.size" of {value["path"]} is {size}; {stored} bytes were uploaded')
    return git.large(oid, stored)

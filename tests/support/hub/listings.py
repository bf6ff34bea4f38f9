"""Endpoints that tell what repositories hold: their description, their trees, their history."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlencode

from . import git
from .answers import Answer, Refused, as_json, malformed
from .front_matter import front_matter
from .git import Entry
from .request import Request
from .site import Site
from .store import Commit, Repository, public

_MOST_PATHS = 1000
_TREE = ("recursive", "expand", "cursor", "limit")
_FOUND_BY = ("author", "search", "filter", "pipeline_tag")
_LISTED = (*_FOUND_BY, "sort", "direction", "limit", "full", "config", "cardData", "expand", "cursor")


def list_repositories(site: Site, request: Request, repo_type: str) -> Answer:
    """Of those that whoever asks may see: by author, by words of the name, by tags; what was changed last, first."""
    asked = request.query(_LISTED)
    person = site.who(request)
    found = []
    for repository in site.store.all(repo_type):
        visible = not repository.private or (person is not None and person.belongs_to(repository.owner))
        if visible and repository.owner in asked.get("author", [repository.owner]):
            found.append(_describe(site, repository, site.commit(repository, "main"), blobs=False))
    for word in asked.get("search", []):
        found = [told for told in found if word.lower() in told["id"].lower()]
    for tags in asked.get("filter", []):
        found = [told for told in found if set(tags.split(",")) <= set(told["tags"])]
    for tag in asked.get("pipeline_tag", []):
        found = [told for told in found if told.get("pipeline_tag") == tag]
    found.sort(key=lambda told: told["lastModified"], reverse=True)
    told = [_expanded(told, asked) for told in found]
    return _paged(site, request, _LISTED, told, request.number("limit", _LISTED, 0) or site.page_size)


def describe(site: Site, request: Request, repo_type: str, repo_id: str, revision: str | None = None) -> Answer:
    asked = request.query(("blobs", "expand", "securityStatus"))
    repository = site.readable(request, repo_type, repo_id)
    told = _describe(site, repository, site.commit(repository, unquote(revision or "main")), "blobs" in asked)
    return as_json(_expanded(told, asked))


def tree(site: Site, request: Request, repo_type: str, repo_id: str, revision: str, path: str | None) -> Answer:
    recursive, expand = request.flag("recursive", _TREE), request.flag("expand", _TREE)
    repository = site.readable(request, repo_type, repo_id, contents=True)
    commit = site.commit(repository, unquote(revision))
    folder = unquote(path or "").strip("/")
    oids = git.tree_oids(commit.files)
    if folder not in oids:
        raise Refused(404, f"{folder} does not exist on {unquote(revision)}", "EntryNotFound")
    prefix = f"{folder}/" if folder else ""
    paths = [path for path in (*commit.files, *oids) if path.startswith(prefix) and path not in ("", folder)]
    if not recursive:
        paths = [path for path in paths if "/" not in path.removeprefix(prefix)]
    listed = _listed(site, repository, commit, oids, sorted(paths), expand)
    return _paged(site, request, _TREE, listed, min(site.page_size, 50) if expand else site.page_size)


def paths_info(site: Site, request: Request, repo_type: str, repo_id: str, revision: str) -> Answer:
    """Of the paths that there are; nothing of the others."""
    asked = request.form(("paths", "expand"))
    paths = [path.strip("/") for path in asked.get("paths", [])]
    if len(paths) > _MOST_PATHS:
        raise malformed("too many parameters", 413)
    repository = site.readable(request, repo_type, repo_id, contents=True)
    commit = site.commit(repository, unquote(revision))
    oids = git.tree_oids(commit.files)
    there = [path for path in dict.fromkeys(paths) if path and (path in commit.files or path in oids)]
    expand = asked.get("expand", ["false"])[-1].lower() == "true"
    return as_json(_listed(site, repository, commit, oids, there, expand))


def commits(site: Site, request: Request, repo_type: str, repo_id: str, revision: str) -> Answer:
    repository = site.readable(request, repo_type, repo_id)
    history = site.store.history(repository, site.commit(repository, unquote(revision)).oid)
    told = [
        {"id": commit.oid, "title": commit.title, "message": commit.description, "date": commit.date}
        | {"authors": [{"user": commit.author, "avatar": ""}]}
        for commit in history
    ]
    return _paged(site, request, ("expand[]", "limit", "cursor"), told, site.page_size)


def runtime(site: Site, request: Request, repo_id: str) -> Answer:
    """A Space that is never built: it waits, or has no file to run."""
    repository = site.readable(request, "space", repo_id)
    runs = {"app.py", "Dockerfile", "index.html"} & set(site.commit(repository, "main").files)
    hardware = {"current": None, "requested": "cpu-basic"}
    told = {"stage": "BUILDING" if runs else "NO_APP_FILE", "hardware": hardware, "storage": None}
    return as_json(told | {"gcTimeout": 172800, "replicas": {"requested": 1}})


def _describe(site: Site, repository: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
    card = front_matter(_text(site, commit, "README.md") or "")[0] or {}
    told = public(repository) | {
        "sha": commit.oid,
        "lastModified": commit.date,
        "likes": 0,
        "downloads": 0,
        "tags": _tags(repository, commit, card),
        "siblings": [_sibling(path, entry, blobs) for path, entry in commit.files.items()],
        "cardData": card,
        "usedStorage": sum(entry.size for entry in commit.files.values()),
    }
    if repository.type == "model":
        told |= {"modelId": repository.id} | {key: card[key] for key in ("pipeline_tag", "model-index") if key in card}
        config = _config(site, commit)
        if config is not None:
            told["config"] = {key: config[key] for key in ("architectures", "model_type", "auto_map") if key in config}
        library = card.get("library_name") or ("transformers" if config else None)
        told |= {"library_name": library} if library else {}
    if repository.type == "space":
        host = repository.id.replace("/", "-").lower()
        told |= {"sdk": card.get("sdk", repository.sdk), "subdomain": host, "host": f"https://{host}.hf.space"}
    return told


def _tags(repository: Repository, commit: Commit, card: dict[str, Any]) -> list[str]:
    """Those of the card and those that the Hub derives."""
    tags = [card[key] for key in ("library_name", "pipeline_tag", "sdk") if isinstance(card.get(key), str)]
    tags += ["safetensors"] if any(path.endswith(".safetensors") for path in commit.files) else []
    tags += _texts(card.get("tags"))
    prefixes = {"language": "" if repository.type == "model" else "language:", "datasets": "dataset:"}
    for key in ("language", "license", "datasets", "base_model", "task_categories", "size_categories"):
        tags += [f"{prefixes.get(key, f'{key}:')}{value}" for value in _texts(card.get(key))]
    return list(dict.fromkeys([*tags, "region:us"]))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [item for item in value or [] if isinstance(item, str)]


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return {"rfilename": path, "size": entry.size, "blobId": entry.oid, **({"lfs": lfs} if entry.lfs else {})}


def _listed(
    site: Site, repository: Repository, commit: Commit, oids: dict[str, str], paths: Iterable[str], expand: bool
) -> list[dict[str, Any]]:
    listed = []
    for path in paths:
        entry = commit.files.get(path)
        told: dict[str, Any] = {"type": "directory", "oid": oids.get(path), "size": 0, "path": path}
        if entry is not None:
            told |= {"type": "file", "oid": entry.oid, "size": entry.size}
            if entry.lfs:
                told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        if expand:
            last = _last(site.store.history(repository, commit.oid), path)
            told["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
        if expand and entry is not None:
            scans = dict.fromkeys(("avScan", "pickleImportScan"))
            told["securityFileStatus"] = {"status": "safe", **scans}
        listed.append(told)
    return listed


def _last(history: list[Commit], path: str) -> Commit:
    """The newest commit that touched a path or something below it."""
    touched = (commit for commit in history if any(f"{changed}/".startswith(f"{path}/") for changed in commit.changed))
    return next(touched, history[-1])


def _text(site: Site, commit: Commit, path: str) -> str | None:
    entry = commit.files.get(path)
    return site.store.blob(entry.sha256).read_text(encoding="utf-8", errors="replace") if entry else None


def _config(site: Site, commit: Commit) -> dict[str, Any] | None:
    try:
        content = json.loads(_text(site, commit, "config.json") or "null")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _expanded(told: dict[str, Any], asked: dict[str, list[str]]) -> dict[str, Any]:
    """What was asked for alone, where somebody asked."""
    wanted = asked.get("expand")
    return {key: value for key, value in told.items() if key in ("_id", "id", *wanted)} if wanted else told


def _paged(site: Site, request: Request, allowed: tuple[str, ...], items: list[Any], size: int) -> Answer:
    """A page of a list, with the address of the next one in the `Link` header."""
    start = request.number("cursor", allowed, 0)
    headers = {"X-Total-Count": str(len(items))}
    if start + size < len(items):
        following = urlencode({**request.query(allowed), "cursor": [str(start + size)]}, doseq=True)
        headers["Link"] = f'<{site.url}{request.path}?{following}>; rel="next"'
    return as_json(items[start : start + size], headers=headers)

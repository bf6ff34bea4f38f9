"""The reading endpoints of the loopback Hub: accounts, descriptions, trees and files."""

import hashlib
from typing import Any

from .cards import front_matter
from .store import Commit, File, Refused, Repository, Store


def home(store: Store, request: Any) -> dict[str, Any]:
    """The first page, which is requested to find out whether the Hub can be reached."""
    return {}


def whoami(store: Store, request: Any) -> dict[str, Any]:
    user = store.user(request.headers)
    if user is None:
        raise Refused(401, "Invalid username or password.")
    token = {"displayName": "loopback", "role": user.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    organizations = [{"type": "org", "name": name} for name in user.namespaces[1:]]
    account = {"type": "user", "name": user.name, "fullname": user.name, "orgs": organizations}
    return account | {"auth": {"type": "access_token", "accessToken": token}}


def harnesses(store: Store, request: Any) -> dict[str, Any]:
    """Programs that run clients; huggingface_hub names them in its user agent."""
    return {"standardEnvVars": [], "harnesses": {}}


def describe(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str = "main"
) -> dict[str, Any]:
    repository = store.readable(request.headers, repo_type, repo_id)
    commit = repository.commit(revision)
    readme = commit.tree.get("README.md", File(b""))
    card = front_matter(readme.content.decode())[0] or {}
    library = card.get("library_name") or ("transformers" if "config.json" in commit.tree else None)
    optional = {
        "library_name": library,
        "pipeline_tag": card.get("pipeline_tag"),
        "sdk": repository.sdk,
    }
    files = [
        {"rfilename": path, "size": len(file.content), **_id(file)}
        for path, file in commit.tree.items()
    ]
    return {
        "_id": hashlib.md5(f"{repository.type} {repository.id}".encode()).hexdigest()[:24],
        "id": repository.id,
        "author": repository.owner,
        "private": repository.private,
        "gated": repository.gated,
        "sha": commit.oid,
        "createdAt": repository.commits[0].date,
        "lastModified": commit.date,
        "tags": [*card.get("tags", []), *filter(None, optional.values())],
        "cardData": card,
        "siblings": files,
        **{key: value for key, value in optional.items() if value},
    }


def discussions(store, request, repo_id, repo_type):
    """The discussions and pull requests of a repository: none."""
    return {"discussions": [], "count": 0, "start": 0, "numClosedDiscussions": 0}


def tree(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str, path: str = ""
) -> list[Any]:
    commit = store.readable(request.headers, repo_type, repo_id, contents=True).commit(revision)
    folder = f"{path.strip('/')}/".lstrip("/")
    inside = [
        name.removeprefix(folder)
        for name in _paths(commit)
        if name.startswith(folder) and name != folder
    ]
    if not inside:
        raise Refused(404, f"{path} does not exist on {revision}", "EntryNotFound")
    if request.query.get("recursive") != "true":
        inside = [name for name in inside if "/" not in name.rstrip("/")]
    return [_item(commit, folder + name) for name in inside]


def paths_info(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str
) -> list[Any]:
    commit = store.readable(request.headers, repo_type, repo_id, contents=True).commit(revision)
    paths = {path.rstrip("/") for path in request.form().get("paths", [])}
    return [_item(commit, name) for name in _paths(commit) if name.rstrip("/") in paths]


def resolve(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str, path: str
) -> Any:
    """Status, headers and content of a file; one in Git LFS is redirected to the storage."""
    repository = store.readable(request.headers, repo_type, repo_id, contents=True)
    commit = repository.commit(revision)
    file = commit.tree.get(path)
    headers = {"X-Repo-Commit": commit.oid}
    if file is None:
        raise Refused(404, "Entry not found", "EntryNotFound")
    if not file.lfs:
        return (
            200,
            headers | {"ETag": f'"{file.oid}"', "Content-Type": "text/plain; charset=utf-8"},
            file.content,
        )
    headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
    headers["Location"] = (
        f"{store.storage}/{repo_type}s/{repo_id}/{file.sha256}?key={_key(repository)}"
    )
    return 302, headers, b"Found. Redirecting to the storage"


def stored(store: Store, request: Any, repo_type: str, repo_id: str, oid: str) -> Any:
    """The storage needs no token: the address contains a key, which the Hub gives to readers."""
    repository = store.repositories.get((repo_type, repo_id))
    if (
        repository is None
        or oid not in repository.large
        or request.query.get("key") != _key(repository)
    ):
        raise Refused(403, "SignatureDoesNotMatch", mistake=True)
    return (
        200,
        {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"},
        repository.large[oid],
    )


def _key(repository: Repository) -> str:
    return hashlib.sha256(f"key of {repository.type} {repository.id}".encode()).hexdigest()


def _paths(commit: Commit) -> list[str]:
    """All files, and all folders with a slash at the end."""
    folders = {
        f"{path[:i]}/" for path in commit.tree for i, letter in enumerate(path) if letter == "/"
    }
    return sorted([*commit.tree, *folders])


def _item(commit: Commit, name: str) -> dict[str, Any]:
    if name.endswith("/"):
        oid = hashlib.sha1(f"{commit.oid} {name}".encode()).hexdigest()
        return {"type": "directory", "path": name.rstrip("/"), "oid": oid, "size": 0}
    file = commit.tree[name]
    lfs = {"lfs": _lfs(file, "oid")} if file.lfs else {}
    return {"type": "file", "path": name, "oid": file.oid, "size": len(file.content), **lfs}


def _id(file: File) -> dict[str, Any]:
    return {"blobId": file.oid, **({"lfs": _lfs(file, "sha256")} if file.lfs else {})}


def _lfs(file: File, key: str) -> dict[str, Any]:
    return {key: file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}

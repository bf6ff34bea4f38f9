"""The writing endpoints of the loopback Hub: repositories, Git LFS and commits."""

import base64
import fnmatch
import hashlib
import json
from typing import Any

from .cards import check_card
from .store import TYPES, File, Refused, Repository, Store

LARGEST_REGULAR = 10 * 2**20  # bytes; the Hub takes larger files by Git LFS only
LARGE = ("*.safetensors", "*.bin", "*.pt", "*.npz", "*.onnx", "*.parquet", "*.zip")
ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE
).encode()
SPACE_CARD = "---\ntitle: A Space\nemoji: 🐨\ncolorFrom: blue\ncolorTo: green\nsdk: {}\n---\n"


def create(store: Store, request: Any) -> dict[str, Any]:
    """With the first commit, which the Hub makes: .gitattributes, and the README.md of a Space."""
    content = request.json()
    repo_type = content.get("type") or "model"
    sdk = content.get("sdk")
    if repo_type not in TYPES or (repo_type == "space") != (
        sdk in ("gradio", "streamlit", "docker", "static")
    ):
        raise Refused(400, f'"type" {repo_type} with "sdk" {sdk} is not allowed', mistake=True)
    namespace = content.get("organization") or getattr(store.user(request.headers), "name", "")
    store.writer(request.headers, namespace)
    private = bool(content.get("private")) or content.get("visibility") == "private"
    repository = store.create(repo_type, f"{namespace}/{content['name']}", private, sdk)
    files = {".gitattributes": File(ATTRIBUTES)}
    if repo_type == "space":
        files["README.md"] = File(SPACE_CARD.format(sdk).encode())
    repository.add_commit("initial commit", files)
    return {
        "url": store.page(repository),
        "name": repository.id,
        "id": repository.id,
        "private": private,
    }


def settings(store: Store, request: Any, repo_type: str, repo_id: str) -> dict[str, Any]:
    content = request.json()
    repository = store.writable(request.headers, repo_type, repo_id)
    if content.get("gated") is not None:
        repository.gated = content["gated"]
    if content.get("private") is not None or content.get("visibility"):
        repository.private = bool(content.get("private")) or content.get("visibility") == "private"
    return {"private": repository.private, "gated": repository.gated}


def preupload(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str
) -> dict[str, Any]:
    """The upload mode of each file, and the id of the existing file, so that the client skips equal
    files.
    """
    commit = store.writable(request.headers, repo_type, repo_id).commit(revision)
    files = []
    for file in request.json()["files"]:
        there = commit.tree.get(file["path"])
        lfs = file["size"] and (
            _is_large(file["path"]) or _needs_lfs(file["size"], base64.b64decode(file["sample"]))
        )
        mode = "lfs" if lfs else "regular"
        oid = there and (there.sha256 if there.lfs else there.oid)
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": files, "commitOid": commit.oid}


def batch(store: Store, request: Any, repo_type: str, repo_id: str) -> dict[str, Any]:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md, for uploads: clients download
    without it.
    """
    content = request.json()
    repository = store.writable(request.headers, repo_type, repo_id)
    if content["operation"] != "upload" or content.get("hash_algo", "sha256") != "sha256":
        raise Refused(422, '"operation" must be upload, "hash_algo" sha256', mistake=True)
    objects = []
    for item in content["objects"]:
        oid = item["oid"]
        size = item["size"]
        actions = {
            "upload": {"href": f"{store.storage}/{repo_type}s/{repo_id}/{oid}?size={size}"},
            "verify": {"href": f"{store.page(repository)}.git/info/lfs/objects/verify"},
        }
        objects.append(
            {"oid": oid, "size": size} | ({} if oid in repository.large else {"actions": actions})
        )
    return {"transfer": "basic", "objects": objects}


def put(store: Store, request: Any, repo_type: str, repo_id: str, oid: str) -> dict[str, Any]:
    """The storage accepts a file of the announced size and sha256, without a token."""
    digest = hashlib.sha256(request.body).hexdigest()
    if (digest, str(len(request.body))) != (oid, request.query.get("size")):
        raise Refused(
            400,
            f"BadDigest: announced {oid}, got {len(request.body)} bytes of {digest}",
            mistake=True,
        )
    store.repositories[repo_type, repo_id].large[oid] = request.body
    return {}


def verify(store: Store, request: Any, repo_type: str, repo_id: str) -> dict[str, Any]:
    content = request.json()
    repository = store.writable(request.headers, repo_type, repo_id)
    if len(repository.large.get(content["oid"], b"")) != content["size"]:
        raise Refused(422, f"The object {content['oid']} was not uploaded", mistake=True)
    return {"message": "Success"}


def commit(
    store: Store, request: Any, repo_type: str, repo_id: str, revision: str
) -> dict[str, Any]:
    """Applies all lines of the NDJSON or none."""
    repository = store.writable(request.headers, repo_type, repo_id)
    head = repository.commit(revision)
    header, *lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    if header["key"] != "header" or not header["value"]["summary"].strip():
        raise Refused(400, "the first line must be a header with a summary", mistake=True)
    parent = header["value"].get("parentCommit")
    if parent and not head.oid.startswith(parent):
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    changed: dict[str, File | None] = {}
    for line in lines:
        changed |= _changes(repository, head.tree, line["key"], line["value"])
    new_commit = repository.add_commit(header["value"]["summary"], changed)
    return {
        "success": True,
        "commitOid": new_commit.oid,
        "commitUrl": f"{store.page(repository)}/commit/{new_commit.oid}",
    }


def _changes(
    repository: Repository, tree: dict[str, File], kind: str, value: Any
) -> dict[str, File | None]:
    path = value["path"]
    if path.startswith("/") or {"", ".", "..", ".git"} & {*path.rstrip("/").split("/")}:
        raise Refused(400, f"Invalid path: {path!r}", mistake=True)
    if kind == "file":
        file = File(base64.b64decode(value["content"], validate=True))
        _check_regular(repository, path, file.content)
        return {path: file}
    if kind == "lfsFile":
        if value["oid"] not in repository.large:
            raise Refused(
                400, f"an LFS pointer pointed to a file that does not exist: {path}", mistake=True
            )
        return {path: File(repository.large[value["oid"]], lfs=True)}
    if kind not in ("deletedFile", "deletedFolder"):
        raise Refused(
            400,
            f'"key" {kind} is not one of [file, lfsFile, deletedFile, deletedFolder]',
            mistake=True,
        )
    below = path.rstrip("/") + "/"
    gone = [
        name for name in tree if (name == path if kind == "deletedFile" else name.startswith(below))
    ]
    if not gone:
        raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    return dict.fromkeys(gone)


def _check_regular(repository: Repository, path: str, content: bytes) -> None:
    if content and _needs_lfs(len(content), content[:512]):
        raise Refused(
            400,
            f"Your push was rejected because of a binary or large file: {path}. Use LFS.",
            mistake=True,
        )
    if path == "README.md" and (errors := check_card(content.decode(), repository.type)):
        raise Refused(400, f"Invalid metadata in README.md: {'; '.join(errors)}", mistake=True)


def _is_large(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in LARGE)


def _needs_lfs(size: int, sample: bytes) -> bool:
    """Whether the Hub refuses a file in git: a large one, or one that does not begin as text."""
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"  # a letter at the end of the sample is cut
    return size > LARGEST_REGULAR or b"\0" in sample

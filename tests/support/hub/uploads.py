"""Endpoints of an upload: what becomes of each file, the batch of Git LFS, and the storage that takes the contents."""

import base64
import binascii
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .answers import Answer, Refused, as_json, malformed
from .names import check_path
from .patterns import is_ignored, is_large
from .request import Request, checked
from .site import Site
from .store import Commit, Repository, digest

LFS = "application/vnd.git-lfs+json"
# Above this, the Hub takes no file but by Git LFS.
LARGEST_REGULAR = 10 * 2**20
_MOST_FILES = 256
_SAMPLE = 512


def preupload(site: Site, request: Request, repo_type: str, repo_id: str, revision: str) -> Answer:
    request.query()
    asked = request.json({"files": "list", "gitAttributes": "str?", "gitIgnore": "str?", "sample": "str?"})
    _, repository = site.writable(request, repo_type, repo_id)
    commit = site.commit(repository, unquote(revision))
    if len(asked["files"]) > _MOST_FILES:
        raise malformed(f"at most {_MOST_FILES} files at once", 413)
    attributes = asked["gitAttributes"] or read(site, commit, ".gitattributes")
    ignore = asked["gitIgnore"] if asked["gitIgnore"] is not None else read(site, commit, ".gitignore")
    told = []
    for number, file in enumerate(asked["files"]):
        file = checked(file, {"path": "str", "sample": "str", "size": "int"}, f"files[{number}]")
        check_path(file["path"])
        sample = decoded(file["sample"], f"files[{number}].sample")
        if len(sample) != min(file["size"], _SAMPLE):
            raise malformed(f'"files[{number}].sample" has {len(sample)} bytes of a file of {file["size"]}')
        entry = commit.files.get(file["path"])
        lfs = file["size"] and (is_large(file["path"], attributes) or needs_lfs(file["size"], sample))
        told.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if lfs else "regular",
                "shouldIgnore": is_ignored(file["path"], ignore),
                # What the client compares its own file with: the sha256 of a large one, else git's oid.
                "oid": entry and (entry.sha256 if entry.lfs else entry.oid),
            }
        )
    return as_json({"files": told, "commitOid": commit.oid})


def batch(site: Site, request: Request, repo_type: str, repo_id: str) -> Answer:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md"""
    kinds = {"operation": "str", "transfers": "list?", "objects": "list", "hash_algo": "str?", "ref": "dict?"}
    asked = request.json(kinds, LFS)
    if asked["operation"] not in ("upload", "download") or asked["hash_algo"] not in (None, "sha256"):
        raise malformed('"operation" must be upload or download, "hash_algo" sha256', 422)
    objects = [_object(item) for item in asked["objects"]]
    if asked["operation"] == "download":
        repository = site.readable(request, repo_type, repo_id, contents=True)
        actions = [_download(site, repository, oid, size) for oid, size in objects]
        return as_json({"transfer": "basic", "objects": actions}, headers={"Content-Type": LFS})
    _, repository = site.writable(request, repo_type, repo_id)
    transfers = asked["transfers"] or ["basic"]
    in_parts = "multipart" in transfers and any(size > site.part_size for _, size in objects)
    if "basic" not in transfers and not in_parts:
        raise malformed(f"None of the transfers {transfers} is known", 422)
    told = [_upload(site, repository, oid, size, "multipart" in transfers) for oid, size in objects]
    transfer = "multipart" if in_parts else "basic"
    return as_json({"transfer": transfer, "objects": told}, headers={"Content-Type": LFS})


def verify(site: Site, request: Request, repo_type: str, repo_id: str) -> Answer:
    """The last step of an upload: the client asks whether the object has arrived."""
    oid, size = _object(request.json({"oid": "str", "size": "int"}))
    _, repository = site.writable(request, repo_type, repo_id)
    if not site.store.has_large(repository, oid) or site.store.blob(oid).stat().st_size != size:
        raise malformed(f"The object {oid} of {size} bytes was not uploaded", 422)
    return as_json({"message": "Success"})


def put(site: Site, request: Request, repo_type: str, repo_id: str, oid: str, size: str) -> Answer:
    """The storage takes a file whole; it wants the bytes that were announced, and no other."""
    _complete(site, request, repo_type, repo_id, oid, int(size), request.body)
    return Answer(headers={"ETag": f'"{oid}"'})


def put_part(site: Site, request: Request, repo_type: str, repo_id: str, oid: str, part: str, size: str) -> Answer:
    path = request.body
    if path.stat().st_size != int(size):
        raise malformed(f"part {part} has {path.stat().st_size} bytes, {size} were announced")
    folder = _parts(site, repo_type, repo_id, oid)
    folder.mkdir(parents=True, exist_ok=True)
    etag = digest(path)
    shutil.move(path, folder / f"{int(part):05d}-{etag}")
    return Answer(headers={"ETag": f'"{etag}"'})


def complete(site: Site, request: Request, repo_type: str, repo_id: str, oid: str, size: str) -> Answer:
    """Joins the parts of a file."""
    asked = request.json({"oid": "str", "parts": "list"}, LFS)
    parts = [checked(part, {"partNumber": "int", "etag": "str"}, "parts") for part in asked["parts"]]
    if asked["oid"] != oid or [part["partNumber"] for part in parts] != list(range(1, len(parts) + 1)):
        raise malformed("the parts are not those of this object, in order")
    folder = _parts(site, repo_type, repo_id, oid)
    whole = site.store.incoming / f"whole-{oid}"
    with whole.open("wb") as file:
        for part in parts:
            etag = part["etag"].strip('"')
            sent = folder / f"{part['partNumber']:05d}-{etag}"
            if not re.fullmatch("[0-9a-f]{64}", etag) or not sent.exists():
                raise malformed(f"InvalidPart: part {part['partNumber']} was not uploaded")
            with sent.open("rb") as source:
                shutil.copyfileobj(source, file)
    _complete(site, request, repo_type, repo_id, oid, int(size), whole)
    shutil.rmtree(folder)
    return as_json({"success": True})


def read(site: Site, commit: Commit, path: str) -> str:
    """A small text of a commit; empty where there is none."""
    entry = commit.files.get(path)
    return site.store.blob(entry.sha256).read_text(encoding="utf-8", errors="replace") if entry else ""


def needs_lfs(size: int, content: bytes) -> bool:
    """Whether the Hub takes a file by Git LFS only: what is large, and what is no text, by its first bytes."""
    begin = content[:_SAMPLE]
    if size > LARGEST_REGULAR or b"\0" in begin:
        return True
    try:
        begin.decode()
    except UnicodeDecodeError as error:
        # A letter cut at the sample's end is none that is wrong.
        return not (len(begin) == _SAMPLE and error.reason == "unexpected end of data")
    return False


def decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f'"{name}" must be base64: {error}') from error


def _object(item: Any) -> tuple[str, int]:
    item = checked(item, {"oid": "str", "size": "int"}, "objects")
    if not re.fullmatch("[0-9a-f]{64}", item["oid"]) or item["size"] < 0:
        raise malformed('"oid" must be a sha256 and "size" a number of bytes', 422)
    return item["oid"], item["size"]


def _download(site: Site, repository: Repository, oid: str, size: int) -> dict[str, Any]:
    if not site.store.has_large(repository, oid):
        return {"oid": oid, "size": size, "error": {"code": 404, "message": "Object does not exist"}}
    href = site.sign(f"/repos/{repository.type}s/{repository.id}/{oid}")
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"download": {"href": href}}}


def _upload(site: Site, repository: Repository, oid: str, size: int, in_parts: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"oid": oid, "size": size}
    if size == 0:
        return told | {"error": {"code": 422, "message": "The storage takes no empty object"}}
    if site.store.has_large(repository, oid):
        return told
    place = f"/repos/{repository.type}s/{repository.id}/{oid}"
    if in_parts and size > site.part_size:
        count = -(-size // site.part_size)
        sizes = [min(site.part_size, size - number * site.part_size) for number in range(count)]
        header = {
            f"{number:05d}": site.sign(f"{place}?part={number}&size={length}")
            for number, length in enumerate(sizes, start=1)
        }
        upload = {
            "href": site.sign(f"{place}?complete&size={size}"),
            "header": {"chunk_size": str(site.part_size), **header},
        }
    else:
        upload = {"href": site.sign(f"{place}?size={size}")}
    prefix = "" if repository.type == "model" else f"{repository.type}s/"
    verify = {"href": f"{site.url}/{prefix}{repository.id}.git/info/lfs/objects/verify"}
    return told | {"authenticated": True, "actions": {"upload": upload, "verify": verify}}


def _parts(site: Site, repo_type: str, repo_id: str, oid: str) -> Path:
    return site.store.incoming / "parts" / hashlib.sha256(f"{repo_type}s/{repo_id}/{oid}".encode()).hexdigest()


def _complete(site: Site, request: Request, repo_type: str, repo_id: str, oid: str, size: int, path: Path) -> None:
    found, length = digest(path), path.stat().st_size
    if (found, length) != (oid, size):
        path.unlink()
        raise malformed(f"BadDigest: {oid} of {size} bytes was announced, {found} of {length} came")
    repository = site.store.find(repo_type, repo_id)
    if repository is None:
        raise Refused(404, "NoSuchBucket")
    site.store.take(path, oid)
    site.store.add_large(repository, oid)

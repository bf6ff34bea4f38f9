"""Endpoints that hand out contents: from the Hub itself, or by redirection from its storage."""

from urllib.parse import quote, unquote

from .answers import Answer, Refused
from .request import Request
from .site import Site


def resolve(site: Site, request: Request, repo_type: str, repo_id: str, revision: str, path: str) -> Answer:
    """A file of a revision; one that is in Git LFS is elsewhere, and the answer says where."""
    request.query(("download",))
    repository = site.readable(request, repo_type, repo_id, contents=True)
    commit = site.commit(repository, unquote(revision))
    headers = {"X-Repo-Commit": commit.oid}
    entry = commit.files.get(unquote(path))
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound", headers=headers)
    name = unquote(path).rpartition("/")[2]
    disposition = f"inline; filename*=UTF-8''{quote(name, safe='')}"
    if entry.lfs:
        headers |= {"X-Linked-ETag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        place = f"/repos/{repo_type}s/{repository.id}/{entry.sha256}"
        return Answer(302, b"Found. Redirecting to the storage", {**headers, "Location": site.sign(place)})
    headers |= {"ETag": f'"{entry.oid}"', "Content-Disposition": disposition}
    headers["Content-Type"] = "text/plain; charset=utf-8"
    return Answer(200, site.store.blob(entry.sha256), headers, ranged=True)


def stored(site: Site, request: Request, repo_type: str, repo_id: str, oid: str) -> Answer:
    """What the storage gives to whoever has a signed address."""
    path = site.store.blob(oid)
    if not path.exists():
        raise Refused(404, "NoSuchKey")
    headers = {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"}
    return Answer(200, path, headers, ranged=True)

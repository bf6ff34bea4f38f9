"""Which function answers which address, at the Hub itself and at its storage."""

import re
from collections.abc import Callable
from typing import NamedTuple

from . import cards, commits, downloads, listings, repositories, uploads
from .answers import Answer

Endpoint = Callable[..., Answer]

_ID = "(?P<repo_id>(?:[^/]+/)?[^/]+?)"
_TYPE = "(?P<repo_type>models|datasets|spaces)"
_API = f"/api/{_TYPE}/{_ID}"
_PAGE = f"/(?:(?P<repo_type>datasets|spaces)/)?{_ID}"
_REVISION = "(?P<revision>[^/]+)"
_NAME = "(?P<name>[^/]+)"
_OBJECT = f"/repos/{_TYPE}/(?P<repo_id>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{{64}})"
_SIGNATURE = "signature=[0-9a-f]+"


class Route(NamedTuple):
    """`pattern` is of the path, at the storage with its query; `to_file` tells of large bodies."""

    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint
    to_file: bool = False


def _route(method: str, pattern: str, endpoint: Endpoint, to_file: bool = False) -> Route:
    return Route(method, re.compile(pattern), endpoint, to_file)


HUB = [
    _route("GET", "/api/whoami-v2", repositories.whoami),
    _route("GET", "/api/agent-harnesses", repositories.harnesses),
    _route("POST", "/api/validate-yaml", cards.validate_yaml),
    _route("POST", "/api/repos/create", repositories.create),
    _route("DELETE", "/api/repos/delete", repositories.delete),
    _route("POST", "/api/repos/move", repositories.move),
    _route("GET", f"/api/{_TYPE}", listings.list_repositories),
    _route("GET", _API, listings.describe),
    _route("GET", f"{_API}/revision/{_REVISION}", listings.describe),
    _route("GET", f"{_API}/tree/{_REVISION}(?:/(?P<path>.*))?", listings.tree),
    _route("POST", f"{_API}/paths-info/{_REVISION}", listings.paths_info),
    _route("GET", f"{_API}/commits/{_REVISION}", listings.commits),
    _route("GET", f"{_API}/refs", repositories.refs),
    _route("POST", f"{_API}/branch/{_NAME}", repositories.create_branch),
    _route("DELETE", f"{_API}/branch/{_NAME}", repositories.delete_branch),
    _route("POST", f"{_API}/tag/{_REVISION}", repositories.create_tag),
    _route("DELETE", f"{_API}/tag/{_NAME}", repositories.delete_tag),
    _route("PUT", f"{_API}/settings", repositories.settings),
    _route("GET", f"{_API}/auth-check(?:/(?P<write>write))?", repositories.auth_check),
    _route("GET", f"/api/spaces/{_ID}/runtime", listings.runtime),
    _route("POST", f"{_API}/preupload/{_REVISION}", uploads.preupload),
    _route("POST", f"{_API}/commit/{_REVISION}", commits.commit),
    _route("POST", f"{_PAGE}.git/info/lfs/objects/batch", uploads.batch),
    _route("POST", f"{_PAGE}.git/info/lfs/objects/verify", uploads.verify),
    _route("GET", f"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)", downloads.resolve),
]
STORAGE = [
    _route("PUT", rf"{_OBJECT}\?size=(?P<size>\d+)&{_SIGNATURE}", uploads.put, to_file=True),
    _route("PUT", rf"{_OBJECT}\?part=(?P<part>\d+)&size=(?P<size>\d+)&{_SIGNATURE}", uploads.put_part, to_file=True),
    _route("POST", rf"{_OBJECT}\?complete&size=(?P<size>\d+)&{_SIGNATURE}", uploads.complete),
    _route("GET", rf"{_OBJECT}\?{_SIGNATURE}", downloads.stored),
]


def find(routes: list[Route], method: str, path: str) -> tuple[Route, dict[str, str | None]] | None:
    """The route of an address and what the address names; None where there is none. HEAD is GET without a body."""
    for route in routes:
        match = route.pattern.fullmatch(path)
        if match and route.method == ("GET" if method == "HEAD" else method):
            named = match.groupdict()
            if "repo_type" in named:
                named["repo_type"] = (named["repo_type"] or "models").removesuffix("s")
            return route, named
    return None

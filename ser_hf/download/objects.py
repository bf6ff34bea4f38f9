"""Files that come one by one, many at a time: the objects of a Git LFS store, the files of a Dataverse."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from .fetch import Expected, fetch
from .line import Line, SourceFailed, host, spoken
from .shelf import Shelf, Wanted
from .sources import Dataverse, LfsStore

logger = logging.getLogger(__name__)

# What Git LFS servers take in one question; GitHub and GitLab both answer a hundred.
_BATCH = 100
_LFS_JSON = "application/vnd.git-lfs+json"
# Failed files after which the rest is not tried: it is the server that fails.
_ENOUGH = 10
# A name and a value that may stand in a request (RFC 9110, section 5); an address is bounded as servers bound it.
_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}"), re.compile(r"[\t\x20-\x7e]{0,8192}")
_ADDRESS = 8192


class Request(NamedTuple):
    """Where a wanted file is to be had; `refused` is why it is not, in the server's words."""

    item: Wanted
    url: str = ""
    headers: Mapping[str, str] = {}
    refused: str | None = None


def fetch_from_lfs(line: Line, source: LfsStore, shelf: Shelf, jobs: int) -> None:
    """Downloads what the shelf lacks from a Git LFS server, by its batch API
    (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md) and the basic transfer.

    Raises:
        SourceFailed: if the server refuses, or could not give some of it; the rest is on the shelf.
    """
    failures = _lfs_round(line, source, shelf, jobs)
    if 0 < len(failures) < _ENOUGH:
        failures = _lfs_round(line, source, shelf, jobs)  # the addresses that it answers with expire
    if failures:
        raise _told(source.name, failures)


def fetch_from_dataverse(
    line: Line, source: Dataverse, shelf: Shelf, jobs: int, find: Callable[[PurePath], Wanted | None]
) -> None:
    """Downloads what the shelf lacks from a data set of a Dataverse
    (https://guides.dataverse.org/en/latest/api/dataaccess.html).

    Args:
        find: the wanted file that a name in the data set stands for, None for another file.

    Raises:
        SourceFailed: as `fetch_from_lfs`.
    """
    question = f"{source.url}/api/datasets/:persistentId/?persistentId={quote(source.persistent_id, safe=':/')}"
    listed = line.json("GET", question, {"Accept": "application/json"})
    wants = {item.sha256: item for item in shelf.open_wants()}
    requests = []
    try:
        for entry in listed["data"]["latestVersion"]["files"]:
            file = entry["dataFile"]
            item = find(PurePath(file["filename"]))
            if item is not None and item.sha256 in wants:
                requests.append(Request(wants.pop(item.sha256), f"{source.url}/api/access/datafile/{int(file['id'])}"))
    except (LookupError, TypeError, ValueError, OverflowError):
        raise SourceFailed(f"{source.name}: {host(source.url)} answers with no list of files") from None
    requests += [Request(item, refused="not in the data set") for item in wants.values()]
    failures = _fetch_all(line, requests, shelf, jobs)
    if failures:
        raise _told(source.name, failures)


def _lfs_round(line: Line, source: LfsStore, shelf: Shelf, jobs: int) -> dict[str, str]:
    failures: dict[str, str] = {}
    wants = shelf.open_wants()
    for start in range(0, len(wants), _BATCH):
        if len(failures) < _ENOUGH:
            failures |= _fetch_all(line, _ask_lfs(line, source, wants[start : start + _BATCH]), shelf, jobs)
    return failures


def _ask_lfs(line: Line, source: LfsStore, batch: list[Wanted]) -> list[Request]:
    question = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": item.sha256, "size": item.bytes} for item in batch],
        "hash_algo": "sha256",
    }
    headers = {"Accept": _LFS_JSON, "Content-Type": _LFS_JSON}
    answer = line.json("POST", f"{source.url}/objects/batch", headers, question)
    try:
        answers = {answered["oid"]: answered for answered in answer["objects"]}
        return [_lfs_request(item, answers.get(item.sha256, {})) for item in batch]
    except (LookupError, TypeError, AttributeError):
        raise SourceFailed(f"{source.name}: {host(source.url)} does not answer as a Git LFS server") from None


def _lfs_request(item: Wanted, answered: Mapping[str, Any]) -> Request:
    if "error" in answered:
        return Request(item, refused=spoken(f"{answered['error']['code']} {answered['error']['message']}"))
    if "actions" not in answered:
        return Request(item, refused="the server has no such object")
    action = answered["actions"]["download"]
    headers = {str(name): str(value) for name, value in (action.get("header") or {}).items()}
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            return Request(item, refused=f"the server names a header that is none ({spoken(f'{name}: {value}')})")
    if len(address := str(action["href"])) > _ADDRESS:
        return Request(item, refused=f"the server names an address of {len(address):,} letters")
    return Request(item, address, headers)


def _fetch_all(line: Line, requests: Iterable[Request], shelf: Shelf, jobs: int) -> dict[str, str]:
    """Downloads all of it; what could not be had, by its path in the release, with the reason."""
    failures = {request.item.path: request.refused for request in requests if request.refused is not None}
    with ThreadPoolExecutor(jobs) as pool:
        running = {
            pool.submit(_fetch_one, line, request, shelf): request for request in requests if request.refused is None
        }
        try:
            for done in as_completed(running):
                try:
                    done.result()
                except SourceFailed as error:
                    failures[running[done].item.path] = str(error)
                    if len(failures) >= _ENOUGH:
                        break
        finally:
            # Nothing is left over unless too much failed, or something worse happened (Ctrl-C, a full disk).
            if not all(future.done() for future in running):
                logger.info("stopping")
                line.stop()
                pool.shutdown(cancel_futures=True)
    return failures


def _fetch_one(line: Line, request: Request, shelf: Shelf) -> None:
    item = request.item
    expected = Expected(item.bytes, ("sha256", item.sha256))
    fetch(line, request.url, shelf.path(item.sha256), expected, request.headers)


def _told(name: str, failures: Mapping[str, str]) -> SourceFailed:
    first = min(failures)
    counted = f"{len(failures)} not" if len(failures) < _ENOUGH else "most not"
    return SourceFailed(f"{name}: {counted} to be had, {first}: {failures[first]}")

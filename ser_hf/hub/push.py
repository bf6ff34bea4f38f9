"""A folder into a repository of the Hub: as one commit, gone on with after a failure, none where nothing changed."""

import dataclasses
import fnmatch
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..cache import told_size
from ..errors import UserError
from .refusals import SIGN_IN, lasting, refused

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset", "space"]
# Seconds before a request that failed is made again; the client itself repeats the uploads of large files.
PAUSES = (1.0, 5.0, 15.0)
LONGEST_WAIT = 60.0
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Pushed:
    """What a push came to.

    Args:
        commit: the newest of the repository, with all of the folder in it.
        created: whether the repository was made for it; `changed`: whether a commit was.
    """

    repo_id: str
    kind: Kind
    url: str
    commit: str
    created: bool
    changed: bool


def whole_name(repo_id: str, token: str | None = None, key: str = "--repo") -> str:
    """USER/NAME of a repository named so, or by NAME alone, after asking the Hub who is signed in.

    Raises:
        UserError: if that is nobody, somebody who may not write, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    where = f"{key}: {repo_id}"
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise refused(error, where) from None
    asked = _patiently(lambda: HfApi(token=token).whoami(), where)
    role = asked.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise UserError(f"{where}: the token that is signed in with may only read; {SIGN_IN}")
    return repo_id if "/" in repo_id else f"{asked['name']}/{repo_id}"


def push(
    folder: Path,
    repo_id: str,
    *,
    kind: Kind = "model",
    private: bool = False,
    message: str,
    owned: Sequence[str] = (),
    space_sdk: Literal["gradio", "static"] = "gradio",
    token: str | None = None,
) -> Pushed:
    """Brings a repository, made where there is none, to what `folder` holds.

    All of it is one commit, on top of the one that was the newest when this began. A push that was cut off is gone on
    with by the same call: large files that have arrived are not sent again. Where everything is there already nothing
    is committed.

    Args:
        private: of a repository that is made; one that exists stays as it is.
        owned: patterns of files that pushes like this one write, and delete where `folder` has them no more. Whatever
            else stands in the repository stays.
        space_sdk: of a Space that is made: ``static`` shows its index.html as it is.

    Raises:
        UserError: if the Hub refuses it or cannot be reached, with what to do.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    made = _patiently(lambda: _made(api, repo_id, kind, private, space_sdk), repo_id)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in paths)
    url = f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"

    def commit() -> tuple[str, str]:
        info = api.repo_info(repo_id, repo_type=kind)
        local = {path.relative_to(folder).as_posix(): path for path in paths}
        there = [file.rfilename for file in info.siblings or ()]
        gone = [
            name
            for name in there
            if name not in local and any(fnmatch.fnmatchcase(name, pattern) for pattern in owned)
        ]
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in local.items()]
        operations += [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]
        done = api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=kind,
            parent_commit=info.sha,
        )
        return info.sha, done.oid

    logger.info("%s: %d files, %s, to %s", "pushing", len(paths), told_size(size), url)
    before, after = _patiently(commit, repo_id)
    if before == after:
        logger.info("%s holds all of it already: no commit", url)
    return Pushed(repo_id, kind, url, after, made, before != after)


def _made(api: Any, repo_id: str, kind: Kind, private: bool, space_sdk: str) -> bool:
    """Makes the repository; whether there was none."""
    if api.repo_exists(repo_id, repo_type=kind):
        return False
    api.create_repo(
        repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=space_sdk if kind == "space" else None
    )
    return True


def _patiently(ask: Callable[[], Answer], where: str) -> Answer:
    """What `ask` answers, asked again where that may help: the Hub is busy, down or out of reach for a moment.

    An answer that was cut off may have been to a commit that stands: asking again finds nothing to change.
    """
    for pause in (*PAUSES, None):
        try:
            return ask()
        except UserError:
            raise
        except Exception as error:
            told = refused(error, where)
            wait = max(pause or 0.0, _asked_to_wait(error))
            if pause is None or lasting(error) or wait > LONGEST_WAIT:
                raise told from None
            logger.info("%s; again in %g s", told, wait)
            time.sleep(wait)
    raise AssertionError


def _asked_to_wait(error: Exception) -> float:
    """Seconds of a Retry-After header."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0

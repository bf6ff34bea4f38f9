"""Pushes a folder to a repository of the Hub, and finds paths of this machine in what is to be
published.
"""

import contextlib
import dataclasses
import fnmatch
import html
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ..utils.cache import format_size
from ..utils.errors import UserError, one_line

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset", "space"]
SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN to a token with the rights for it"


@dataclasses.dataclass(frozen=True)
class Pushed:
    """Result of a push: `commit` is the repository's newest, with the whole folder; `changed` if
    the push made it.
    """

    repo_id: str
    url: str
    commit: str
    changed: bool


def resolve_repo_id(repo_id: str, token: str | None = None, key: str = "--repo") -> str:
    """Complete the id of a repository, and check that the token may write.

    Args:
        repo_id: USER/NAME, or NAME for the signed-in user.
        token: for the Hub; None for the stored one.
        key: names the option in errors.

    Returns:
        USER/NAME.

    Raises:
        UserError: without a token, with one that may only read, or for an invalid id.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    with hub_errors(f"{key}: {repo_id}"):
        validate_repo_id(repo_id)
        user = HfApi(token=token).whoami()
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(f"{key}: {repo_id}: the signed-in token has no write access; {SIGN_IN}")
    return repo_id if "/" in repo_id else f"{user['name']}/{repo_id}"


def push(
    folder: Path,
    repo_id: str,
    *,
    kind: Kind = "model",
    private: bool = False,
    message: str,
    owned: Sequence[str] = (),
    token: str | None = None,
) -> Pushed:
    """Make a repository contain the files of `folder`; a missing repository is created.

    The push is one commit, and none if nothing changed; `upload_folder` would make several of a
    large folder. After a failure the same call continues: large files that have arrived are not
    sent again.

    Args:
        private: of a repository that is created; an existing one stays as it is.
        owned: patterns of files that such pushes write, and delete if `folder` lacks them; other
            files stay.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    url = f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"

    size = format_size(sum(path.stat().st_size for path in files.values()))
    logger.info("pushing %d files, %s, to %s", len(files), size, url)
    with hub_errors(repo_id):
        if not api.repo_exists(repo_id, repo_type=kind):
            sdk = "gradio" if kind == "space" else None
            api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)
        info = api.repo_info(repo_id, repo_type=kind)
        absent = [file.rfilename for file in info.siblings or () if file.rfilename not in files]
        gone = [
            name for name in absent if any(fnmatch.fnmatchcase(name, pattern) for pattern in owned)
        ]
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            for name, path in files.items()
        ]
        operations += [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]
        done = api.create_commit(
            repo_id, operations, commit_message=message, repo_type=kind, parent_commit=info.sha
        )
    if done.oid == info.sha:
        logger.info("%s is up to date: no commit", url)
    return Pushed(repo_id, url, done.oid, done.oid != info.sha)


@contextlib.contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Turn errors of `huggingface_hub` about the repository `where` into a `UserError` with a
    remedy.
    """
    import httpx2
    from huggingface_hub import errors

    refusals = {
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set; unset it to use the Hub",
        errors.LocalEntryNotFoundError: "not downloaded before, and the Hub cannot be reached",
        errors.GatedRepoError: f"gated: request access on its page of the Hub, then {SIGN_IN}",
        errors.LocalTokenNotFoundError: f"nobody is signed in; {SIGN_IN}",
        errors.HFValidationError: "not a valid name of a repository: USER/NAME, of letters, digits, -, _ and .",
        errors.RevisionNotFoundError: "no such branch, tag or commit",
        errors.RepositoryNotFoundError: f"no such folder here; not on the Hub, or private: {SIGN_IN}",
    }
    statuses = {
        401: f"the Hub refuses the token; {SIGN_IN}",
        403: "the Hub forbids it; the token needs the right to write there, or name a repository of yours",
        **dict.fromkeys((409, 412), "somebody else changed it meanwhile; repeat the command"),
        429: "too many requests to the Hub; repeat the command later",
    }
    try:
        yield
    except (*refusals, httpx2.HTTPError, errors.HfHubHTTPError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        what = next(
            (text for kind, text in refusals.items() if isinstance(error, kind)),
            statuses.get(status),
        )
        if isinstance(error.__cause__, errors.BadRequestError):  # of the Hub's validation of a card
            what = f"the Hub refuses its README.md: {one_line(error.__cause__.server_message or error)}"
        elif what is None and isinstance(error, ValueError):
            raise
        elif what is None and status is not None and status < 500:
            what = f"the Hub refuses it (HTTP {status}): {one_line(getattr(error, 'server_message', None) or error)}"
        elif what is None:
            cause = f"HTTP {status}" if status else one_line(error)
            what = f"the Hub fails ({cause}); it keeps what has arrived, and the same command continues"
        raise UserError(f"{where}: {what}") from None


TEXTS = (".html", ".json", ".md", ".csv", ".svg", ".txt", ".yaml", ".py")


def machine_paths(*given: str | Path | None, recipe: Mapping[str, Any] | None = None) -> list[str]:
    """Absolute paths of the home and working folders, of `given` and of those in a recipe, the
    longest first.
    """
    named = [os.path.expanduser("~"), Path.cwd(), *(place for place in given if place)]
    named += [
        text
        for key, text in _strings(recipe)
        if os.path.isabs(text) or key in ("root", "audio_root")
    ]
    found = {form for place in named for form in (os.path.abspath(place), os.path.realpath(place))}
    # A path of one letter would be found everywhere.
    return sorted(
        (place for place in found if len(place) > 2), key=lambda place: (-len(place), place)
    )


def without_paths(text: str, places: Sequence[str]) -> str:
    """Text with each place replaced by its last part: ``/home/me/data/RAVDESS/a.wav`` becomes
    ``RAVDESS/a.wav``.
    """
    for place in places:
        text = _pattern(place).sub(lambda _, name=Path(place).name: name, text)
    return text


def require_no_paths(folder: Path, places: Sequence[str]) -> None:
    """Refuse a folder with one of the places in any text file or column of text of a parquet file."""
    patterns = [_pattern(place) for place in places]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for text in _texts(path):
            if found := next(
                (match for pattern in patterns if (match := pattern.search(text))), None
            ):
                name = path.relative_to(folder).as_posix()
                raise UserError(
                    f"{name}: contains {found[0]}, a path of this machine, and is not published"
                )


def _texts(path: Path) -> Iterable[str]:
    """The text of a file; of a parquet file its text columns, and the names of its audio files."""
    if path.suffix in TEXTS:
        yield path.read_text(encoding="utf-8")
    elif path.suffix == ".parquet":
        for field in pq.read_schema(path):
            audio = pa.types.is_struct(field.type)
            if audio or pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                (column,) = pq.read_table(
                    path, columns=[f"{field.name}.path" if audio else field.name]
                ).columns
                yield "\n".join(value for value in column.to_pylist() if value)


def _pattern(place: str) -> re.Pattern[str]:
    """Match a path in text or HTML, but not as a part of a longer path."""
    forms = "|".join(sorted({re.escape(place), re.escape(html.escape(place))}))
    return re.compile(rf"(?<![\w.-])(?:{forms})(?![\w-])")


def _strings(value: Any, key: Any = None) -> Iterator[tuple[Any, str]]:
    """All texts in nested mappings and lists, each with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping | list | tuple):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _strings(item, name)

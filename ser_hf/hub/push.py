"""Pushes a folder to a repository of the Hub, and finds local paths in files to be published."""

import contextlib
import dataclasses
import fnmatch
import html
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ..utils.cache import format_size
from ..utils.errors import UserError, one_line

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset", "space"]
SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN to a token with the rights for it"


@dataclasses.dataclass(frozen=True)
class Pushed:
    """The result of a push.

    `commit` is the newest commit of the repository, which contains the whole folder. `changed` is
    true if this push made the commit.
    """

    repo_id: str
    url: str
    commit: str
    changed: bool


def resolve_repo_id(repo_id: str, token: str | None = None, key: str = "--repo") -> str:
    """Complete the id of a repository, and check that the token may write.

    Args:
        repo_id: USER/NAME, or NAME for the signed-in user.
        token: the access token for the Hub; None for the stored token.
        key: the name of the option in error messages.

    Returns:
        USER/NAME.

    Raises:
        UserError: if there is no token, the token may only read, or the id is invalid.
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
    space_sdk: Literal["gradio", "static"] = "gradio",
    private: bool = False,
    message: str,
    owned: Sequence[str] = (),
    token: str | None = None,
) -> Pushed:
    """Make a repository contain the files of `folder`; a missing repository is created.

    The push makes one commit, or no commit if nothing changed; `upload_folder` would make several
    commits for a large folder. After a failure the same call continues the push: large files that
    have arrived are not sent again.

    Args:
        space_sdk: the kind of a new Space.
        private: whether a new repository is private; an existing repository stays as it is.
        owned: patterns of the files that belong to pushes of this kind. The push deletes such files
            if `folder` does not contain them; other files stay.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    files = _files_below(folder)
    kind_path = "" if kind == "model" else f"{kind}s/"
    url = f"{api.endpoint}/{kind_path}{repo_id}"
    size = format_size(sum(path.stat().st_size for path in files.values()))
    logger.info("pushing %d files, %s, to %s", len(files), size, url)

    with hub_errors(repo_id):
        if not api.repo_exists(repo_id, repo_type=kind):
            require_valid_card(folder, repo_id, kind)
            sdk = space_sdk if kind == "space" else None
            api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)
        info = api.repo_info(repo_id, repo_type=kind)
        there = [file.rfilename for file in info.siblings or ()]
        commit = api.create_commit(
            repo_id,
            _operations(files, there, owned),
            commit_message=message,
            repo_type=kind,
            parent_commit=info.sha,
        )
    changed = commit.oid != info.sha
    if not changed:
        logger.info("%s is up to date: no commit", url)
    return Pushed(repo_id=repo_id, url=url, commit=commit.oid, changed=changed)


def require_valid_card(folder: Path, repo_id: str, kind: str = "model") -> None:
    """Let the Hub validate README.md, before a repository is created for it.

    Raises:
        UserError: if the Hub refuses the card, or cannot be reached.
    """
    from huggingface_hub import RepoCard

    path = folder / "README.md"
    if not path.is_file():
        return
    refusal = None
    with hub_errors(repo_id):
        try:
            RepoCard.load(path, repo_type=kind, ignore_metadata_errors=True).validate(kind)
        except ValueError as error:
            refusal = getattr(error.__context__, "server_message", None) or error
    if refusal is not None:
        raise UserError(f"{repo_id}: the Hub refuses its README.md: {one_line(refusal)}")


def _files_below(folder: Path) -> dict[str, Path]:
    """Return the files in a folder and its subfolders, by their names in the repository."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _operations(
    files: Mapping[str, Path], there: Iterable[str], owned: Sequence[str]
) -> "list[CommitOperationAdd | CommitOperationDelete]":
    """List the operations of a commit: add all files, delete outdated files of earlier pushes."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    for name, path in files.items():
        operations.append(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path))
    for name in there:
        of_a_push = any(fnmatch.fnmatchcase(name, pattern) for pattern in owned)
        if name not in files and of_a_push:
            operations.append(CommitOperationDelete(path_in_repo=name, is_folder=False))
    return operations


@contextlib.contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Turn errors of `huggingface_hub` into a `UserError` with a remedy.

    `where` is the repository.
    """
    import httpx2
    from huggingface_hub import errors

    reason_of_kind = {
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set; unset it to use the Hub",
        errors.LocalEntryNotFoundError: "not downloaded before, and the Hub cannot be reached",
        errors.GatedRepoError: f"gated: request access on its page of the Hub, then {SIGN_IN}",
        errors.LocalTokenNotFoundError: f"nobody is signed in; {SIGN_IN}",
        errors.HFValidationError: (
            "not a valid name of a repository: USER/NAME, of letters, digits, -, _ and ."
        ),
        errors.RevisionNotFoundError: "no such branch, tag or commit",
        errors.RepositoryNotFoundError: (
            f"no such folder here; not on the Hub, or private: {SIGN_IN}"
        ),
    }
    handled = (*reason_of_kind, httpx2.HTTPError, errors.HfHubHTTPError, OSError, ValueError)
    try:
        yield
    except handled as error:
        if isinstance(error.__cause__, errors.BadRequestError):  # the Hub refuses the card
            message = error.__cause__.server_message or error
            reason = f"the Hub refuses its README.md: {one_line(message)}"
            raise UserError(f"{where}: {reason}") from None
        for kind, reason in reason_of_kind.items():
            if isinstance(error, kind):
                raise UserError(f"{where}: {reason}") from None
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, ValueError) and status not in _REASON_OF_STATUS:
            raise
        raise UserError(f"{where}: {_reason_of_response(error, status)}") from None


_CHANGED_MEANWHILE = "somebody else changed it meanwhile; repeat the command"
_REASON_OF_STATUS = {
    401: f"the Hub refuses the token; {SIGN_IN}",
    403: (
        "the Hub forbids it; the token needs the right to write there, or name a repository of "
        "yours"
    ),
    409: _CHANGED_MEANWHILE,
    412: _CHANGED_MEANWHILE,
    429: "too many requests to the Hub; repeat the command later",
}


def _reason_of_response(error: Exception, status: int | None) -> str:
    """Explain an HTTP status; None if there was no response."""
    if status in _REASON_OF_STATUS:
        return _REASON_OF_STATUS[status]
    if status is not None and status < 500:
        message = getattr(error, "server_message", None) or error
        return f"the Hub refuses it (HTTP {status}): {one_line(message)}"
    cause = one_line(error) if status is None else f"HTTP {status}"
    return f"the Hub fails ({cause}); it keeps what has arrived, and the same command continues"


TEXTS = (".html", ".json", ".md", ".csv", ".svg", ".txt", ".yaml", ".py")


def machine_paths(*given: str | Path | None, recipe: Mapping[str, Any] | None = None) -> list[str]:
    """Collect local absolute paths, the longest first.

    They are the home folder, the working folder, the paths in `given`, and the paths in a recipe.
    """
    named = [os.path.expanduser("~"), Path.cwd()]
    named += [path for path in given if path]
    for key, value in _strings(recipe):
        if os.path.isabs(value) or key in ("root", "audio_root"):
            named.append(value)

    spellings = set()
    for path in named:
        spellings.add(os.path.abspath(path))
        spellings.add(os.path.realpath(path))
    # A path of one letter would be found everywhere.
    long_enough = [path for path in spellings if len(path) > 2]
    return sorted(long_enough, key=lambda path: (-len(path), path))


def without_paths(text: str, places: Sequence[str]) -> str:
    """Replace each place, a local path, in a text by the last part of the path.

    ``/home/me/data/RAVDESS/a.wav`` becomes ``RAVDESS/a.wav``.
    """
    for place in places:
        # Backslashes are escaped, because they have a special meaning in a replacement.
        last_part = Path(place).name.replace("\\", r"\\")
        text = _pattern(place).sub(last_part, text)
    return text


def require_no_paths(folder: Path, places: Sequence[str]) -> None:
    """Check that no text file, and no column of text of a parquet file, contains a local path.

    Raises:
        UserError: naming the file and the path in it.
    """
    patterns = [_pattern(place) for place in places]
    for name, path in _files_below(folder).items():
        for text in _texts(path):
            for pattern in patterns:
                match = pattern.search(text)
                if match:
                    raise UserError(
                        f"{name}: contains {match[0]}, a path of this machine, and is not published"
                    )


def _texts(path: Path) -> Iterable[str]:
    """Yield the text of a file.

    For a parquet file it is the text columns and the names of the audio files in it.
    """
    if path.suffix in TEXTS:
        yield path.read_text(encoding="utf-8")
    elif path.suffix == ".parquet":
        for field in pq.read_schema(path):
            if pa.types.is_struct(field.type):
                column_name = f"{field.name}.path"  # the column holds audio
            elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                column_name = field.name
            else:
                continue
            (column,) = pq.read_table(path, columns=[column_name]).columns
            yield "\n".join(value for value in column.to_pylist() if value)


def _pattern(place: str) -> re.Pattern[str]:
    """Return a pattern that matches a path in text or HTML, but not as a part of a longer path."""
    forms = "|".join(sorted({re.escape(place), re.escape(html.escape(place))}))
    return re.compile(rf"(?<![\w.-])(?:{forms})(?![\w-])")


def _strings(value: Any, key: Any = None) -> Iterator[tuple[Any, str]]:
    """Yield all texts in nested mappings and lists, each with the key that it belongs to."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, name)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _strings(item, number)

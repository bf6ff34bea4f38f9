"""Pushes a folder to a repository of the Hub, and finds paths of this machine in what is to be published."""

import dataclasses
import fnmatch
import html
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..utils.cache import format_size
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset", "space"]
Result = TypeVar("Result")
SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN to a token that may write"
# Seconds before a failed request is repeated; the client itself repeats uploads of large files.
PAUSES = (1.0, 5.0, 15.0)
LONGEST_WAIT = 60.0


@dataclasses.dataclass(frozen=True)
class Pushed:
    """Result of a push: `commit` is the newest of the repository and contains the whole folder; `changed` says whether
    the push made it."""

    repo_id: str
    kind: Kind
    url: str
    commit: str
    changed: bool


def resolve_repo_id(repo_id: str, token: str | None = None, key: str = "--repo") -> str:
    """USER/NAME of a repository; a NAME alone belongs to the user that is signed in.

    Raises:
        UserError: if nobody is signed in, the token may not write, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    where = f"{key}: {repo_id}"
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise user_error(error, where) from None
    user = _with_retries(lambda: HfApi(token=token).whoami(), where)
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(f"{where}: the token that is signed in may only read; {SIGN_IN}")
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
    """Makes a repository, created if absent, contain what `folder` contains.

    The push is one commit on top of the newest one, and no commit if nothing changed; `upload_folder` would split it
    into several. After a failure the same call continues: large files that have arrived are not sent again.

    Args:
        private: of a repository that is created; an existing one stays as it is.
        owned: patterns of files that such pushes write, and delete if `folder` does not contain them any more. Other
            files of the repository stay.

    Raises:
        UserError: if the Hub refuses it or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    url = f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"

    def create() -> None:
        if not api.repo_exists(repo_id, repo_type=kind):
            sdk = "gradio" if kind == "space" else None
            api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)

    def commit() -> tuple[str, str]:
        info = api.repo_info(repo_id, repo_type=kind)
        absent = [file.rfilename for file in info.siblings or () if file.rfilename not in files]
        gone = [name for name in absent if any(fnmatch.fnmatchcase(name, pattern) for pattern in owned)]
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
        operations += [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]
        done = api.create_commit(repo_id, operations, commit_message=message, repo_type=kind, parent_commit=info.sha)
        return info.sha, done.oid

    _with_retries(create, repo_id)
    size = format_size(sum(path.stat().st_size for path in files.values()))
    logger.info("pushing %d files, %s, to %s", len(files), size, url)
    before, after = _with_retries(commit, repo_id)
    if before == after:
        logger.info("%s is up to date: no commit", url)
    return Pushed(repo_id, kind, url, after, before != after)


def _with_retries(request: Callable[[], Result], where: str) -> Result:
    """The result of `request`, repeated after failures of the Hub or the network that may pass.

    A commit whose response was lost may exist: repeating it finds nothing to change.
    """
    for pause in (*PAUSES, None):
        try:
            return request()
        except Exception as error:
            message = user_error(error, where)
            response = getattr(error, "response", None)
            status = getattr(response, "status_code", None)
            given = getattr(response, "headers", {}).get("Retry-After", "")
            wait = max(pause or 0.0, float(given) if given.isdecimal() else 0.0)
            lasting = isinstance(error, _lasting()) or (status is not None and status < 500 and status != 429)
            if pause is None or lasting or wait > LONGEST_WAIT:
                raise message from None
            logger.info("%s; next attempt in %g s", message, wait)
            time.sleep(wait)
    raise AssertionError


def _lasting() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors

    return errors.OfflineModeIsEnabled, errors.LocalTokenNotFoundError, ValueError


def user_error(error: Exception, where: str) -> UserError:
    """What a user can do about an error that `huggingface_hub` raised for the repository `where`; raises other errors
    again."""
    import httpx2
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    reply = _one_line(getattr(error, "server_message", None) or "")
    reply = f": {reply}" if reply else ""
    if isinstance(error, errors.OfflineModeIsEnabled):
        what = "HF_HUB_OFFLINE is set; unset it to publish"
    elif isinstance(error, errors.LocalTokenNotFoundError):
        what = f"nobody is signed in; {SIGN_IN}"
    elif isinstance(error.__cause__, errors.BadRequestError):  # of the Hub's validation of a card
        what = f"the Hub refuses its README.md: {_one_line(error.__cause__.server_message or error)}"
    elif isinstance(error, errors.HFValidationError):
        what = "not a valid repository name: USER/NAME, of letters, digits, -, _ and ."
    elif isinstance(error, errors.RepositoryNotFoundError):  # also the reply for private repositories
        what = f"not on the Hub, or not visible with this token; check the name, or {SIGN_IN}"
    elif status == 401:
        what = f"the Hub refuses the token; {SIGN_IN}"
    elif status == 403:
        what = (
            f"the Hub forbids it{reply}; the token needs the right to write there (a fine-grained one for each "
            "namespace), or name a repository of yours"
        )
    elif status in (409, 412):
        what = f"somebody else changed it meanwhile{reply}; repeat the command"
    elif status == 429:
        what = f"too many requests to the Hub{reply}; repeat the command later"
    elif status is not None and status < 500:
        what = f"the Hub refuses it (HTTP {status}){reply}"
    elif status is not None or isinstance(error, httpx2.HTTPError | errors.HfHubHTTPError | OSError):
        cause = f"HTTP {status}" if status else _one_line(error) or type(error).__name__
        what = f"the Hub did not take it ({cause}); it keeps what has arrived, and the same command continues"
    else:
        raise error
    return UserError(f"{where}: {what}")


def _one_line(text: object) -> str:
    """A server's text without line breaks and control characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return " ".join(printable.split())[:300]


TEXTS = (".html", ".json", ".md", ".csv", ".svg", ".txt", ".yaml", ".py")


def machine_paths(*given: str | Path | None, recipe: Mapping[str, Any] | None = None) -> list[str]:
    """Absolute forms, with and without links resolved, of the home folder, the working folder, the given paths, and
    the paths in a recipe; the longest first."""
    named = [Path.home(), Path.cwd(), *(place for place in given if place)]
    named += [text for text in _strings(recipe) if os.path.isabs(text)]
    corpus = (recipe or {}).get("corpus") or {}
    named += [
        one[key] for one in (corpus, *(corpus.get("corpora") or ())) for key in ("root", "audio_root") if one.get(key)
    ]
    found = {form for place in named for form in (os.path.abspath(place), os.path.realpath(place))}
    # A path of one letter would be found everywhere.
    return sorted((place for place in found if len(place) > 2), key=lambda place: (-len(place), place))


def without_paths(text: str, places: Sequence[str]) -> str:
    """Text with each place replaced by its last part: ``/home/me/data/RAVDESS/a.wav`` becomes ``RAVDESS/a.wav``."""
    for place in places:
        text = _pattern(place).sub(lambda _, name=Path(place).name: name, text)
    return text


def require_no_paths(folder: Path, places: Sequence[str]) -> None:
    """Refuses a folder with one of the places in any text file or column of text of a parquet file.

    Raises:
        UserError: naming the file and the path.
    """
    patterns = [_pattern(place) for place in places]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for text in _texts(path):
            if found := next((match for pattern in patterns if (match := pattern.search(text))), None):
                name = path.relative_to(folder).as_posix()
                raise UserError(f"{name}: contains {found[0]}, a path of this machine, and is not published")


def _texts(path: Path) -> Iterable[str]:
    """The text of a file; of a table each column of text, and of its audio the file names."""
    if path.suffix in TEXTS:
        yield path.read_text(encoding="utf-8")
    elif path.suffix == ".parquet":
        for field in pq.read_schema(path):
            audio = pa.types.is_struct(field.type)
            if audio or pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                (column,) = pq.read_table(path, columns=[f"{field.name}.path" if audio else field.name]).columns
                yield "\n".join(value for value in column.to_pylist() if value)


def _pattern(place: str) -> re.Pattern[str]:
    """Matches the place in text or HTML, but no longer name that begins or ends like it."""
    forms = "|".join(sorted({re.escape(place), re.escape(html.escape(place))}))
    return re.compile(rf"(?<![\w.-])(?:{forms})(?![\w-])")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(item)

"""A folder into a repository of the Hub: as one commit, gone on with after a failure, none where nothing changed."""

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

SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN to a token that may write"


def refused(error: Exception, where: str) -> UserError:
    """The user's version of what `huggingface_hub` raised about the repository `where`."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return UserError(f"{where}: HF_HUB_OFFLINE is set; unset it to publish")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return UserError(f"{where}: nobody is signed in; {SIGN_IN}")
    if isinstance(error.__cause__, errors.BadRequestError):  # the Hub's own look at a card
        return UserError(f"{where}: the Hub refuses its README.md: {_line(error.__cause__.server_message or error)}")
    if isinstance(error, errors.HFValidationError):
        return UserError(f"{where}: no name that a repository can have: USER/NAME, of letters, digits, -, _ and .")
    status = getattr(getattr(error, "response", None), "status_code", None)
    # The Hub answers 401 for what is private, too.
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(f"{where}: not on the Hub, or not for this token to see; check the name, or {SIGN_IN}")
    if status == 401:
        return UserError(f"{where}: the Hub refuses the token; {SIGN_IN}")
    if status == 403:
        return UserError(
            f"{where}: the Hub forbids it{_said(error)}; the token needs the right to write there (a fine-grained one "
            "has it for each namespace by itself), or name a repository of yours"
        )
    if status in (409, 412):
        return UserError(f"{where}: changed by somebody else meanwhile{_said(error)}; the same command tries again")
    if status == 429:
        return UserError(f"{where}: the Hub has had too many requests{_said(error)}; the same command goes on later")
    if status is not None and status < 500:
        return UserError(f"{where}: the Hub refuses it (HTTP {status}){_said(error)}")
    if status is not None or isinstance(error, httpx2.HTTPError | errors.HfHubHTTPError | OSError):
        what = f"HTTP {status}" if status else _line(error) or type(error).__name__
        return UserError(
            f"{where}: the Hub did not take it ({what}); what has arrived is kept there, the same command goes on"
        )
    raise error


def lasting(error: Exception) -> bool:
    """Whether asking once more is of no use."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    known = errors.OfflineModeIsEnabled, errors.LocalTokenNotFoundError, ValueError
    return isinstance(error, known) or (status is not None and status < 500 and status != 429)


def _said(error: Exception) -> str:
    message = getattr(error, "server_message", None)
    return f": {_line(message)}" if message else ""


def _line(text: object) -> str:
    """In one line, nothing in it that a terminal obeys, and no longer than somebody reads."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text).replace(os.linesep, " "))
    return " ".join(printable.split())[:300]


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

    logger.info("%s: %d files, %s, to %s", "pushing", len(paths), format_size(size), url)
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


TEXTS = (".html", ".json", ".md", ".csv", ".svg", ".txt", ".yaml", ".py")


def machine_paths(*given: str | Path | None, recipe: Mapping[str, Any] | None = None) -> list[str]:
    """The home folder, the working folder, those that are given, and those that a recipe names, absolute, the longest
    first; each as it is written and as it is where a link leads."""
    named = [Path.home(), Path.cwd(), *(place for place in given if place)]
    named += [word for word in _words(recipe or {}) if Path(word).is_absolute()]
    if recipe:
        items = [recipe.get("corpus") or {}, *((recipe.get("corpus") or {}).get("corpora") or ())]
        named += [item[key] for item in items for key in ("root", "audio_root") if item.get(key)]
    found = {form for place in named for form in (os.path.abspath(place), os.path.realpath(place))}
    # A path of one letter or none would be found everywhere.
    return sorted((place for place in found if len(place) > 2), key=lambda place: (-len(place), place))


def without_paths(text: str, places: Sequence[str]) -> str:
    """The text with each of the places named by its last part alone: ``/home/me/data/RAVDESS/a.wav`` becomes
    ``RAVDESS/a.wav``."""
    for place in places:
        text = _grammar(place).sub(lambda _, name=Path(place).name: name, text)
    return text


def require_no_paths(folder: Path, places: Sequence[str]) -> None:
    """Refuses a folder of which any file holds one of the places, tables of parquet in any column of words too.

    Raises:
        UserError: naming the file and the path.
    """
    grammars = [_grammar(place) for place in places]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for text in _texts(path):
            found = next((match for grammar in grammars if (match := grammar.search(text))), None)
            if found:
                name = path.relative_to(folder).as_posix()
                raise UserError(f"{name}: holds {found[0]}, a path of this machine, and is not published so")


def _texts(path: Path) -> Iterable[str]:
    if path.suffix == ".parquet":
        return _cells(path)
    return [path.read_text(encoding="utf-8")] if path.suffix in TEXTS else []


def _cells(path: Path) -> Iterator[str]:
    """The words in a table, and of its audio the names of files."""
    table = pq.ParquetFile(path)
    wanted = [
        name
        for name, kind in zip(_leaves(table), table.schema_arrow.types, strict=True)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_struct(kind)
    ]
    for batch in table.iter_batches(columns=wanted) if wanted else ():
        for column in batch.columns:
            column = column.field("path") if pa.types.is_struct(column.type) else column
            yield "\n".join(value for value in column.to_pylist() if value)


def _leaves(table: pq.ParquetFile) -> list[str]:
    """The columns; of audio the names alone, as nobody needs to read hours of it for them."""
    return [f"{field.name}.path" if pa.types.is_struct(field.type) else field.name for field in table.schema_arrow]


def _grammar(place: str) -> re.Pattern[str]:
    """The place as text or HTML has it, and nothing that only begins or ends like it."""
    forms = "|".join(sorted({re.escape(place), re.escape(html.escape(place))}))
    return re.compile(rf"(?<![\w.-])(?:{forms})(?![\w-])")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)

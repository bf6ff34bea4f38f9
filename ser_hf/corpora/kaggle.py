"""Download of datasets of Kaggle with the package kagglehub, which is an optional dependency."""

import contextlib
import importlib.util
import sys
from http import HTTPStatus
from pathlib import Path

import requests

from ..utils.errors import UserError, machine_fault, one_line
from .connection import SourceError

_LOGIN = "log in with kagglehub.login(), or set KAGGLE_API_TOKEN"


def require_kagglehub() -> None:
    """Raise a UserError if kagglehub is not installed."""
    if importlib.util.find_spec("kagglehub") is None:
        raise UserError('--source kaggle: kagglehub is not installed: pip install "ser_hf[kaggle]"')


def kaggle_folder(handle: str) -> Path:
    """Download a dataset into the cache of kagglehub, and return its folder.

    A dataset that is in the cache is not downloaded again.

    Args:
        handle: the owner and the name of the dataset, such as ``ejlok1/cremad``.

    Raises:
        SourceError: if Kaggle cannot be reached, or if it refuses the download.
    """
    # kagglehub prints to the standard output, which is JSON with --json.
    with contextlib.redirect_stdout(sys.stderr):
        import kagglehub

        try:
            return Path(kagglehub.dataset_download(handle))
        except Exception as error:
            # kagglehub raises exceptions of its own, of requests, of zipfile and of the system.
            if isinstance(error, OSError) and machine_fault(error):
                raise
            raise SourceError(f"{handle}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The message of an error of kagglehub in one line, with advice if a login is missing."""
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return f"Kaggle cannot be reached: {one_line(_first_cause(error))}"
    message = one_line(error) or type(error).__name__
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    is_login_error = type(error).__name__ in ("UnauthenticatedError", "CredentialError")
    if is_login_error or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{message}; {_LOGIN}"
    return message


def _first_cause(error: BaseException) -> BaseException:
    """The error that an error of requests wraps: its message is short."""
    while error.__context__ is not None:
        error = error.__context__
    return error

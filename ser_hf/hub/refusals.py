"""What the Hub refuses, in one line that says what to do. No line holds a token: the client keeps them in headers."""

import os

from ..errors import UserError

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

"""The error for mistakes of the user, and one line for faults of the machine."""

import errno
import os
import re
import unicodedata

MOST = 300  # characters of a message


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy
    (exit code 2).

    Example: `raise ser_hf.UserError("corpus.root: data/RAVDESS is not a folder")`
    """

    def __init__(self, message: object):
        super().__init__(one_line(message))


_REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there, or name another folder"
    ),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM), "change its rights, or name another folder"
    ),
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_SYSTEM_CODE = re.compile(r"\(os error (\d+)\)")  # of libraries written in Rust
_MEMORY = re.compile(r"out of memory|allocate memory|not enough memory|bad_alloc", re.IGNORECASE)


def printable(text: str) -> str:
    """Text in one line, with spaces for control, direction and other invisible characters, and for
    surrogates.
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else " " for c in text)


def one_line(text: object) -> str:
    """At most `MOST` printable characters of a message; the middle is left out, not the key or the
    remedy.
    """
    message = str(text)
    if len(message) > 4 * MOST:
        message = f"{message[: 2 * MOST]} {message[-2 * MOST :]}"
    message = " ".join(printable(message).split()) or type(text).__name__
    if len(message) <= MOST:
        return message
    # Between words, unless one fills the space.
    head = message[: MOST * 3 // 5]
    tail = message[-MOST // 3 :]
    return f"{head.rpartition(' ')[0] or head} ... {tail.partition(' ')[2] or tail}"


def machine_fault(error: BaseException) -> str | None:
    """One line if the machine is the cause: a file or its disk, too little memory, or a process
    that was killed.
    """
    text = one_line(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(text)):
        return f"out of memory ({text}); use smaller batches or shorter clips"
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return f"{text}; if for lack of memory, lower training.dataloader_num_workers"
    found = _SYSTEM_CODE.search(text)
    path = getattr(error, "filename", None)
    code = int(found[1]) if found else getattr(error, "errno", None)
    if not isinstance(code, int) or (path is None and code not in _REMEDIES):
        return None
    place = "" if path is None else f"{path if isinstance(path, int) else os.fsdecode(path)}: "
    return "; ".join([place + os.strerror(code), *filter(None, [_REMEDIES.get(code)])])

"""The error for mistakes of the user, and messages of one line for faults of the machine."""

import errno
import os
import re
import unicodedata
from collections.abc import Sequence

MOST = 300  # characters of a message
_MOST_OF_REMEDY = 200  # characters of a remedy that is never cut
_MOST_OF_WHOLE = 1_000_000  # characters of the whole message that are kept


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder.

    Its message is one line that names the file or key and the remedy. Commands end with its
    `exit_code`.

    Example: `raise ser_hf.UserError("corpus.root: data/RAVDESS is not a folder")`

    Args:
        message: what is wrong. It begins with the key or the file.
        items: what the message is about, such as all clips concerned. The line has the first ones
            and the number of all.
        remedy: what to do; it ends the line and is never cut. Without it the remedy is the part
            of the message after the last semicolon.

    Attributes:
        whole: the whole message with all items, one below the other, if the line lacks a part of
            it; otherwise None.
    """

    exit_code = 2

    def __init__(self, message: object, *, items: Sequence[str] = (), remedy: str = ""):
        super().__init__(_with_items(str(message), items, remedy) if items else one_line(message))
        self.whole: str | None = None
        if items:
            if any(item not in str(self) for item in items):
                lines = [f"{message}:", *items, remedy]
                self.whole = "\n".join(printable(line) for line in lines)[:_MOST_OF_WHOLE]
        elif len(str(message)) > MOST:
            self.whole = printable(str(message)[:_MOST_OF_WHOLE])


_MAKE_ROOM = "make room there, or name another folder"
_CHANGE_RIGHTS = "change its rights, or name another folder"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EROFS: _CHANGE_RIGHTS,
    errno.EACCES: _CHANGE_RIGHTS,
    errno.EPERM: _CHANGE_RIGHTS,
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_SYSTEM_CODE = re.compile(r"\(os error (\d+)\)")  # in messages of libraries written in Rust
_MEMORY = re.compile(r"out of memory|allocate memory|not enough memory|bad_alloc", re.IGNORECASE)


def printable(text: str) -> str:
    """The text with a space in place of each character that cannot be shown.

    These are line breaks, control and direction characters, other invisible ones, and surrogates.
    """
    if text.isprintable():  # most texts are, and may be long
        return text
    return "".join(character if _is_visible(character) else " " for character in text)


def _is_visible(character: str) -> bool:
    """Whether a character can be shown, or is a space of any width."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def one_line(text: object) -> str:
    """At most `MOST` printable characters of a message, in one line.

    The middle of a longer message is left out: it begins with the key and ends with the remedy,
    which is the part after the last semicolon.
    """
    message = str(text)
    if len(message) > 4 * MOST:
        message = f"{message[: 2 * MOST]} {message[-2 * MOST :]}"
    message = " ".join(printable(message).split()) or type(text).__name__
    if len(message) <= MOST:
        return message

    remedy = len(message) - message.rfind("; ")
    kept = remedy if MOST // 3 < remedy <= _MOST_OF_REMEDY else MOST // 3
    tail = message[-kept:]
    if kept != remedy:
        # The cuts are between words, unless one word fills the whole space.
        tail = tail.partition(" ")[2] or tail
    head = message[: MOST * 14 // 15 - kept]
    head = head.rpartition(" ")[0] or head
    return f"{head} ... {tail.removeprefix('; ')}"


def _with_items(message: str, items: Sequence[str], remedy: str) -> str:
    """A line of `MOST` characters: a message, as many of its items as fit, and the remedy.

    Of the first item at least the beginning is part of it.
    """
    begin = one_line(f"{message}:")
    end = f"; {remedy}" if remedy else ""
    shown = [one_line(item) for item in items[:MOST]]
    while True:
        rest = ""
        if len(shown) < len(items):
            rest = f"; and {len(items) - len(shown):,} more, {len(items):,} in all"
        room = MOST - len(begin) - len(rest) - len(end) - 1
        listed = "; ".join(shown)
        if len(listed) <= room:
            return f"{begin} {listed}{rest}{end}"
        if len(shown) == 1:
            return f"{begin} {listed[: max(0, room - 4)]} ...{rest}{end}"
        shown.pop()


def machine_fault(error: BaseException) -> str | None:
    """One line with a remedy if the machine caused the error, or None.

    Such causes are a file or its disk, too little memory, and a worker process that was killed.
    """
    text = one_line(error)
    if isinstance(error, MemoryError):
        return _out_of_memory(text)
    if isinstance(error, RuntimeError):
        if _MEMORY.search(text):
            return _out_of_memory(text)
        if text.startswith("DataLoader worker"):
            return f"{text}; if for lack of memory, lower training.dataloader_num_workers"
    return _file_fault(error, text)


def _out_of_memory(text: str) -> str:
    return f"out of memory ({text}); use smaller batches or shorter clips"


def _file_fault(error: BaseException, text: str) -> str | None:
    """One line that names the file, the system's message and the remedy, or None.

    An error that names no file is a fault of the machine only if its code has a remedy here.
    """
    in_text = _SYSTEM_CODE.search(text)
    code = int(in_text[1]) if in_text else getattr(error, "errno", None)
    path = getattr(error, "filename", None)
    if not isinstance(code, int) or (path is None and code not in _REMEDIES):
        return None

    message = os.strerror(code)
    if path is not None:
        # A file may also be named by the number under which the process has opened it.
        name = path if isinstance(path, int) else os.fsdecode(path)
        message = f"{name}: {message}"
    if code in _REMEDIES:
        message = f"{message}; {_REMEDIES[code]}"
    return message

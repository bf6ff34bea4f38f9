"""The error for mistakes of the user, and one line for what fails on a machine."""

import errno
import os
import re


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy (exit code 2)."""


_ROOM, _RIGHTS = "make room there, or name another folder", "make it writable, or name another folder"
_IN_THE_WAY = "remove what is in the way, or name another folder"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV), "check the disk, then run the same command again"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EBUSY), _IN_THE_WAY),
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOENT: "it is missing, or another process has removed it",
    errno.ENOMEM: "use smaller batches or shorter clips, or close other programs",
}
_SYSTEM_CODE = re.compile(r"\(os error (\d+)\)")  # of libraries written in Rust
_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|bad_alloc|Cannot allocate", re.IGNORECASE)
_WORKER = "DataLoader worker"


def machine_fault(error: BaseException) -> str | None:
    """The fault and its remedy in one line if the machine is its cause: its disk, its memory, a killed process."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(text)):
        return f"out of memory ({text[:200] or 'no details'}); {_REMEDIES[errno.ENOMEM]}"
    if isinstance(error, RuntimeError) and text.startswith(_WORKER):
        return f"{text[:200]}; often for lack of memory: lower training.dataloader_num_workers"
    found = _SYSTEM_CODE.search(text)
    code = getattr(error, "errno", None) or (int(found[1]) if found else None)
    if code not in _REMEDIES:
        return None
    path = getattr(error, "filename", None)
    place = "" if path is None else f"{os.fsdecode(path) if isinstance(path, str | bytes) else path}: "
    return f"{place}{os.strerror(code)}; {_REMEDIES[code]}"

"""The process: machine, versions, git revision, kept memory, and log messages."""

import contextlib
import ctypes
import functools
import logging
import logging.handlers
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .errors import printable

PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "numpy",
    "scikit-learn",
    "soundfile",
    "soxr",
)

__version__ = version("ser_hf")
PACKAGE = logging.getLogger("ser_hf")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
# of glibc's malloc.h
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_MALLOC_SETTINGS = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
)


def environment() -> dict[str, Any]:
    """Versions, processor, accelerator, cores and processes of this run."""
    import torch

    return {
        "versions": {"python": platform.python_version(), "ser_hf": __version__}
        | {name: version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def usable_cores() -> int:
    """Cores that this process may use: by its affinity and by its control group's share of
    processor time.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        return min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return cores


def usable_memory() -> int:
    """Bytes of main memory that this process may use, by the machine and its control group, and of
    all GPUs.
    """
    import torch

    own = (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if hasattr(os, "sysconf")
        else sys.maxsize
    )
    with contextlib.suppress(OSError, ValueError):  # no such file, or no limit ("max")
        own = min(own, int(_MEMORY_LIMIT.read_text(encoding="ascii")))
    return own + sum(
        torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())
    )


@functools.cache
def git_revision() -> str | None:
    """Revision of the code, with `+changes` if it differs from the commit; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        # In a virtual environment inside another checkout, that repository is not ours.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            check=True,
            timeout=10,
        )
        found = subprocess.run(
            [*git, *describe], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Make glibc keep freed memory for the next training step, and return it to the system at the
    end.

    Without this the system maps and zeroes the memory again in every step: up to half of the
    training time on a CPU. Yields whether it is active; it is not with another C library or if the
    user has configured an allocator.
    """
    set_by_user = os.environ.get("LD_PRELOAD") or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if (
        platform.libc_ver()[0] != "glibc"
        or set_by_user
        or any(name in os.environ for name in _MALLOC_SETTINGS)
    ):
        yield False
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield True
    finally:
        return_freed_memory()


def return_freed_memory() -> None:
    """Return the memory that glibc keeps to the system, wherever it lies.

    Batches of many lengths leave gaps that later ones do not fit into: a process would grow by
    gigabytes.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class TerminalHandler(logging.Handler):
    """Prints to stderr above a progress bar; results go to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write("\n".join(map(printable, self.format(record).split("\n"))), file=sys.stderr)


@contextlib.contextmanager
def recorded() -> Iterator[Callable[[Path], None]]:
    """Yield a function that writes all log messages of the package to a file, earlier ones of this
    run included.

    The first messages of a run come before its folder is checked, so they wait in memory.
    """
    memory = logging.handlers.MemoryHandler(capacity=100_000, flushLevel=logging.CRITICAL + 1)
    level = PACKAGE.level
    PACKAGE.setLevel(min(level or logging.INFO, logging.INFO))
    PACKAGE.addHandler(memory)
    files: list[logging.FileHandler] = []

    def write_to(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        files.append(file)
        memory.setTarget(file)
        memory.flush()
        memory.capacity = 1  # every later message is written at once

    try:
        yield write_to
    finally:
        memory.flush()
        PACKAGE.removeHandler(memory)
        PACKAGE.setLevel(level)
        for file in files:
            file.close()


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide progress bars of the libraries, and Transformers' report of missing keys, which ser_hf
    checks itself.
    """
    import datasets
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    libraries = (datasets.utils.logging, transformers_logging)
    # an outer context hides them
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    transformers_logging.set_verbosity_error()
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for library in shown:
            library.enable_progress_bar()


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Compute in full float32 precision, without TF32, which cuDNN uses by default."""
    from torch import backends

    kinds = (backends, backends.cudnn.conv, backends.cudnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision

"""What a figure was measured on: machine, versions, git revision."""

import contextlib
import ctypes
import functools
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "ser_hf",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "numpy",
    "scikit-learn",
    "soundfile",
    "soxr",
)

try:
    __version__ = version("ser_hf")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def environment() -> dict[str, Any]:
    """Versions, processor, accelerator, cores and processes of this run."""
    import torch

    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def usable_cores() -> int:
    """Cores that this process may run on, which containers and taskset make fewer than the machine has: by its
    affinity, and by the share of processor time that its control group is given (Linux, version 2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        return min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return cores


@functools.cache
def git_revision() -> str | None:
    """Revision of the code itself as it was first asked for, with `+changes` where it differs from the commit; None
    outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        tracked = _git(here, "ls-files", Path(__file__).name)
        changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    # Installed into a virtual environment inside somebody else's checkout, that repository is not ours.
    if not tracked:
        return None
    return commit + ("+changes" if changes else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1

_OWN_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Has glibc's allocator keep what is freed, in place of handing it back to the system.

    A network on a CPU frees and takes tensors of many megabytes in every step. By default each of them is mapped anew
    and every page of it zeroed at the first touch, which can be half of what a convolutional network's training takes.
    What is kept is as much as the largest step needs, and somewhat more where steps differ in length; at the end it
    goes back to the system. What is freed later in the same process is kept too: glibc's own threshold, which it
    adjusts as it goes, cannot be had back.

    Yields whether it is so: not with another C library than glibc, nor where the user has set the allocator himself
    (``MALLOC_MMAP_MAX_`` and its like, ``GLIBC_TUNABLES``) or preloaded another one.
    """
    if not _glibc_decides():
        yield False
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield True
    finally:
        libc.malloc_trim(0)


def _glibc_decides() -> bool:
    own = os.environ.get("LD_PRELOAD") or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return platform.libc_ver()[0] == "glibc" and not own and not any(name in os.environ for name in _OWN_SETTINGS)

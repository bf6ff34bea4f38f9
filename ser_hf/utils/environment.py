"""The machine and this process: versions, cores, memory, log messages and numerical precision."""

import contextlib
import ctypes
import functools
import logging
import logging.handlers
import math
import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

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
_MEMORY = Path("/proc/meminfo")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
# The beginning of a warning of torch.
_MASKS = "Support for mismatched key_padding_mask and attn_mask is deprecated"
# Names and numbers of settings in glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_MALLOC_SETTINGS = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
)


def package_versions() -> dict[str, str]:
    """The versions of Python, of ser_hf and of the packages in `PACKAGES`, by name."""
    versions = {"python": platform.python_version(), "ser_hf": __version__}
    for name in PACKAGES:
        versions[name] = version(name)
    return versions


def usable_cores() -> int:
    """The number of cores that this process may use.

    The affinity of the process limits them, and the share of processor time that its control group
    has.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        share = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return cores
    return min(cores, max(1, share))


def usable_memory() -> int:
    """Bytes of memory that this process may use: main memory and that of all GPUs.

    The machine limits main memory, and so may the control group of the process.
    """
    import torch

    gpu_memory = 0
    for i in range(torch.cuda.device_count()):
        gpu_memory += torch.cuda.get_device_properties(i).total_memory
    return _main_memory() + gpu_memory


def free_memory() -> int:
    """Bytes of main memory that no process uses; all of it where the system does not say."""
    memory = _main_memory()
    with contextlib.suppress(OSError, ValueError):
        for line in _MEMORY.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                memory = min(memory, 1024 * int(line.split()[1]))
    return memory


def _main_memory() -> int:
    """Bytes of main memory of the machine, within the limit of the process's control group."""
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        memory = sys.maxsize
    with contextlib.suppress(OSError, ValueError):  # no such file, or no limit ("max")
        memory = min(memory, int(_MEMORY_LIMIT.read_text(encoding="ascii")))
    return memory


def resident_memory() -> int:
    """Bytes of main memory that this process holds, without mapped files; 0 if not on Linux."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


@functools.cache
def git_revision() -> str | None:
    """The git revision of this code, or None outside a checkout.

    It ends with `+changes` if files differ from the commit.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        # A virtual environment may be inside the checkout of another project: its revision is not
        # that of this code.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            check=True,
            timeout=10,
        )
        revision = subprocess.run(
            [*git, *describe], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip()


def processor_name() -> str:
    """The name of the processor, as Linux or Python gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Let glibc keep freed memory for the next training step, and return it at the end.

    Without this the system maps and zeroes the memory again in every step: up to half of the
    training time on a CPU. Yields whether it is active; it is not with another C library or if the
    user has configured an allocator.
    """
    if platform.libc_ver()[0] != "glibc" or _allocator_is_configured():
        yield False
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield True
    finally:
        return_freed_memory()


def _allocator_is_configured() -> bool:
    """Whether the user has chosen an allocator, or settings of glibc's."""
    if os.environ.get("LD_PRELOAD"):
        return True
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return True
    return any(name in os.environ for name in _MALLOC_SETTINGS)


def return_freed_memory() -> None:
    """Return all memory that glibc keeps, but no longer uses, to the system.

    Batches of many lengths leave gaps that later batches do not fit into: without this, a process
    would grow by gigabytes.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class MemoryLimit:
    """Returns freed memory to the system when gaps have made a process a quarter larger.

    Freed memory is kept for the next batch (see `freed_memory_kept`). Batches of many lengths leave
    gaps that later batches do not fit into, so the process would grow with each batch: the training
    of a wav2vec2 with 4 layers of 256 grew to 7 GB.
    """

    GROWTH = 1.25

    def __init__(self):
        self._expected = 0
        self._is_first = True

    def check(self) -> None:
        """Compare the memory of the process with that after its first batch; call between batches.

        After memory has been returned, the next batch counts as the first one.
        """
        resident = resident_memory()
        if self._is_first:
            self._expected = max(self._expected, resident)
            self._is_first = False
        elif resident > self.GROWTH * self._expected:
            return_freed_memory()
            self._is_first = True


class TerminalHandler(logging.Handler):
    """Prints to stderr above a progress bar; results go to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        lines = self.format(record).split("\n")
        tqdm.write("\n".join(map(printable, lines)), file=sys.stderr)


class NotebookHandler(logging.Handler):
    """Prints below the cell of a notebook."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


@contextlib.contextmanager
def shown_in_notebook() -> Iterator[None]:
    """Print the messages of the package in a notebook, such as a line for each epoch.

    It has no effect elsewhere, or if the user has set up logging.
    """
    if "ipykernel" not in sys.modules or PACKAGE.hasHandlers():
        yield
        return
    handler = NotebookHandler(logging.INFO)
    level = PACKAGE.level
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        yield
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(level)


@contextlib.contextmanager
def quieter_terminal(warned: set[str]) -> Iterator[None]:
    """Print warnings only, and each kind of warning once; log files still receive everything.

    Args:
        warned: the warnings that were printed, without their numbers; new ones are added.
    """

    def is_new_warning(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        kind = re.sub(r"[\d.]+", "", record.getMessage())
        is_new = kind not in warned
        warned.add(kind)
        return is_new

    handlers = [handler for handler in PACKAGE.handlers if isinstance(handler, TerminalHandler)]
    for handler in handlers:
        handler.addFilter(is_new_warning)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_new_warning)


@contextlib.contextmanager
def recorded() -> Iterator[Callable[[Path], None]]:
    """Yield a function that writes all log messages of the package to a file.

    It also writes the messages since the beginning of the context. The first messages of a run come
    before its folder is checked, so they wait in memory.
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
        memory.capacity = 1  # each later message is written immediately

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
    """Hide the progress bars of datasets and Transformers, and Transformers' warnings.

    Transformers reports missing keys of weights, which ser_hf checks itself. Its WavLM gives torch
    two masks of different types, of which torch warns.
    """
    import datasets
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    libraries = (datasets.utils.logging, transformers_logging)
    # Bars that an outer context hides stay hidden at the end of this one.
    with_bars = [library for library in libraries if library.is_progress_bar_enabled()]
    transformers_logging.set_verbosity_error()
    for library in with_bars:
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_MASKS, category=UserWarning)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for library in with_bars:
            library.enable_progress_bar()


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Compute in full float32 precision, without TF32, which cuDNN uses by default."""
    from torch import backends

    settings = (backends, backends.cudnn.conv, backends.cudnn.rnn)
    precisions = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, precision in zip(settings, precisions, strict=True):
            setting.fp32_precision = precision

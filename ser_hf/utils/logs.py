"""Log messages on the terminal, between progress bars, and in a run's logs/run.log."""

import logging
import logging.handlers
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = logging.getLogger("ser_hf")


class TerminalHandler(logging.Handler):
    """Prints to stderr above a progress bar; results go to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def recorded() -> Iterator[Callable[[Path], None]]:
    """Yields a function that writes every message of the package to a file, those since the start included.

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


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hides the libraries' progress bars for columns, shards and weights, and Transformers' report of missing keys,
    which is checked wherever a model is loaded."""
    import datasets
    from transformers.utils import logging as transformers_logging

    bars, verbosity = datasets.utils.logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
        if bars:
            datasets.enable_progress_bars()

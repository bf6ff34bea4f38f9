"""What a run says, on the terminal between progress bars and in its folder's logs/run.log."""

import logging
import logging.handlers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = logging.getLogger("ser_hf")


class TerminalHandler(logging.Handler):
    """Prints above a progress bar in place of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record))


@contextmanager
def recorded() -> Iterator[Callable[[Path], None]]:
    """Keeps every message of the package; the function it yields names the file that all of them go to.

    A run's first messages come before its folder is known to be free, so they wait in memory.
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
        memory.capacity = 1  # from here on every message is written at once

    try:
        yield write_to
    finally:
        memory.flush()
        PACKAGE.removeHandler(memory)
        PACKAGE.setLevel(level)
        for file in files:
            file.close()

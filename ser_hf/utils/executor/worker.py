"""The process of one task on this machine.

Its task comes from the standard input, its outcome goes to the standard output.
"""

import _thread
import os
import pickle
import signal
import sys
import threading
import time

# Seconds from the interruption of a task until this process ends.
_PATIENCE = 10


def main() -> None:
    """Read a task, run it, and write its outcome. Ends when the standard input is closed."""
    outcome_stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the task prints goes to its log
    with os.fdopen(os.dup(0), "rb") as task_stream:
        try:
            task = pickle.load(task_stream)
        except EOFError:
            sys.exit(130)
    # A process of a script in the background inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    from .task import run_task

    try:
        outcome = run_task(task)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    with outcome_stream:
        pickle.dump(outcome, outcome_stream)


def _end_with_parent() -> None:
    """Interrupt the task when the parent closes the standard input or dies."""
    while os.read(0, 4096):
        pass
    _thread.interrupt_main()
    time.sleep(_PATIENCE)
    os._exit(130)

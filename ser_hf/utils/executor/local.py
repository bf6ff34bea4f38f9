"""Tasks in processes of this machine, each with its threads and its GPU.

A pool of threads starts one Python process for each task. The pools of processes in Python and in
joblib end all tasks when one process is killed, for example because memory ran out. A process gets
its task from its standard input, and ends when that is closed: at Ctrl-C, and when this process
dies.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..errors import one_line
from .jobs import python_path, without_launcher
from .task import Outcome, Task

_WORKER = "from ser_hf.utils.executor.worker import main; main()"
# Seconds in which interrupted tasks may end; then they are killed.
_PATIENCE = 20


class LocalProcesses:
    """Runs `count` tasks at a time.

    Args:
        threads: OMP_NUM_THREADS of each process.
        gpus: names for CUDA_VISIBLE_DEVICES; the tasks are distributed over them equally.
    """

    def __init__(self, count: int, threads: int, gpus: Sequence[str] = ()):
        self.count = count
        self.threads = threads
        self.gpus = list(gpus)
        self._lock = threading.Lock()
        self._is_ended = False
        self._processes: set[subprocess.Popen] = set()

    @property
    def description(self) -> str:
        """For a log line: how many tasks run at a time, and what each gets."""
        gpus = f", on {len(self.gpus)} GPU(s)" if self.gpus else ""
        return f"{self.count} at a time, {self.threads} thread(s) each{gpus}"

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each task when it ends. Closing the iterator ends all tasks."""
        self._is_ended = False
        gpu_of_slot: queue.SimpleQueue[str] = queue.SimpleQueue()
        for slot in range(self.count):
            gpu_of_slot.put(self.gpus[slot % len(self.gpus)] if self.gpus else "")
        with ThreadPoolExecutor(self.count) as pool:
            try:
                futures = [pool.submit(self._run, task, gpu_of_slot) for task in tasks]
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self._end()

    def _run(self, task: Task, gpu_of_slot: "queue.SimpleQueue[str]") -> Outcome:
        """Run a task in a new process, on a GPU of a free slot."""
        gpu = gpu_of_slot.get()
        try:
            return self._run_on(task, gpu)
        finally:
            gpu_of_slot.put(gpu)

    def _run_on(self, task: Task, gpu: str) -> Outcome:
        environment = without_launcher(os.environ)
        environment["OMP_NUM_THREADS"] = str(self.threads)
        environment["CUDA_VISIBLE_DEVICES"] = gpu
        environment["PYTHONPATH"] = python_path()
        try:
            content = pickle.dumps(task)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            message = f"cannot be sent to another process ({one_line(error)})"
            return Outcome(task.name, task.log, error=message)
        log = task.folder / task.log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output, self._lock:
            if self._is_ended:
                return Outcome(task.name, task.log, error="interrupted")
            # In its own process group a task does not receive Ctrl-C, so that it is interrupted
            # once, by the end of its input.
            process = subprocess.Popen(
                [sys.executable, "-c", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment,
                process_group=0 if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            self._processes.add(process)
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(content)
                process.stdin.flush()
            result = process.stdout.read()
            process.wait()
        finally:
            with self._lock:
                self._processes.discard(process)
            _close(process)
        if result:
            return pickle.loads(result)
        return Outcome(task.name, task.log, error=_reason(process.returncode))

    def _end(self) -> None:
        """End the processes that still run: interrupt them, and kill them if they do not end."""
        with self._lock:
            self._is_ended = True
            processes = list(self._processes)
        for process in processes:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for process in processes:
            try:
                process.wait(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _close(process: subprocess.Popen) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()


def _reason(code: int) -> str:
    """Why a process ended without an outcome."""
    if code == -signal.SIGTERM or code == 130:
        return "its process was interrupted"
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}, perhaps because memory ran out"
    return f"its process ended with exit code {code}"

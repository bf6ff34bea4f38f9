"""A process with one thread that imports slow libraries once, for ten seconds, and forks for each
piece of code.

A fork of the tests' own process, which has threads, may deadlock.
"""

import atexit
import contextlib
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

# Libraries start threads when they are imported: OpenBLAS, and the allocator in pyarrow.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
ONE_THREAD |= {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
LOOP = """
import json, os, signal, sys, threading

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
exec(json.loads(sys.stdin.readline()), {})
for line in sys.stdin:
    request = json.loads(line)
    if "pid" in request:
        reply = os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1])
    else:
        tasks = "/proc/self/task"
        assert (len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()) == 1
        reply = os.fork()
        if reply == 0:
            signal.alarm(900)
            for number, path in enumerate((os.devnull, request["out"], request["err"])):
                flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
                os.dup2(os.open(path, flags), number)
            os.environ |= request["environment"]
            sys.argv = ["-c", *request["arguments"]]
            status = 1
            try:
                exec(compile(request["code"], "<test>", "exec"), {"__name__": "__main__"})
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(status)
    print(reply, file=replies, flush=True)
"""
OURS = (
    "import ser_hf.audio.build_store, ser_hf.cli, ser_hf.corpora.download, "
    "ser_hf.inference.predict, "
    "ser_hf.sweeps"
)
CALL = """
import pickle, sys
sys.path[:] = {path!r}
function, arguments = pickle.loads({call!r})
function(*arguments)
"""


class Child:
    """A forked process. `ended` waits for it and returns its exit code, standard output and
    standard error.
    """

    def __init__(self, send, pid, out, err):
        self._send = send
        self.pid = pid
        self._paths = (out, err)

    def ended(self):
        code = self._send({"pid": self.pid})
        out, err = (path.read_text(encoding="utf-8") for path in self._paths)
        return code, out, err


@contextmanager
def warm_process(imports, environment, folder):
    """Yield a function that runs code, with arguments and environment variables, in a fork of a
    process that ran `imports`. The outputs of the forks are in `folder`."""
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env=os.environ | ONE_THREAD | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    children = []

    def write(message):
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()

    def send(request):
        write(request)
        return int(process.stdout.readline())

    def start(code, *arguments, **more):
        out, err = (folder / f"{len(children)}.{name}" for name in ("out", "err"))
        request = {
            "code": code,
            "arguments": arguments,
            "environment": more,
            "out": str(out),
            "err": str(err),
        }
        children.append(Child(send, send(request), out, err))
        return children[-1]

    try:
        write(imports)
        yield start
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@functools.cache
def shared_process(imports, **environment):
    """The function of a `warm_process` that all tests of a worker share."""
    folder = Path(tempfile.mkdtemp(prefix="ser_hf-process-"))
    ended = contextlib.ExitStack()
    atexit.register(ended.close)
    ended.callback(shutil.rmtree, folder)
    return ended.enter_context(
        warm_process(imports, {"HF_HOME": str(folder / "hf"), **environment}, folder / "out")
    )


def started(function, *arguments):
    """A `Child` that calls a module's function in a process that has imported ser_hf."""
    call = pickle.dumps((function, arguments))
    return shared_process(OURS)(CALL.format(path=sys.path, call=call))

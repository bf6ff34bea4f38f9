"""A process that imports slow libraries once, for ten seconds, and forks for each piece of code."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

LOOP = """
import json, os, sys

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
exec(json.loads(sys.stdin.readline()), {})
for line in sys.stdin:
    request = json.loads(line)
    if "pid" in request:
        reply = os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1])
    else:
        reply = os.fork()
        if reply == 0:
            for number, path in enumerate((os.devnull, request["out"], request["err"])):
                os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
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


class Child:
    """A forked process. `ended` waits for it and returns its exit code, standard output and standard error."""

    def __init__(self, send, pid, out, err):
        self._send, self.pid, self._paths = send, pid, (out, err)

    def ended(self):
        code = self._send({"pid": self.pid})
        out, err = (path.read_text(encoding="utf-8") for path in self._paths)
        return code, out, err


@contextmanager
def warm_process(imports, environment, folder):
    """Yield a function that runs code, with arguments and environment variables, in a fork of a process that ran
    `imports`. The outputs of the forks are in `folder`."""
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env=os.environ | environment,
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
        request = {"code": code, "arguments": arguments, "environment": more, "out": str(out), "err": str(err)}
        children.append(Child(send, send(request), out, err))
        return children[-1]

    try:
        write(imports)
        yield start
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()

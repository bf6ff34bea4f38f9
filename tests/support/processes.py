"""A process that imports slow libraries once and forks for each piece of code: a new process for each would import for
ten seconds."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

LOOP = """
import json, os, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
exec(json.loads(sys.stdin.readline()), {})
for line in sys.stdin:
    asked = json.loads(line)
    if "pid" in asked:
        said = os.waitstatus_to_exitcode(os.waitpid(asked["pid"], 0)[1])
    else:
        said = os.fork()
        if said == 0:
            for number, path in enumerate((os.devnull, asked["out"], asked["err"])):
                os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
            os.environ |= asked["environment"]
            sys.argv = ["-c", *asked["arguments"]]
            status = 1
            try:
                exec(compile(asked["code"], "<test>", "exec"), {"__name__": "__main__"})
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(status)
    print(said, file=answers, flush=True)
"""


class Child:
    """A forked process. `ended` waits for it and returns its exit code, standard output and standard error."""

    def __init__(self, ask, pid, out, err):
        self._ask, self.pid, self._paths = ask, pid, (out, err)

    def ended(self):
        code = self._ask({"pid": self.pid})
        out, err = (path.read_text(encoding="utf-8") for path in self._paths)
        return code, out, err


@contextmanager
def warm_process(imports, environment, folder):
    """Yields a function that runs code, with arguments and environment variables, in a fork of a process that ran
    `imports`. The output of the forks goes to `folder`."""
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    children = []

    def tell(said):
        process.stdin.write(json.dumps(said) + "\n")
        process.stdin.flush()

    def ask(asked):
        tell(asked)
        return int(process.stdout.readline())

    def start(code, *arguments, **more):
        out, err = (folder / f"{len(children)}.{name}" for name in ("out", "err"))
        asked = {"code": code, "arguments": arguments, "environment": more, "out": str(out), "err": str(err)}
        children.append(Child(ask, ask(asked), out, err))
        return children[-1]

    try:
        tell(imports)
        yield start
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()

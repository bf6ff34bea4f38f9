"""The unmodified huggingface_hub in a process of its own, which is started once and given code to run."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from textwrap import dedent

# What code prints must not get between the answers.
LOOP = """
import ast, json, os, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
known = {}
exec("from huggingface_hub import *\\nfrom huggingface_hub.errors import *\\napi = HfApi()", known)
for line in sys.stdin:
    *statements, last = ast.parse(json.loads(line)).body
    try:
        exec(compile(ast.Module(statements, []), "<test>", "exec"), known)
        said = {"value": eval(compile(ast.Expression(last.value), "<test>", "eval"), known)}
    except Exception as error:
        said = {"error": [type(error).__name__, str(error)]}
    print(json.dumps(said, default=str), file=answers, flush=True)
"""


class Failed(Exception):
    """What the code raised: the name of the exception's class and its text."""


@contextmanager
def client_of(hub, home):
    """A function that runs code, in which `api` is an HfApi, and returns the value of its last line."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env={**os.environ, **hub.environment(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(code):
        process.stdin.write(json.dumps(dedent(code)) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        if "error" in said:
            raise Failed(": ".join(said["error"]))
        return said["value"]

    try:
        yield run
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()

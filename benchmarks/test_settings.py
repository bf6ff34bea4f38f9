"""The tests pass with any kernels, any number of threads and on a busy machine.

    python benchmarks/test_settings.py [--settings avx2-sse41-4 busy-1] [pytest's arguments]

Runs pytest (default: the whole suite) in each setting, and appends each run to
benchmarks/results/test_settings.json. Runs of this revision that are already in the file are not
repeated, so that an interrupted measurement continues. Nine settings combine three sets of torch's
kernels, three of oneDNN's instructions and three numbers of threads: each value is in three of
them, each pair of values in one. Three more have busy processes beside the tests. The variables are
inherited by the processes that a test starts. A run longer than --limit seconds is stopped and
counts as failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from pathlib import Path

from ser_hf.utils.environment import processor_name

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "test_settings.json"
KERNELS = ("default", "avx2", "avx512")
INSTRUCTIONS = ("SSE41", "AVX2", "AVX512_CORE")
THREADS = ("1", "2", "4")
SETTINGS = {
    f"{kernels}-{instructions.lower()}-{threads}": {
        "ATEN_CPU_CAPABILITY": kernels,
        "ONEDNN_MAX_CPU_ISA": instructions,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    for row, kernels in enumerate(KERNELS)
    for column, instructions in enumerate(INSTRUCTIONS)
    for threads in [THREADS[(row + column) % 3]]
}
SETTINGS |= {f"busy-{repeat}": {} for repeat in (1, 2, 3)}
BUSY = 3
SHOWN = ("setting", "passed", "skipped", "seconds", "failed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument(
        "--limit", type=float, default=4 * 3600.0, help="seconds of one run, at most"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, arguments = parser.parse_known_args()
    revision = tested_revision()
    runs = json.loads(options.results.read_text()) if options.results.exists() else []
    done = [(run["setting"], run["revision"], run["arguments"]) for run in runs]
    for setting in options.settings:
        if (setting, revision, arguments) in done:
            continue
        with busy(BUSY if setting.startswith("busy") else 0):
            result = run_tests(SETTINGS[setting], arguments, options.limit)
        run = {"setting": setting, "revision": revision, "arguments": arguments} | result
        runs.append(run | {"processor": processor_name(), "cores": os.cpu_count()})
        partial = options.results.with_suffix(".part")
        partial.write_text(json.dumps(runs, indent=1) + "\n")
        partial.replace(options.results)
        print(json.dumps({name: run[name] for name in SHOWN}), flush=True)
    sys.exit(any(run["failed"] for run in runs if run["revision"] == revision))


def tested_revision() -> str:
    """Return the last commit that changed code or tests, with `+changes` if they differ from it."""
    code = ["--", "ser_hf", "tests"]
    commit = subprocess.check_output(
        ["git", "log", "-1", "--format=%h", "--abbrev=12", *code], cwd=ROOT, text=True
    )
    unchanged = subprocess.run(["git", "diff", "--quiet", "HEAD", *code], cwd=ROOT).returncode == 0
    revision = commit.strip()
    return revision if unchanged else f"{revision}+changes"


def run_tests(changes: dict[str, str], arguments: list[str], limit: float) -> dict:
    """Run pytest once; count its tests and name those that failed."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "tests.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--junit-xml={table}",
            "-o",
            "junit_family=xunit1",
        ]
        process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=os.environ | changes, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        cases = list(ET.parse(table).iter("testcase")) if table.exists() else []
    failed = [
        f"{case.get('file')}::{case.get('name')}" for case in cases if _is(case, "failure", "error")
    ]
    skipped = sum(_is(case, "skipped") for case in cases)
    if code and not failed:
        failed = [f"pytest ended with exit code {code}"]
    return {
        "passed": len(cases) - len(failed) - skipped if cases else 0,
        "skipped": skipped,
        "failed": sorted(set(failed)),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _is(case: ET.Element, *outcomes: str) -> bool:
    return any(case.find(outcome) is not None for outcome in outcomes)


@contextmanager
def busy(count: int):
    """Keep as many processes computing while the block runs."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()

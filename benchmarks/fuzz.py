"""Audio files, tables, recipes and folders damaged at random, for as long as you like: how many are
read, how many are refused in one line, and every fault.

    python benchmarks/fuzz.py --minutes 60 --seed 0 [--only audio tables] python benchmarks/fuzz.py
    --only audio --seed 123 --examples 1    # repeats one example, with its traceback

A fault is any exception but a `UserError`, a message of several lines or more than 300 characters,
an example that takes more than 60 s or a gigabyte, or a process that dies. An example depends on
its generator and seed alone. Counts are added to those of the same revision and first seed in
benchmarks/results/fuzz.json; seeds continue where these end.
"""

import argparse
import contextlib
import datetime
import faulthandler
import itertools
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
# of one example
SECONDS = 60
BYTES = 2**30
ADDRESSES = 2**34  # of a process
SLICE = 90.0  # seconds of one generator before the next has its turn
FIXTURES = ROOT / "tests" / "contracts" / "fixtures" / "folders.tar.xz"
One = Callable[[int, Path], object]


def audio() -> One:
    from support import fuzz_inputs

    return lambda seed, folder: fuzz_inputs.one_audio(random.Random(seed), folder)


def tables() -> One:
    from support import fuzz_inputs

    return lambda seed, folder: fuzz_inputs.one_table(random.Random(seed), folder)


def known_tables() -> One:
    from support import table_variations

    return lambda seed, folder: table_variations.one_known_table(random.Random(seed), folder)


def recipes() -> One:
    from support import fuzz_recipes

    return lambda seed, folder: fuzz_recipes.one(random.Random(seed))


def folders() -> One:
    from support import fuzz_folders

    originals = Path(tempfile.mkdtemp())
    with tarfile.open(FIXTURES) as archive:
        archive.extractall(originals, filter="data")
    model = originals / "models" / "crnn"
    run = originals / "runs" / "single"
    return lambda seed, folder: fuzz_folders.attack(model, run, folder / "scratch", seed)


def datasets() -> One:
    from support import fuzz_strangers

    return lambda seed, folder: fuzz_strangers.one_dataset(random.Random(seed), folder)


def databases() -> One:
    from support import fuzz_strangers

    return lambda seed, folder: fuzz_strangers.one_database(random.Random(seed), folder)


GENERATORS = {
    "audio": audio,
    "tables": tables,
    "known_tables": known_tables,
    "recipes": recipes,
    "folders": folders,
    "datasets": datasets,
    "databases": databases,
}


def work(name: str, seed: int, seconds: float, examples: int) -> None:
    """Try examples, and print a line of JSON for each: seed, outcome, and details of a fault."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no reply
    sys.path.insert(0, str(ROOT / "tests"))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    try_example = GENERATORS[name]()
    end = time.monotonic() + seconds
    for number in range(seed, seed + examples):
        if time.monotonic() > end:
            break
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcome = "accepted"
        details = []
        try:
            with tempfile.TemporaryDirectory() as folder:
                if try_example(number, Path(folder)):
                    outcome = "refused"
            taken = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            assert taken < BYTES or number == seed, f"{taken / 1e9:.1f} GB of memory"
        except Exception as error:
            frames = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if f"{ROOT}/" in frame.filename
            ]
            file = Path(frames[-1].filename).relative_to(ROOT)
            line = f"{file}:{frames[-1].lineno}"
            notes = [note[:400] for note in getattr(error, "__notes__", [])]
            outcome = "fault"
            details = [f"{type(error).__name__} in {line}", str(error)[:300], *notes]
            if examples == 1:
                traceback.print_exc()
        faulthandler.cancel_dump_traceback_later()
        replies.write(f"{json.dumps([number, outcome, details])}\n")


def turn(name: str, seed: int, seconds: float, examples: int) -> list[list]:
    """The outcomes of a process that tries examples of one generator.

    If the process dies, its last example is a fault.
    """
    command = [
        sys.executable,
        __file__,
        "--worker",
        name,
        "--seed",
        str(seed),
        "--examples",
        str(examples),
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory() as cache:
        environment |= {"SER_HF_CACHE": cache, "HF_HOME": cache, "TMPDIR": cache}
        done = subprocess.run(
            [*command, "--minutes", str(seconds / 60)],
            capture_output=True,
            env=environment,
            check=False,
        )
    outcomes = [json.loads(line) for line in done.stdout.decode().splitlines()]
    if examples == 1:
        sys.stderr.buffer.write(done.stderr)
    if done.returncode:
        last = outcomes[-1][0] + 1 if outcomes else seed
        trace = (
            done.stderr.decode(errors="replace")
            .replace(f"{ROOT}/", "")
            .replace(f"{sys.prefix}/", "")
        )
        outcomes.append([last, "fault", [f"exit code {done.returncode}", trace[-900:]]])
    return outcomes


def run_of(runs: list[dict], machine: dict, seed: int) -> dict:
    """The recorded run with this revision and seed, or a new one, which is added to `runs`."""
    revision = machine["git_revision"]
    for run in runs:
        if run["revision"] == revision and run["seed"] == seed:
            return run
    run = {
        "revision": revision,
        "seed": seed,
        "minutes": 0.0,
        "date": datetime.date.today().isoformat(),
        "generators": {},
        "machine": machine,
    }
    runs.append(run)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of all generators together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--examples", type=int, default=10**9, help="of a turn of a generator at most"
    )
    parser.add_argument("--only", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--worker", choices=GENERATORS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return work(given.worker, given.seed, 60 * given.minutes, given.examples)
    from ser_hf.experiment.sections import environment_section

    machine = environment_section().to_dict()
    runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.exists() else []
    run = run_of(runs, machine, given.seed)
    end = time.monotonic() + 60 * given.minutes
    for name in itertools.cycle(given.only):
        began = time.monotonic()
        counts = run["generators"].setdefault(
            name, {"examples": 0, "accepted": 0, "refused": 0, "faults": {}}
        )
        seconds = min(SLICE, max(end - began, 1))
        first = given.seed + (counts["examples"] if given.examples > 1 else 0)
        for seed, outcome, details in turn(name, first, seconds, given.examples):
            counts["examples"] += 1
            if outcome != "fault":
                counts[outcome] += 1
                continue
            kind, *rest = details
            fault = counts["faults"].setdefault(kind, {"count": 0, "seed": seed, "details": rest})
            fault["count"] += 1
        run["minutes"] = round(run["minutes"] + (time.monotonic() - began) / 60, 2)
        shown = [counts[key] for key in ("examples", "accepted", "refused")]
        print(
            f"{name}: {shown[0]} examples, {shown[1]} accepted, {shown[2]} refused",
            *counts["faults"],
            sep="\n    ",
        )
        if given.examples == 1:  # an example that is repeated is no part of a run
            return None
        RESULTS.write_text(
            json.dumps({"runs": runs}, indent=1, ensure_ascii=True) + "\n", encoding="utf-8"
        )
        if time.monotonic() >= end:
            break
    return None


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

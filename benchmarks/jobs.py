"""Time folds side by side, and check that their figures are those of one after another.

    OMP_NUM_THREADS=1 python benchmarks/jobs.py folds --corpus-root data/RAVDESS --runs runs/jobs
    OMP_NUM_THREADS=1 python benchmarks/jobs.py ray --runs runs/jobs

`folds` trains the six EmoBox folds of RAVDESS with recipes/ravdess_emobox.yaml, without its foil
and with few epochs: in one process without --jobs, and with --jobs 1 and --jobs 2. The store is
built before. It writes the wall time of each, and whether reports, predictions and weights are
equal.

`ray` trains a small network on the built-in corpus, four folds and six seeds, so 24 tasks: with
--jobs 2, and with --jobs ray on a cluster of this machine, of which one worker gets a SIGKILL while
it trains. It writes whether all 24 tasks are complete and their figures equal.

A run that is complete is not run again; its wall time is in the results. Rows are merged into
benchmarks/results/jobs.json.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ser_hf.experiment.sections import environment_section

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "jobs.json"
# Sections of a report that differ between two equal runs.
_TIMES = ("seconds", "environment", "created", "output_dir")
SMALL = {
    "name": "small",
    "corpus": {"name": "synthetic", "speakers": 8, "takes": 2},
    "protocol": {"name": "kfold", "k": 4, "validation": 0.3, "seed": 1},
    "audio": {"max_duration": 0.6},
    "model": {
        "architecture": "crnn",
        "channels": [8],
        "time_pooling": [8],
        "band_pooling": [8],
        "lstm_hidden": 8,
    },
    "training": {"num_train_epochs": 3, "seeds": [1, 2, 3, 4, 5, 6]},
    "evaluation": {"bootstrap": 50, "map": None},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["folds", "ray"])
    parser.add_argument("--corpus-root", type=Path, help="RAVDESS, for folds")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of folds")
    parser.add_argument(
        "--set",
        dest="overrides",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="further overrides, to try it",
    )
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    results = {}
    if options.results.is_file():
        results = json.loads(options.results.read_text(encoding="utf-8"))

    if options.part == "folds":
        results["folds"] = time_folds(options, results.get("folds", {}))
    else:
        results["ray"] = run_on_ray(options.runs, options.overrides, results.get("ray", {}))
    results["environment"] = environment_section().model_dump(mode="json")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def time_folds(options: argparse.Namespace, saved: dict[str, Any]) -> dict[str, Any]:
    """Run the folds in three ways; return their wall times, and whether they are equal."""
    if options.corpus_root is None:
        sys.exit("--corpus-root: missing; the folder of RAVDESS")
    words = [
        str(ROOT / "recipes" / "ravdess_emobox.yaml"),
        f"corpus.root={options.corpus_root.absolute()}",
        "protocol.foil=null",
        f"training.num_train_epochs={options.epochs}",
        *options.overrides,
    ]
    run_command([*words, f"output_dir={options.runs / 'store'}", "--dry-run"])
    ways = {"one process": [], "--jobs 1": ["--jobs", "1"], "--jobs 2": ["--jobs", "2"]}
    rows = []
    folders = []
    seconds_before = {row["way"]: row["seconds"] for row in saved.get("rows", [])}
    for way, jobs in ways.items():
        folder = options.runs / f"folds-{way.replace(' ', '-').strip('-')}"
        folders.append(folder)
        seconds = timed_run([*words, *jobs], folder, seconds_before.get(way))
        rows.append({"way": way, "seconds": seconds})
        print(f"{way}: {seconds:.0f} s", flush=True)
    digests = [digests_of(folder) for folder in folders]
    return {
        "epochs": options.epochs,
        "overrides": options.overrides,
        "trainings": len(digests[0]) - 1,
        "rows": rows,
        "ratio": rows[1]["seconds"] / rows[2]["seconds"],
        "equal": all(digest == digests[0] for digest in digests),
    }


def run_on_ray(runs: Path, overrides: Sequence[str], saved: dict[str, Any]) -> dict[str, Any]:
    """Run 24 tasks in local processes and on Ray, where a worker is killed; compare them."""
    recipe = runs / "small.yaml"
    recipe.write_text(json.dumps(SMALL), encoding="utf-8")
    words = [str(recipe), *overrides]
    local = runs / "small-local"
    on_ray = runs / "small-ray"
    local_seconds = timed_run([*words, "--jobs", "2"], local, saved.get("local_seconds"))
    killed: list[str] = saved.get("killed", [])

    def kill_first_worker() -> None:
        if not killed:
            killed.extend(kill_worker(on_ray))

    ray_seconds = timed_run(
        [*words, "--jobs", "ray", "--cpus-per-job", "1"],
        on_ray,
        saved.get("ray_seconds"),
        kill_first_worker,
    )
    digests = digests_of(on_ray)
    whole_runs = {os.path.dirname(path) for path in digests} | {"."}
    return {
        "tasks": len(digests.keys() - whole_runs),
        "killed": killed,
        "local_seconds": local_seconds,
        "ray_seconds": ray_seconds,
        "equal": digests == digests_of(local),
    }


def kill_worker(folder: Path) -> list[str]:
    """Kill the worker of a task that has written a checkpoint; return the task's name."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        name = title.removeprefix("ray::")
        if title.startswith("ray::fold-") and any((folder / name / "checkpoints").glob("*")):
            os.kill(int(process.name), signal.SIGKILL)
            print(f"killed the worker of {name}", flush=True)
            return [name]
    return []


def timed_run(
    words: Sequence[str],
    folder: Path,
    seconds_before: float | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> float:
    """Run a recipe in a folder, unless it is complete; return its wall time in seconds."""
    if seconds_before is not None and (folder / "report" / "report.json").is_file():
        return seconds_before
    began = time.perf_counter()
    run_command([*words, f"output_dir={folder}", "--overwrite"], meanwhile)
    return time.perf_counter() - began


def run_command(words: Sequence[str], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run `ser-hf train` with these words; `meanwhile` is called twice a second."""
    command = [sys.executable, "-m", "ser_hf.train", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        meanwhile()
        time.sleep(0.5)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")


def digests_of(folder: Path) -> dict[str, str]:
    """A digest of the report, predictions and weights of each run in a folder, by its path."""
    digests = {}
    for path in sorted(folder.rglob("report/report.json")):
        run = path.parents[1]
        if run.name == "model":
            continue
        report = without_times(json.loads(path.read_text(encoding="utf-8")))
        table = pq.read_table(path.with_name("predictions.parquet"))
        content = hashlib.sha256(json.dumps(report, sort_keys=True).encode())
        content.update(json.dumps(table.to_pylist(), default=str).encode())
        content.update((run / "model" / "model.safetensors").read_bytes())
        digests[run.relative_to(folder).as_posix()] = content.hexdigest()
    return digests


def without_times(value: Any) -> Any:
    """A report without wall times and the machine's description, at any depth."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown."""
    lines = []
    folds = results.get("folds")
    if folds is not None:
        lines += ["| six EmoBox folds | wall time |", "|---|---|"]
        lines += [f"| {row['way']} | {row['seconds']:.0f} s |" for row in folds["rows"]]
        equal = "equal" if folds["equal"] else "NOT equal"
        lines.append(
            f"\n--jobs 2 is {folds['ratio']:.2f} times as fast as --jobs 1; reports, predictions "
            f"and weights are {equal}."
        )
    on_ray = results.get("ray")
    if on_ray is not None:
        equal = "equal" if on_ray["equal"] else "NOT equal"
        lines.append(
            f"\n{on_ray['tasks']} tasks on Ray in {on_ray['ray_seconds']:.0f} s (two local "
            f"processes: {on_ray['local_seconds']:.0f} s); the worker of "
            f"{', '.join(on_ray['killed']) or 'no task'} was killed; reports, predictions and "
            f"weights are {equal}."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

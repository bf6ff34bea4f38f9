"""Check that a sweep on real speech that is killed within a trial is resumed by the same command.

    OMP_NUM_THREADS=1 python benchmarks/sweep.py --corpus-root DIR/RAVDESS [--trials 8] [--kill-at
    3] [--folder DIR]

Runs `ser-hf sweep` with a small version of recipes/ravdess_crnn.yaml (a tenth of its channels, 8
epochs, one seed) over learning rate, dropout and label smoothing, with TPE and a median pruner. The
process gets a SIGKILL after the second epoch of trial `--kill-at`. The same command then resumes
the sweep, and is called a third time after its end. Writes benchmarks/results/sweep.json: the
states at the kill, the trials of each call, all trials, and the validation and test figures of the
best recipe.
"""

import argparse
import csv
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ser_hf.experiment.sections import environment_section
from ser_hf.utils.yaml import dump_yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "sweep.json"
RECIPE = "recipes/ravdess_crnn.yaml"
CHANGES = [
    *("model.channels=[8, 16, 16]", "model.time_pooling=[2, 2, 2]", "model.band_pooling=[4, 2, 2]"),
    *(
        "model.hop_length=320",
        "model.lstm_hidden=32",
        "training.num_train_epochs=8",
        "training.seeds=[1]",
    ),
    *("evaluation.bootstrap=500", "audio.max_duration=2.0"),
]
SPACE = {
    "search": "tpe",
    "trials": 8,
    "pruner": {"kind": "median", "startup_trials": 3, "warmup_epochs": 2},
    "space": {
        "training.learning_rate": {"low": 5e-4, "high": 1e-2, "log": True},
        "model.dropout": [0.0, 0.2, 0.4],
        "training.loss.label_smoothing": {"low": 0.0, "high": 0.2, "step": 0.1},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=SPACE["trials"])
    parser.add_argument("--kill-at", type=int, default=3, help="number of the trial that is killed")
    parser.add_argument(
        "--folder", type=Path, help="folder of the sweep (default: a temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = options.folder or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        space = base / "space.yaml"
        folder = base / "sweep"
        if folder.exists():
            sys.exit(f"{folder} exists; choose another --folder")
        space.write_text(dump_yaml({**SPACE, "trials": options.trials}), encoding="utf-8")
        command = [
            sys.executable,
            "-c",
            "import sys, ser_hf.cli; sys.exit(ser_hf.cli.main())",
            "sweep",
            RECIPE,
            str(space),
            *CHANGES,
        ]
        command += [f"corpus.root={options.corpus_root.resolve()}", "--output", str(folder)]
        calls = [run_and_kill(command, folder, base / "1.log", options.kill_at)]
        calls += [run_to_end(command, base / f"{number}.log") for number in (2, 3)]
        result = {
            "recipe": [RECIPE, *CHANGES],
            "space": {**SPACE, "trials": options.trials},
            "calls": calls,
            "checks": checks(calls, options),
            "trials": table(folder),
            "best": best_figures(folder),
            "environment": environment_section().to_dict(),
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["checks"], indent=1))
    if not all(result["checks"].values()):
        sys.exit("a check of the sweep failed")


def run_and_kill(command: list[str], folder: Path, log: Path, number: int) -> dict:
    """Run the sweep, kill it after the second epoch of a trial, and return the states of its
    trials.
    """
    began = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        while epochs(folder / "trials" / str(number)) < 2:
            if process.poll() is not None:
                sys.exit(
                    f"the sweep ended before trial {number}'s second epoch, exit code "
                    f"{process.returncode}: {log}"
                )
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    states = {row["trial"]: row["state"] for row in table(folder)}
    return read_log(log, began) | {"killed in trial": number, "states": states}


def epochs(run: Path) -> float:
    """Return the epoch of the last checkpoint of a run."""
    reached = [0.0]
    for state in run.glob("checkpoints/checkpoint-*/trainer_state.json"):
        try:
            reached.append(json.loads(state.read_text())["epoch"])
        except (OSError, ValueError):  # being written, or deleted
            continue
    return max(reached)


def run_to_end(command: list[str], log: Path) -> dict:
    began = time.perf_counter()
    with log.open("w") as file:
        code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
    return read_log(log, began) | {"exit code": code}


def read_log(log: Path, began: float) -> dict:
    """Read from the log of a call which trials it started and which it resumed."""
    text = log.read_text(encoding="utf-8")
    trials = re.findall(r"^trial (\d+)( continues)?: ", text, re.MULTILINE)
    return {
        "seconds": time.perf_counter() - began,
        "started": [int(number) for number, resumed in trials if not resumed],
        "resumed": [int(number) for number, resumed in trials if resumed],
        "best recipe run": "running the best recipe, of trial" in text,
    }


def checks(calls: list[dict], options: argparse.Namespace) -> dict[str, bool]:
    first, second, third = calls
    # numbers have a gap, as the retry of a killed trial takes one
    started = first["started"] + second["started"]
    return {
        "the killed trial was resumed": second["resumed"] == [options.kill_at],
        "every trial was started once": len(started) == len({*started}) == options.trials,
        "the test split was scored once": [call["best recipe run"] for call in calls]
        == [False, True, False],
        "a third call had nothing to do": not third["started"] and not third["resumed"],
        "no call failed": second["exit code"] == third["exit code"] == 0,
    }


def table(folder: Path) -> list[dict]:
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def best_figures(folder: Path) -> dict:
    """Return the validation and test figures of the best recipe."""
    report = json.loads((folder / "best" / "report" / "report.json").read_text(encoding="utf-8"))
    return {
        "validation": report["parts"]["validation"],
        "test": report["metrics"],
        "intervals": report["intervals"],
    }


if __name__ == "__main__":
    main()

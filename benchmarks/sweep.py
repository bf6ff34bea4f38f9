"""A sweep on real speech, killed in the middle of a trial and called again.

    OMP_NUM_THREADS=1 python benchmarks/sweep.py --corpus-root DIR/RAVDESS [--trials 8] [--kill-at 3] [--folder DIR]

Runs recipes/ravdess_crnn.yaml, made small (a tenth of its channels, 8 epochs, one seed), over learning rate, dropout
and label smoothing by TPE with a median pruner, through `ser-hf sweep`. The process gets a SIGKILL after the second
epoch of trial `--kill-at`; the same command then goes on, and is called a third time when all is done. Writes
benchmarks/results/sweep.json: what the kill met, what each call ran, the trials, the winner's validation and test.
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

from ser_hf.utils.environment import environment
from ser_hf.utils.yaml import dump_yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "sweep.json"
RECIPE = "recipes/ravdess_crnn.yaml"
CHANGES = [
    *("model.channels=[8, 16, 16]", "model.time_pooling=[2, 2, 2]", "model.band_pooling=[4, 2, 2]"),
    *("model.hop_length=320", "model.lstm_hidden=32", "training.num_train_epochs=8", "training.seeds=[1]"),
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=SPACE["trials"])
    parser.add_argument("--kill-at", type=int, default=3, help="number of the trial that is killed")
    parser.add_argument("--folder", type=Path, help="where the sweep goes (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = options.folder or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        space, folder = base / "space.yaml", base / "sweep"
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
        calls = [killed(command, folder, base / "1.log", options.kill_at)]
        calls += [whole(command, base / f"{number}.log") for number in (2, 3)]
        result = {
            "recipe": [RECIPE, *CHANGES],
            "space": {**SPACE, "trials": options.trials},
            "calls": calls,
            "checks": checks(calls, options),
            "trials": table(folder),
            "tested": noted(folder),
            "environment": environment(),
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["checks"], indent=1))
    if not all(result["checks"].values()):
        sys.exit("the sweep did not go on as it should")


def killed(command: list[str], folder: Path, log: Path, number: int) -> dict:
    """Kills the sweep after the second epoch of a trial; what stood then."""
    began = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        while epochs(folder / "trials" / str(number)) < 2:
            if process.poll() is not None:
                sys.exit(
                    f"the sweep ended before trial {number}'s second epoch, exit code {process.returncode}: {log}"
                )
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    states = {row["trial"]: row["state"] for row in table(folder)}
    return told(log, began) | {"killed in trial": number, "states": states}


def epochs(run: Path) -> float:
    """How far a run's last checkpoint is."""
    reached = [0.0]
    for state in run.glob("checkpoints/checkpoint-*/trainer_state.json"):
        try:
            reached.append(json.loads(state.read_text())["epoch"])
        except (OSError, ValueError):  # being written, or deleted
            continue
    return max(reached)


def whole(command: list[str], log: Path) -> dict:
    began = time.perf_counter()
    with log.open("w") as file:
        code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
    return told(log, began) | {"exit code": code}


def told(log: Path, began: float) -> dict:
    """What a call began, and what it went on with."""
    text = log.read_text(encoding="utf-8")
    begun = re.findall(r"^trial (\d+)( continues)?: ", text, re.MULTILINE)
    return {
        "seconds": time.perf_counter() - began,
        "begun": [int(number) for number, on in begun if not on],
        "gone on with": [int(number) for number, on in begun if on],
        "ran the best": "running the best recipe, of trial" in text,
    }


def checks(calls: list[dict], options: argparse.Namespace) -> dict[str, bool]:
    first, second, third = calls
    begun = first["begun"] + second["begun"]  # numbers have a gap, as the retry of a killed trial takes one
    return {
        "the killed trial went on": second["gone on with"] == [options.kill_at],
        "every trial was begun once": len(begun) == len({*begun}) == options.trials,
        "the test split was scored once": [call["ran the best"] for call in calls] == [False, True, False],
        "a third call had nothing to do": not third["begun"] and not third["gone on with"],
        "no call failed": second["exit code"] == third["exit code"] == 0,
    }


def table(folder: Path) -> list[dict]:
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def noted(folder: Path) -> dict:
    """The winner's figures on validation and, of its one run, on test."""
    report = json.loads((folder / "best" / "report" / "report.json").read_text(encoding="utf-8"))
    return {"validation": report["parts"]["validation"], "test": report["metrics"], "intervals": report["intervals"]}


if __name__ == "__main__":
    main()

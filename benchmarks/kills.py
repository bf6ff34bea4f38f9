"""A run that is killed in every stage ends as one that is left alone.

    OMP_NUM_THREADS=1 python benchmarks/kills.py [--kills 20] [--seed 0] [--output
    benchmarks/results/kills.json]

Runs a small recipe once without interruption and publishes it to a Hub on this machine. Then runs
it again with SIGKILLs of its process group at random moments in preparation, training, evaluation,
report and publishing, each followed by --resume, and compares figures, predictions, and what was
published. Random crops, dropout and averaged weights are on.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.hub import LoopbackHub  # noqa: E402

from ser_hf.experiment.sections import environment_section  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "kills.json"
STAGES = ("preparation", "training", "evaluation", "report", "publishing")
TOLERANCE = 1e-6  # of the figures: one machine, one number of threads
RECIPE = [
    str(ROOT / "recipes" / "quickstart.yaml"),
    *("corpus.speakers=12", "corpus.takes=2", "training.num_train_epochs=4"),
    *("training.average.kind=ema", "evaluation.bootstrap=500", "evaluation.robustness=true"),
    # Not a divisor of an epoch's steps: most checkpoints are in the middle of one.
    *("training.eval_strategy=steps", "training.eval_steps=4"),
    *("training.save_strategy=steps", "training.save_steps=4"),
]
# Runs the command line and writes a line at the start of each stage.
CHILD = """
import os, sys
import ser_hf.experiment.run as run
import ser_hf.hub.publish as publishing
from ser_hf.cli import main

def announced(module, name, stage):
    function = getattr(module, name)
    def work(*given, **more):
        os.write(int(os.environ["STAGES"]), (stage + "\\n").encode())
        return function(*given, **more)
    setattr(module, name, work)

announced(run, "load_experiment_data", "preparation")
announced(run, "train", "training")
announced(run, "evaluate_run", "evaluation")
announced(run, "save_run", "report")
announced(publishing, "publish", "publishing")
sys.exit(main(sys.argv[1:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, LoopbackHub() as hub:
        whole, killed = (Case(Path(temporary), name, hub) for name in ("whole", "killed"))
        code, stages = whole.run()
        if code:
            sys.exit(f"the uninterrupted run ended with exit code {code}")
        kills = kill_repeatedly(killed, stages, options)
        code, _ = killed.run()
        if code:
            sys.exit(f"the last --resume ended with exit code {code}")
        comparison = compare(whole, killed)
    result = {
        "recipe": ["recipes/quickstart.yaml", *RECIPE[1:]],
        "seconds": stages,
        "kills": kills,
        "exit_code_at_the_end": code,
        **comparison,
        "environment": environment_section().to_dict(),
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(comparison, indent=1))
    if not all(comparison["equal"].values()):
        sys.exit("the two runs differ")


class Case:
    """A run folder with its own cache and repositories."""

    def __init__(self, folder: Path, name: str, hub: LoopbackHub):
        self.folder = folder / name
        self.name = name
        self.hub = hub
        self.repositories = {
            "model": f"tester/{name}",
            "dataset": f"tester/{name}-report",
            "space": f"tester/{name}",
        }
        self.environment = (
            os.environ | hub.environment(folder / "home") | {"SER_HF_CACHE": f"{self.folder}-cache"}
        )

    def start(self) -> tuple[subprocess.Popen, int]:
        """The command with --resume in a process group of its own, and the end of a pipe with its
        stages.
        """
        places = [f"output_dir={self.folder}", f"hub.repo=tester/{self.name}"]
        places += [f"hub.report_repo=tester/{self.name}-report", "hub.space=true", "--resume"]
        reading, writing = os.pipe()
        with open(f"{self.folder}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD, "train", *RECIPE, *places],
                env=self.environment | {"STAGES": str(writing)},
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        return process, reading

    def run(self) -> tuple[int, dict[str, float]]:
        """Run to the end: the exit code and the seconds of each stage."""
        process, reading = self.start()
        began: dict[str, float] = {}
        with open(reading) as stages:
            for stage in stages:
                began.setdefault(stage.strip(), time.perf_counter())
        code = process.wait()
        times = [*began.values(), time.perf_counter()]
        return code, {stage: times[i + 1] - times[i] for i, stage in enumerate(began)}

    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report" / "report.json").read_text(encoding="utf-8"))


def kill_repeatedly(
    case: Case, seconds: dict[str, float], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Kill the run in each stage in turn, at random moments of it, and return the moments."""
    draw = random.Random(options.seed)
    kills: list[dict[str, Any]] = []
    while len(kills) < options.kills:
        aim = STAGES[len(kills) * len(STAGES) // options.kills]
        began = time.perf_counter()
        moment = draw.uniform(0, 0.9)
        process, reading = case.start()
        reached = threading.Event()
        seen = []

        def follow(reading=reading, reached=reached, seen=seen, aim=aim) -> None:
            with open(reading) as stages:
                for stage in stages:
                    seen.append(stage.strip())
                    if STAGES.index(seen[-1]) >= STAGES.index(aim):
                        reached.set()
            reached.set()

        threading.Thread(target=follow, daemon=True).start()
        reached.wait()
        time.sleep(moment * seconds[aim])
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode:
            sys.exit(
                f"a run ended with exit code {process.returncode} by itself; see {case.folder}.log"
            )
        else:
            continue  # it was quicker than the first one
        kills.append(
            {
                "stage": seen[-1],
                "seconds_after_start": time.perf_counter() - began,
                "share_of_stage": moment,
                "exit_code": process.wait(),
                "left": sorted(path.name for path in case.folder.glob("*"))
                if case.folder.is_dir()
                else [],
            }
        )
        print(kills[-1], flush=True)
    return kills


def compare(whole: Case, killed: Case) -> dict[str, Any]:
    """What is equal, and the figures of both runs."""
    whole_report = whole.report()
    killed_report = killed.report()
    keys = ("metrics", "intervals", "parts", "confusion", "per_class", "validated", "robustness")
    differences = {key: difference(whole_report[key], killed_report[key]) for key in keys}
    equal = {key: value <= TOLERANCE for key, value in differences.items()}
    tables = [
        pq.read_table(case.folder / "report" / "predictions.parquet") for case in (whole, killed)
    ]
    # The paths differ, because each run has a separate cache.
    whole_table, killed_table = (table.drop_columns("path").to_pydict() for table in tables)
    equal["predictions"] = difference(whole_table, killed_table) <= TOLERANCE
    history_difference = difference(
        validation_history(whole_report), validation_history(killed_report)
    )
    equal["history of validation"] = history_difference <= TOLERANCE
    for kind in whole.repositories:
        whole_files, killed_files = (
            case.hub.files(case.repositories[kind], kind) for case in (whole, killed)
        )
        equal[f"names of published files ({kind})"] = whole_files.keys() == killed_files.keys()
        commits = [len(case.hub.commits(case.repositories[kind], kind)) for case in (whole, killed)]
        equal[f"one commit ({kind})"] = commits == [2, 2]  # the other one creates the repository
    return {
        "equal": equal,
        "tolerance": TOLERANCE,
        "largest_difference": max(differences.values()),
        "figures": {case.name: case.report()["metrics"] for case in (whole, killed)},
    }


def validation_history(report: dict[str, Any]) -> dict[int, float]:
    """{step: UAR} of the evaluations on the validation split."""
    entries = [entry for entry in report["history"] if "validation" in entry]
    return {entry["step"]: entry["validation"]["uar"] for entry in entries}


def difference(one: Any, other: Any) -> float:
    """The largest difference of two nested figures; infinite where keys or words differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(difference, one, other), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(np.abs(one - other))
    return 0.0 if one == other else float("inf")


if __name__ == "__main__":
    main()

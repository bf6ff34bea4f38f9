"""Check that a run that is killed and resumed many times gives the result of an uninterrupted run.

    OMP_NUM_THREADS=1 python benchmarks/resume.py [--kills 10] [--while-saving 2] [--longest 35]
    [--seed 0]

Runs a smaller quickstart once without interruption and once with SIGKILLs. The kills come at random
moments after the start of the process, some of them while a checkpoint is being written. After each
kill `--resume` continues the run. Random crops, dropout and averaged weights (EMA) are on.
Checkpoints are also written within epochs. Compares metrics of every split, histories, predictions
and weights of the two runs, and writes benchmarks/results/resume.json.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ser_hf.experiment.sections import environment_section
from ser_hf.training.checkpoints import is_complete

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "resume.json"
RECIPE = [
    "recipes/quickstart.yaml",
    *("corpus.speakers=60", "corpus.takes=2", "training.num_train_epochs=60"),
    *("training.average.kind=ema", "evaluation.bootstrap=50"),
    # Not a divisor of the steps of an epoch, so that most checkpoints are written within an epoch.
    *("training.eval_strategy=steps", "training.eval_steps=12"),
    *("training.save_strategy=steps", "training.save_steps=12"),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--while-saving", type=int, default=2)
    parser.add_argument(
        "--longest",
        type=float,
        default=35.0,
        help="maximum seconds until a kill at a random moment",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="folder of the two runs (default: a temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        uninterrupted = folder / "uninterrupted"
        killed = folder / "killed"
        for run in (uninterrupted, killed):
            shutil.rmtree(run, ignore_errors=True)
        began = time.perf_counter()
        start(uninterrupted).wait()
        seconds = time.perf_counter() - began
        kills = kill_repeatedly(killed, options)
        code = start(killed, resume=True).wait()
        if code:
            sys.exit(f"the last --resume ended with exit code {code}")
        result = {
            "recipe": RECIPE,
            "seconds_uninterrupted": seconds,
            "kills": kills,
            "equal": compare(uninterrupted, killed),
            "uar": report(uninterrupted)["metrics"]["uar"],
            "uar_killed": report(killed)["metrics"]["uar"],
            "environment": environment_section().to_dict(),
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["equal"], indent=1))
    if not all(result["equal"].values()):
        sys.exit("the two runs differ")


def start(run: Path, resume: bool = False) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "ser_hf.train",
        *RECIPE,
        f"output_dir={run}",
        *(["--resume"] if resume else []),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_repeatedly(run: Path, options: argparse.Namespace) -> list[dict]:
    """Start or resume the run and kill it, again and again; return a description of each kill."""
    draw = random.Random(options.seed)
    saving = set(draw.sample(range(1, options.kills), options.while_saving))
    kills = []
    while len(kills) < options.kills:
        began = time.perf_counter()
        process = start(run, resume=run.exists())
        if len(kills) in saving:
            moment = wait_until_saving(run, process)
            time.sleep(draw.uniform(0, 0.01))
        else:
            moment = "a random moment"
            time.sleep(draw.uniform(0, options.longest))
        if process.poll() is not None:
            sys.exit(
                f"the run ended (exit code {process.returncode}) before kill {len(kills) + 1}; "
                "use another seed"
            )
        process.send_signal(signal.SIGKILL)
        process.wait()
        checkpoints = sorted(
            (run / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:])
        )
        kills.append(
            {
                "at": moment,
                "seconds": time.perf_counter() - began,
                "complete": [path.name for path in checkpoints if is_complete(path)],
                "incomplete": [path.name for path in checkpoints if not is_complete(path)],
            }
        )
        print(kills[-1], flush=True)
    return kills


def wait_until_saving(run: Path, process: subprocess.Popen) -> str:
    """Return as soon as there is a new and incomplete checkpoint."""
    # --resume deletes the incomplete checkpoints of an earlier kill before it trains.
    seen = {path.name for path in (run / "checkpoints").glob("checkpoint-*")}
    while process.poll() is None:
        for path in (run / "checkpoints").glob("checkpoint-*"):
            if path.name not in seen and not is_complete(path):
                return "while a checkpoint was being written"
            seen.add(path.name)
        seen = {name for name in seen if (run / "checkpoints" / name).exists()}
        time.sleep(0.001)
    return "the end"


def report(run: Path) -> dict:
    return json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))


def compare(uninterrupted: Path, killed: Path) -> dict[str, bool]:
    """Return which results of the two runs are exactly equal."""
    one = report(uninterrupted)
    other = report(killed)
    equal = {
        key: one[key] == other[key]
        for key in ("metrics", "parts", "confusion", "per_class", "validated")
    }
    # Losses and scores of training clips are not compared: they are sums over an epoch, and a kill
    # loses the part of the epoch before it.
    validations = [
        {entry["step"]: entry["validation"] for entry in run["history"] if "validation" in entry}
        for run in (one, other)
    ]
    equal["history of validation"] = validations[0] == validations[1]
    for name in ("model/model.safetensors", "report/predictions.parquet"):
        equal[name] = (
            len(
                {
                    hashlib.sha256((run / name).read_bytes()).hexdigest()
                    for run in (uninterrupted, killed)
                }
            )
            == 1
        )
    return equal


if __name__ == "__main__":
    main()

"""A run that is killed again and again ends as one that is left alone.

    OMP_NUM_THREADS=1 python benchmarks/resume.py [--kills 10] [--while-saving 2] [--longest 35] [--seed 0]

Runs the quickstart, made smaller, once without interruption, then once more with SIGKILLs: at random moments from the
process's start on, some of them while a checkpoint is being written, each time going on with --resume. Random crops,
dropout and averaged weights (EMA) are on, and checkpoints are written in the middle of epochs too. Compares the two
runs' metrics of every part, histories, predictions and weights, and writes benchmarks/results/resume.json.
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

from ser_hf.training.checkpoints import is_complete
from ser_hf.utils.environment import environment

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "resume.json"
RECIPE = [
    "recipes/quickstart.yaml",
    *("corpus.speakers=60", "corpus.takes=2", "training.num_train_epochs=60"),
    *("training.average.kind=ema", "evaluation.bootstrap=50"),
    # Not a divisor of an epoch's steps: most checkpoints fall into the middle of one.
    *("training.eval_strategy=steps", "training.eval_steps=12"),
    *("training.save_strategy=steps", "training.save_steps=12"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--while-saving", type=int, default=2)
    parser.add_argument("--longest", type=float, default=35.0, help="seconds until a kill at a random moment, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the two runs go (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        whole, killed = folder / "whole", folder / "killed"
        for run in (whole, killed):
            shutil.rmtree(run, ignore_errors=True)
        began = time.perf_counter()
        start(whole).wait()
        seconds = time.perf_counter() - began
        kills = kill_repeatedly(killed, options)
        code = start(killed, resume=True).wait()
        if code:
            sys.exit(f"the last --resume ended with exit code {code}")
        result = {
            "recipe": RECIPE,
            "seconds_uninterrupted": seconds,
            "kills": kills,
            "equal": compare(whole, killed),
            "uar": report(whole)["metrics"]["uar"],
            "uar_killed": report(killed)["metrics"]["uar"],
            "environment": environment(),
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["equal"], indent=1))
    if not all(result["equal"].values()):
        sys.exit("the two runs differ")


def start(run: Path, resume: bool = False) -> subprocess.Popen:
    command = [sys.executable, "-m", "ser_hf.train", *RECIPE, f"output_dir={run}", *(["--resume"] if resume else [])]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_repeatedly(run: Path, options: argparse.Namespace) -> list[dict]:
    """Starts, or resumes, and kills; returns what each kill met."""
    draw = random.Random(options.seed)
    saving = set(draw.sample(range(1, options.kills), options.while_saving))
    kills = []
    while len(kills) < options.kills:
        began, process = time.perf_counter(), start(run, resume=run.exists())
        if len(kills) in saving:
            met = wait_until_saving(run, process)
            time.sleep(draw.uniform(0, 0.01))
        else:
            met = "a random moment"
            time.sleep(draw.uniform(0, options.longest))
        if process.poll() is not None:
            sys.exit(f"the run ended (exit code {process.returncode}) before kill {len(kills) + 1}; use another seed")
        process.send_signal(signal.SIGKILL)
        process.wait()
        checkpoints = sorted((run / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
        kills.append(
            {
                "at": met,
                "seconds": time.perf_counter() - began,
                "whole": [path.name for path in checkpoints if is_complete(path)],
                "torn": [path.name for path in checkpoints if not is_complete(path)],
            }
        )
        print(kills[-1], flush=True)
    return kills


def wait_until_saving(run: Path, process: subprocess.Popen) -> str:
    """Returns as soon as a checkpoint stands that is not whole, and was not there when the run began."""
    # Torn ones of an earlier kill are deleted by --resume before it trains.
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


def compare(whole: Path, killed: Path) -> dict[str, bool]:
    """Whether each thing is equal, to the last digit."""
    one, other = report(whole), report(killed)
    equal = {key: one[key] == other[key] for key in ("metrics", "parts", "confusion", "per_class", "validated")}
    # Not the losses and scores of training clips: they are summed up over an epoch, and what of it came before a kill
    # is lost with the process.
    judged = [
        {entry["step"]: entry["validation"] for entry in run["history"] if "validation" in entry}
        for run in (one, other)
    ]
    equal["history of validation"] = judged[0] == judged[1]
    for name in ("model/model.safetensors", "report/predictions.parquet"):
        equal[name] = len({hashlib.sha256((run / name).read_bytes()).hexdigest() for run in (whole, killed)}) == 1
    return equal


if __name__ == "__main__":
    main()

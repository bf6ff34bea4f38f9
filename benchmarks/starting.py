"""Measure the processor time until `ser_hf` works: the import, a refused key, the first training step, one prediction.

    OMP_NUM_THREADS=1 python benchmarks/starting.py [--root data/RAVDESS] [--repeats 5] [--code FOLDER ...]

Each figure is the median over fresh processes of user and system time, which other work on the machine changes less
than the time on the clock. The store and the files are warm: every command runs once before. `--code` names checkouts,
such as one of an earlier revision; they are measured in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ser_hf.utils.environment import environment

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "starting.json"
COMMAND = """
import os, resource, sys
def end(*_, **__):
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print("seconds", sum(own.ru_utime + own.ru_stime for own in used), file=sys.stderr, flush=True)
    os._exit(0)
"""
MAIN = COMMAND + "from ser_hf.cli import main; main(sys.argv[1:]); end()"
# Ends at the first step. Nothing is imported that the command would not import by itself.
STEP = (
    COMMAND
    + """
from importlib.abc import MetaPathFinder
class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "ser_hf.training.trainer":
            sys.meta_path.remove(self)
            import transformers
            transformers.Trainer.training_step = end
sys.meta_path.insert(0, Watch())
from ser_hf.cli import main; main(sys.argv[1:])
"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/RAVDESS"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--code", type=Path, nargs="+", default=[ROOT])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = [str(ROOT / "recipes" / "ravdess_crnn.yaml"), f"corpus.root={options.root.absolute()}"]
        clip = next(path for path in sorted(options.root.rglob("03-*")) if path.is_file())
        small = ["training.max_steps=1", "training.seeds=[1]", "evaluation.bootstrap=10", f"output_dir={folder}/run"]
        seconds(ROOT, MAIN, ["train", *recipe, *small])
        measured = {
            "import ser_hf": (COMMAND + "import ser_hf; end()", []),
            "refused key of audio": (MAIN, ["train", *recipe, "audio.sampling_rat=8000"]),
            "refused key of model": (MAIN, ["train", *recipe, "model.n_melz=64"]),
            "refused key of training": (MAIN, ["train", *recipe, "training.learnig_rate=1"]),
            "train, to the first step": (STEP, ["train", *recipe, f"output_dir={folder}/step", "--overwrite"]),
            "predict one clip": (MAIN, ["predict", f"{folder}/run", str(clip.absolute())]),
        }
        found = {str(code): {name: [] for name in measured} for code in options.code}
        for repeat in range(options.repeats + 1):
            for name, (program, arguments) in measured.items():
                for code in options.code:
                    taken = seconds(code, program, arguments)
                    if repeat:  # the first one reads files from the disk
                        found[str(code)][name].append(taken)
    table = [
        {name: round(statistics.median(own), 2) for name, own in found[str(code)].items()} for code in options.code
    ]
    facts = {key: environment()[key] for key in ("processor", "cores", "versions", "git_revision")}
    RESULTS.write_text(json.dumps(facts | {"medians": table, "seconds": list(found.values())}, indent=1) + "\n")
    for name in measured:
        print(f"| {name} |", " | ".join(f"{own[name]:.2f}" for own in table), "|")


def seconds(code: Path, program: str, arguments: list[str]) -> float:
    """The processor time of a command with the package in `code`."""
    environment = os.environ | {"PYTHONPATH": str(code.absolute()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    found = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("seconds ")]
    if not found:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-500:]}")
    return float(found[-1])


if __name__ == "__main__":
    main()

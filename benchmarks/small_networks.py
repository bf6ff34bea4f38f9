"""Find a network of fewer than 50,000 parameters on the five folds of RAVDESS by Luna-Jiménez.

    OMP_NUM_THREADS=1 python benchmarks/small_networks.py --corpora data [--minutes 120]
    OMP_NUM_THREADS=1 python benchmarks/small_networks.py --corpora data --test NAME [--seeds 1 2 3]
    python benchmarks/small_networks.py --readme

The first command trains every candidate on the training speakers of two folds, and evaluates their
validation speakers; test speakers are not evaluated. The candidates have the recipe
`ravdess_luna_jimenez` otherwise, without the refit. The second command scores the test speakers of
all five folds once, with the refit; `--test full` is the recipe's own network, of 752,410
parameters. A fold and epoch has some 60 steps, 5 to 10 s on one core, so that a candidate has 7 to
14 minutes a fold, and the second command one and a half to two hours a seed.

Rows are saved to benchmarks/results/small_networks.json. The same command resumes, and `--minutes`
starts no further row after that time.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from fixed_split import read, write

import ser_hf

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "ravdess_luna_jimenez.yaml"
RESULTS = Path(__file__).parent / "results" / "small_networks.json"
FOLDS = (1, 3)  # in which candidates are compared, on their validation speakers
SMALL = ["model.channels=[8,16,24,32]", "model.embedding=64"]
CANDIDATES = {
    "small": [*SMALL, "model.dropout=0.1"],
    "small, rate 4e-3": [*SMALL, "model.dropout=0.1", "training.learning_rate=4.0e-3"],
    "small, no mixup": [*SMALL, "model.dropout=0.1", "augment.mixup.probability=0"],
    "mean and deviation": [
        "model.channels=[8,16,24,32]",
        "model.embedding=96",
        "model.pooling=mean_std",
        "model.dropout=0.1",
    ],
    "wide": ["model.channels=[12,16,24,32]", "model.embedding=48", "model.dropout=0.1"],
    "separable": [
        "model.architecture=separable_resnet",
        "model.channels=[12,20,28]",
        "model.embedding=64",
        "model.dropout=0.1",
    ],
}
FULL: dict[str, list[str]] = {"full": []}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--test", choices=[*CANDIDATES, *FULL])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--epochs", type=float, help="epochs in place of those of the recipe")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--runs", type=Path, default=Path("runs/small_networks"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    for name, seed in [] if options.readme else rows_to_run(options):
        if time.monotonic() - began >= 60 * options.minutes:
            print("time is over; the same command continues", flush=True)
            break
        measure(name, seed, options)
    print(table(read(options.results)))


def rows_to_run(options: argparse.Namespace) -> list[tuple[str, int]]:
    names = [options.test] if options.test else options.candidates
    return [(name, seed) for seed in options.seeds for name in names]


def measure(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train a candidate, and save its row; a saved row is not run again."""
    stage = "test" if options.test else "validation"
    key = f"{stage}/{name}/{seed}"
    if key in read(options.results):
        return
    folder = options.runs / key.replace(" ", "_").replace(",", "")
    overrides = [
        f"corpus.root={options.corpora / 'RAVDESS'}",
        f"output_dir={folder}",
        f"training.seeds=[{seed}]",
        "evaluation.map=null",
        *(CANDIDATES | FULL)[name],
    ]
    if not options.test:
        overrides += [
            f"protocol.folds={list(FOLDS)}",
            "evaluation.part=validation",
            "training.refit=false",
        ]
    if options.epochs:
        overrides.append(f"training.num_train_epochs={options.epochs}")
    report = ser_hf.run_recipe(RECIPE, overrides, resume=True)
    row: dict[str, Any] = {
        "metrics": report.metrics,
        "interval": report.intervals.get("uar"),
        "pooled": report.pooled.metrics if report.pooled else None,
        "folds": {key: fold.metrics["uar"] for key, fold in report.protocol.folds.items()},
        "parameters": report.model.parameters,
        "seconds": report.seconds.training,
        "git_revision": report.environment.git_revision,
    }
    write(options.results, read(options.results) | {key: row})
    shutil.rmtree(folder)
    print(f"{key}: UAR {row['metrics']['uar']:.3f} in {row['seconds']:.0f} s", flush=True)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| speakers | network | seed | parameters | UAR | of each fold | training, minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, row in sorted(rows.items(), key=lambda item: -item[1]["metrics"]["uar"]):
        stage, name, seed = key.split("/")
        folds = ", ".join(f"{uar:.3f}" for uar in row["folds"].values())
        lines.append(
            f"| {stage} | {name} | {seed} | {row['parameters']:,} | {row['metrics']['uar']:.3f} | "
            f"{folds} | {row['seconds'] / 60:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

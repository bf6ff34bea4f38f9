"""Choose and test stronger settings of `se_resnet` on EMO-DB and on EmoBox's folds of RAVDESS.

    OMP_NUM_THREADS=1 python benchmarks/strength.py --corpora data [--corpus emodb] [--minutes 120]
    OMP_NUM_THREADS=1 python benchmarks/strength.py --corpora data --corpus emodb --test NAME
    python benchmarks/strength.py --readme

`--corpora` has the folders RAVDESS and EMO-DB. The first command trains every candidate on the
training speakers of a few folds, and evaluates their validation speakers; test speakers are not
evaluated. The candidates have the settings of the recipes `emodb_se_resnet` and
`ravdess_emobox_se_resnet` otherwise; a candidate that starts from a parent has it trained first, on
all speakers of the other corpus. The second command scores the test speakers of all folds once: the
last epoch is kept, and validation speakers train too (`training.refit`).

A fold of EMO-DB takes 5 to 15 minutes on one core, a fold of RAVDESS 13 to 20. Rows are saved to
benchmarks/results/strength.json. The same command resumes, and `--minutes` starts no further row
after that time.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from fixed_split import read, write

import ser_hf
from ser_hf.report.report import Report

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "strength.json"
RECIPES = {"emodb": "emodb_se_resnet", "ravdess": "ravdess_emobox_se_resnet"}
FOLDERS = {"emodb": "EMO-DB", "ravdess": "RAVDESS"}
OTHER_CORPUS = {"emodb": "ravdess", "ravdess": "emodb"}
FOLDS = {"emodb": (1, 4, 7), "ravdess": (1, 4)}  # in which candidates are compared
PARENT_EPOCHS = 40

SPEEDS = ["model.test_speeds=[0.9,0.95,1.0,1.05,1.1]"]
LONGER = ["training.num_train_epochs=80"]
FROM_PARENT = ["training.learning_rate=1.0e-3", "training.num_train_epochs=40"]
VOICES = ["augment.vocal_tract.probability=0.5", "augment.pitch.probability=0.3"]
# Candidate -> overrides, with {auxiliary} and {parent} filled in.
CANDIDATES: dict[str, dict[str, list[str]]] = {
    "emodb": {
        "five speeds": SPEEDS,
        "five speeds, 80 epochs": [*SPEEDS, *LONGER],
        "auxiliary": [*SPEEDS, "corpus.auxiliary={auxiliary}"],
        "parent": [*SPEEDS, *FROM_PARENT, "model.checkpoint={parent}"],
        "other voices": [*SPEEDS, *LONGER, *VOICES],
    },
    "ravdess": {
        "as the recipe": [],
        "auxiliary": ["corpus.auxiliary={auxiliary}"],
        "other voices": VOICES,
        "wider": ["model.channels=[28,56,110,180]"],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--corpus", choices=RECIPES, default="emodb")
    parser.add_argument("--candidates", nargs="+", help="some of the corpus's candidates")
    parser.add_argument("--test", metavar="NAME", help="the candidate whose test is scored")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--epochs", type=float, help="a cap for a trial")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--runs", type=Path, default=Path("runs/strength"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    names = [options.test] if options.test else options.candidates or CANDIDATES[options.corpus]
    for name in names:
        if name not in CANDIDATES[options.corpus]:
            parser.error(
                f"no candidate {name!r}; choose from {', '.join(CANDIDATES[options.corpus])}"
            )
    if not options.readme:
        measure_all(names, options)
    print(table(read(options.results)))


def measure_all(names: list[str], options: argparse.Namespace) -> None:
    """Measure candidates until the time is over."""
    began = time.monotonic()
    for seed in options.seeds:
        for name in names:
            if time.monotonic() - began >= 60 * options.minutes:
                print("time is over; the same command continues", flush=True)
                return
            measure(name, seed, options)


def measure(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train a candidate, and save its row; a saved row is not run again."""
    stage = "test" if options.test else "validation"
    key = f"{options.corpus}/{stage}/{name}/{seed}"
    if key in read(options.results):
        return
    overrides = [
        f"corpus.root={options.corpora / FOLDERS[options.corpus]}",
        f"output_dir={options.runs / key.replace(' ', '_').replace(',', '')}",
        f"training.seeds=[{seed}]",
        "evaluation.map=null",
        *filled(CANDIDATES[options.corpus][name], options),
    ]
    if options.test:
        overrides.append("training.refit=true")
    else:
        overrides.append(f"protocol.folds={list(FOLDS[options.corpus])}")
        overrides.append("evaluation.part=validation")
    report = run(RECIPES[options.corpus], overrides, options)
    row = {
        "metrics": report.metrics,
        "interval": report.intervals.get("uar"),
        "pooled": report.pooled.metrics if report.pooled else None,
        "folds": {number: fold.metrics["uar"] for number, fold in report.protocol.folds.items()},
        "parameters": report.model.parameters,
        "seconds": report.seconds.training,
        "git_revision": report.environment.git_revision,
    }
    write(options.results, read(options.results) | {key: row})
    print(f"{key}: UAR {row['metrics']['uar']:.3f} in {row['seconds']:.0f} s", flush=True)


def filled(overrides: list[str], options: argparse.Namespace) -> list[str]:
    """Overrides with the auxiliary corpus and the parent's run in place of their names."""
    other = OTHER_CORPUS[options.corpus]
    root = options.corpora / FOLDERS[other]
    texts = []
    for override in overrides:
        text = override.replace("{auxiliary}", f"[{{name: {other}, root: {root}}}]")
        if "{parent}" in text:
            text = text.replace("{parent}", str(parent_run(other, options)))
        texts.append(text)
    return texts


def parent_run(corpus: str, options: argparse.Namespace) -> Path:
    """Train a network on the speakers of a corpus, unless it is there, and return its run."""
    folder = options.runs / "parents" / corpus
    overrides = [
        f"corpus.root={options.corpora / FOLDERS[corpus]}",
        f"output_dir={folder}",
        # Most speakers train. The test split has one or two, as every run needs one.
        "protocol={name: speaker_independent, validation: 0.1, test: 0.05}",
        f"training.num_train_epochs={PARENT_EPOCHS}",
        "training.seeds=[1]",
        "evaluation.map=null",
    ]
    run(RECIPES[corpus], overrides, options)
    return folder


def run(recipe: str, overrides: list[str], options: argparse.Namespace) -> Report:
    """Start, resume or read a run."""
    if options.epochs:
        overrides = [*overrides, f"training.num_train_epochs={options.epochs}"]
    return ser_hf.run_recipe(ROOT / "recipes" / f"{recipe}.yaml", overrides, resume=True)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| corpus | speakers | candidate | seed | parameters | UAR | of each fold | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, row in sorted(rows.items()):
        corpus, stage, name, seed = key.split("/")
        folds = ", ".join(f"{uar:.3f}" for uar in row["folds"].values())
        lines.append(
            f"| {corpus} | {stage} | {name} | {seed} | {row['parameters']:,} | "
            f"{row['metrics']['uar']:.3f} | {folds} | {row['seconds'] / 60:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

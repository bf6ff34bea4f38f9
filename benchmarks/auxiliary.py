"""Measure what clips of another corpus beside one's own gain (`corpus.auxiliary`).

    OMP_NUM_THREADS=1 python benchmarks/auxiliary.py --corpus-root data \\
    --checkpoint weights/default512_BYOLAs64x96.pth [--models byols crnn] [--epochs N]
    [--runs runs/auxiliary] [--results FILE] [--readme]

`--corpus-root` has the folders RAVDESS and EMO-DB. Two corpora are tested, each with and without
the clips of the other one in its training split:

- EMO-DB, leave one speaker out, without and with RAVDESS;
- RAVDESS, the six folds of EmoBox, without and with EMO-DB.

`byols` is a logistic regression on frozen BYOL-S, whose strength is selected by cross-validation
over the training speakers. `crnn` is trained for a fixed number of epochs (`--epochs` caps it);
there, `half` takes one half of the auxiliary clips in each epoch. Both corpora share six of their
emotions; the other ones are left out of the auxiliary clips. Nothing is chosen here, and each test
speaker is scored once in each cell.

A row that the results have is not run again, and an interrupted run continues. Differences are
paired by clip, with a bootstrap over the test speakers (`ser_hf.compare_runs`).
"""

import argparse
from pathlib import Path
from typing import Any

from fixed_split import TRIMMED, read, run, write

import ser_hf
from ser_hf.experiment.compare import ComparedPair

RESULTS = Path(__file__).parent / "results" / "auxiliary.json"
EPOCHS = 10
# Corpus: its folder, its protocol and the auxiliary corpus.
CORPORA: dict[str, tuple[str, dict[str, Any], str]] = {
    "emodb": ("EMO-DB", {"name": "leave_one_speaker_out"}, "ravdess"),
    "ravdess": ("RAVDESS", {"name": "emobox/ravdess"}, "emodb"),
}
WEIGHTS = {"byols": {"with": 1.0}, "crnn": {"with": 1.0, "half": 0.5}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", type=Path, default=Path("data"))
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--models", nargs="+", default=list(WEIGHTS), choices=WEIGHTS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--folds", type=int, nargs="+", help="for a trial: the folds to run")
    parser.add_argument("--runs", type=Path, default=Path("runs/auxiliary"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true", help="print the table only")
    options = parser.parse_args()
    for model in [] if options.readme else options.models:
        for corpus in CORPORA:
            measure(model, corpus, options)
    print(table(read(options.results)))


def measure(model: str, corpus: str, options: argparse.Namespace) -> None:
    """Run the cells of a model and corpus, and compare each with the cell without auxiliary clips.

    The row of a cell has its UAR; that of a cell with auxiliary clips also has the difference.
    """
    without = f"{model}/{corpus}/without"
    save_row(without, recipe(model, corpus, None, options), options)
    for name, weight in WEIGHTS[model].items():
        key = f"{model}/{corpus}/{name}"
        save_row(key, recipe(model, corpus, weight, options), options)
        if "difference" in read(options.results)[key]:
            continue
        comparison = ser_hf.compare_runs([options.runs / key, options.runs / without])
        (pair,) = comparison.pairs
        results = read(options.results)
        results[key]["difference"] = difference_from(pair, key.replace("/", "_"))
        write(options.results, results)


def difference_from(pair: ComparedPair, name: str) -> dict[str, Any]:
    """The UAR of the run `name` minus that of the other run of a pair."""
    uar = pair.metrics["uar"]
    sign = 1 if pair.a == name else -1
    bounds = sorted(sign * bound for bound in uar.interval)
    return {"uar": sign * uar.difference, "interval": bounds, "p": uar.p}


def save_row(key: str, values: dict[str, Any], options: argparse.Namespace) -> None:
    """Run a recipe and save its row, unless the results have it."""
    if key in read(options.results):
        return
    report = run({**values, "name": key.replace("/", "_"), "output_dir": str(options.runs / key)})
    folds = {number: fold["metrics"]["uar"] for number, fold in report["protocol"]["folds"].items()}
    row = {
        "uar": report["metrics"]["uar"],
        "folds": folds,
        "auxiliary": report["protocol"].get("auxiliary"),
        "seconds": report["seconds"]["training"],
        "split": report["protocol"]["sha256"],
        "git_revision": report["environment"]["git_revision"],
    }
    results = read(options.results)
    results[key] = row
    write(options.results, results)
    print(f"{key}: UAR {row['uar']:.3f}, {row['seconds']:.0f} s", flush=True)


def recipe(
    model: str, corpus: str, weight: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    """The recipe of a cell; `weight` is that of the auxiliary corpus, None without one."""
    folder, protocol, other = CORPORA[corpus]
    section: dict[str, Any] = {"name": corpus, "root": str(options.corpus_root / folder)}
    if weight is not None:
        other_root = options.corpus_root / CORPORA[other][0]
        section["auxiliary"] = [{"name": other, "root": str(other_root), "weight": weight}]
    values: dict[str, Any] = {
        "corpus": section,
        "protocol": dict(protocol, folds=options.folds),
        "audio": dict(TRIMMED, level="loudness"),  # the two corpora are 19 dB apart
        "evaluation": {"bootstrap": 100, "map": None},
    }
    if model == "byols":
        del values["audio"]["max_duration"]
        values["model"] = {"architecture": "byols", "checkpoint": options.checkpoint}
        values["freeze"] = {"encoder": True}
        values["training"] = {"solver": "sklearn", "seeds": [1]}
        return values
    values["model"] = {"architecture": "crnn", "channels": [16, 32, 64, 64]}
    values["training"] = {
        "learning_rate": 2e-3,
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": 16,
        "loss": {"label_smoothing": 0.1},
        "train_sampling_strategy": "group_by_length",
        "early_stopping": {"select": "last"},
        "seeds": [1],
    }
    return values


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Format the cells as Markdown."""
    lines = ["| model | corpus | auxiliary clips | UAR | difference | 95 % interval | p | s |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for key, row in rows.items():
        model, corpus, cell = key.split("/")
        difference = row.get("difference")
        cells = ["", "", ""]
        if difference:
            low, high = difference["interval"]
            cells = [
                f"{difference['uar']:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{difference['p']:.3f}",
            ]
        numbers = [f"{row['uar']:.3f}", *cells, f"{row['seconds']:.0f}"]
        lines.append(f"| {model} | {corpus} | {cell} | {' | '.join(numbers)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

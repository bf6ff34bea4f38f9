"""Choose learning rate and normalization of the five hybrid networks, on validation speakers.

    OMP_NUM_THREADS=1 python benchmarks/hybrids.py --corpus-root data/RAVDESS [--epochs 15]
        [--only cnn_lstm ...] [--readme]

Each network is trained on the fixed split of RAVDESS with the same number of epochs and one seed.
First two learning rates are compared, with the level of the clips kept and crops of 2.2 s. Then,
with the best rate, clips of mean 0 and deviation 1 in each band. A candidate is scored by its best
epoch on the validation speakers; the test speakers are not used. The recipe of each network then
trains its best candidate for longer.

Each run is a folder below `--runs`. The same command resumes an interrupted run. Rows are merged
into benchmarks/results/hybrids.json; `--readme` prints its table without running anything.
"""

import argparse
from pathlib import Path
from typing import Any

from fixed_split import TRIMMED, read, recipe, run, summary, write

RESULTS = Path(__file__).parent / "results" / "hybrids.json"
NETWORKS = (
    "cnn_lstm",
    "parallel_cnn_transformer",
    "stacked_cnn_lstm",
    "stacked_cnn_attention_lstm",
    "parallel_cnn_attention_lstm",
)
RATES = (1e-3, 2e-3)
LEVEL_KEPT = {"normalization": "fixed"}
# Name -> options of the network and section `audio`, tried with the best rate.
FURTHER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bands standardized": ({"normalization": "clip_bands"}, TRIMMED),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--only", nargs="+", default=NETWORKS, metavar="NAME", choices=NETWORKS)
    parser.add_argument("--precision", default="auto", help="training.precision (default: auto)")
    parser.add_argument("--runs", type=Path, default=Path("runs/hybrids"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()

    if not options.readme:
        for network in options.only:
            choose(network, options)
    print(table(read(options.results)))


def choose(network: str, options: argparse.Namespace) -> None:
    """Train the candidates of one network: the rates, then the rest with the best rate."""
    for rate in RATES:
        measure(network, f"rate {rate:g}", LEVEL_KEPT, TRIMMED, rate, options)

    rows = read(options.results)[network]
    rate = max(RATES, key=lambda rate: rows[f"rate {rate:g}"]["metrics"]["uar"])
    for name, (model, audio) in FURTHER.items():
        measure(network, name, model, audio, rate, options)


def measure(
    network: str,
    name: str,
    model: dict[str, Any],
    audio: dict[str, Any],
    rate: float,
    options: argparse.Namespace,
) -> None:
    """Run one candidate, or read its finished run, and save its row."""
    training = {
        "seeds": [1],
        "learning_rate": rate,
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": 16,
        "precision": options.precision,
        "loss": {"label_smoothing": 0.1},
    }
    folder = options.runs / f"{network}-{name.replace(' ', '-')}-{options.epochs}-epochs"
    values = recipe(
        options.corpus_root,
        folder,
        {"architecture": network, **model},
        training,
        audio=audio,
        augment={"speed": {"probability": 0.66}},
    )
    report = run(values)

    results = read(options.results)
    settings = {"model": model, "audio": audio, "training": training}
    results.setdefault(network, {})[name] = summary(report) | {"settings": settings}
    write(options.results, results)
    print(f"{network}, {name}: validation UAR {report['metrics']['uar']:.3f}", flush=True)


def table(results: dict[str, Any]) -> str:
    """Format the rows as Markdown."""
    lines = ["| network | candidate | rate | UAR of the best epoch |", "|---|---|---|---|"]
    for network, rows in results.items():
        for name, row in rows.items():
            rate = row["settings"]["training"]["learning_rate"]
            lines.append(f"| `{network}` | {name} | {rate:g} | {row['metrics']['uar']:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

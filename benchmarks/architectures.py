"""Train every network from scratch on RAVDESS's fixed split with one budget; compare on the
validation speakers.

    OMP_NUM_THREADS=1 python benchmarks/architectures.py --corpus-root data/RAVDESS [--epochs 30]
    [--seeds 1]
        [--only crnn cnn2d] [--readme]
    OMP_NUM_THREADS=1 python benchmarks/architectures.py --corpus-root data/RAVDESS --test [crnn
    ...] [--again]
        [--set KEY=VALUE ...]

All networks use the same clips without leading and trailing silence, crops of 2.2 s, batches of 16,
label smoothing 0.1, AdamW with a cosine schedule and a short warm-up, and the same number of
epochs. Each network has its default options, except that its input keeps the level of the clip
where the network can use it, since level is a cue in RAVDESS. The learning rate depends on the
family of the network and is not tuned. The classical baselines are fitted by scikit-learn. Networks
that need published weights (byols, cnn14, vgg16, vggish) are left out.

The cheapest network comes first. Each run is a folder below `--runs`. The same command resumes an
interrupted run. Rows are merged into benchmarks/results/architectures.json; `--readme` prints its
tables without running anything.

Only `--test` uses the test speakers. It runs the recipe of each final configuration
(recipes/ravdess_*.yaml) with three seeds, or with `--seeds`. A configuration is scored once. Later
calls print the saved scores, even if the recipe has changed since; `--again` scores it again and
keeps the earlier scores.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixed_split import TRIMMED, read, recipe, run, summary, write

from ser_hf.utils.errors import UserError

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "architectures.json"

_LEVEL = {"normalization": "fixed"}
# Name -> options of the network and learning rate (None: fitted by scikit-learn). The cheapest
# comes first.
NETWORKS: dict[str, tuple[dict[str, Any], float | None]] = {
    "mfcc_linear": ({}, None),
    "mfcc_svm": ({}, None),
    "mfcc_rbf_svm": ({}, None),
    "mfcc_forest": ({}, None),
    "mfcc_mlp": ({}, 1e-3),
    "cnn_lstm": (_LEVEL, 2e-3),
    "cnn1d_descriptors": ({}, 2e-3),
    "crnn": (_LEVEL, 2e-3),
    "parallel_cnn_transformer": (_LEVEL, 1e-3),
    "cnn2d": (_LEVEL, 2e-3),
    "stacked_cnn_attention_lstm": (_LEVEL, 2e-3),
    "stacked_cnn_lstm": (_LEVEL, 2e-3),
    "parallel_cnn_attention_lstm": (_LEVEL, 2e-3),
    "se_resnet": (_LEVEL, 2e-3),
    "separable_resnet": (_LEVEL, 2e-3),
    "cnn1d": ({"normalization": "none"}, 1e-3),
}
FINAL = ("cnn1d", "cnn2d", "crnn", "se_resnet")
FINAL_SEEDS = [1, 2, 3]
# Accuracies published for such networks on this split (Laabh-Gupta/Sentimental-Analysis-Speech on
# GitHub).
PUBLISHED = {"cnn1d": "0.50-0.55", "cnn2d": "0.60-0.65", "crnn": "0.65-0.70"}
# Reports of earlier configurations on the test speakers, each scored once.
EARLIER = {"crnn": "ravdess_crnn.json"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", help="(default: 1; with --test 1 2 3)")
    parser.add_argument(
        "--only", nargs="+", default=list(NETWORKS), metavar="NAME", choices=NETWORKS
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/architectures"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument(
        "--test", nargs="*", metavar="NAME", help=f"score {', '.join(FINAL)} on the test speakers"
    )
    parser.add_argument(
        "--again", action="store_true", help="with --test: score again what has a score"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="with --test: override the recipe"
    )
    options = parser.parse_args()
    if unknown := set(options.test or ()) - set(FINAL):
        parser.error(
            f"unknown final configuration {', '.join(sorted(unknown))}; choose from "
            f"{', '.join(FINAL)}"
        )
    if options.again and options.test is None:
        parser.error("--again needs --test")
    try:
        if options.readme:
            pass
        elif options.test is not None:
            for name in options.test or FINAL:
                score(
                    name,
                    options.seeds or FINAL_SEEDS,
                    options.corpus_root,
                    options.runs,
                    options.results,
                    options.again,
                    options.set,
                )
        else:
            for seed in options.seeds or [1]:
                for name in (name for name in NETWORKS if name in options.only):
                    compare(
                        name,
                        seed,
                        options.epochs,
                        options.corpus_root,
                        options.runs,
                        options.results,
                    )
    except UserError as error:
        sys.exit(f"error: {error}")
    results = read(options.results)
    for epochs, networks in results.get("epochs", {}).items():
        print(f"\n{epochs} epochs, validation speakers\n\n{table(networks)}")
    if results.get("test"):
        print(f"\ntest speakers\n\n{test_table(results['test'])}")


def compare(name: str, seed: int, epochs: int, root: str, runs: Path, path: Path) -> None:
    """Run one network with one seed, or read its finished run, and save its row."""
    model, learning_rate = NETWORKS[name]
    training: dict[str, Any] = {"seeds": [seed]}
    # no crops for scikit-learn
    sections: dict[str, Any] = {"audio": {"trim_silence": TRIMMED["trim_silence"]}}
    if learning_rate is not None:
        sections = {}
        training |= {
            "learning_rate": learning_rate,
            "num_train_epochs": epochs,
            "per_device_train_batch_size": 16,
            "loss": {"label_smoothing": 0.1},
        }
    folder = runs / (
        f"{name}-seed{seed}" if learning_rate is None else f"{name}-{epochs}-epochs-seed{seed}"
    )
    report = run(recipe(root, folder, {"architecture": name, **model}, training, **sections))
    results = read(path)
    rows = results.setdefault("epochs", {}).setdefault(str(epochs), {}).setdefault(name, {})
    rows[str(seed)] = summary(report) | {"options": model, "learning_rate": learning_rate}
    write(path, results)
    print(f"{name}, seed {seed}: validation UAR {report['metrics']['uar']:.3f}", flush=True)


def score(
    name: str,
    seeds: list[int],
    root: str,
    runs: Path,
    path: Path,
    again: bool,
    changes: Sequence[str] = (),
) -> None:
    """Score a final configuration on the test speakers, once per seed."""
    from ser_hf.experiment.reading import read_recipe
    from ser_hf.utils.cache import key_of

    results = read(path)
    scored = results.setdefault("test", {}).setdefault(name, [])
    if scored and not again:
        print(
            f"{name}: already scored on the test speakers at "
            f"{scored[-1]['environment']['git_revision']}"
        )
        return
    # The number of the scoring is in the name, so that an interrupted scoring is resumed and counts
    # once.
    folder = runs / "final" / f"{name}-scoring{len(scored) + 1}"
    overrides = [f"corpus.root={root}", f"training.seeds={seeds}", f"output_dir={folder}", *changes]
    values = read_recipe(ROOT / "recipes" / f"ravdess_{name}.yaml", overrides).to_dict()
    if values["evaluation"]["part"] != "test":
        raise UserError(
            f"recipes/ravdess_{name}.yaml: evaluation.part is {values['evaluation']['part']}, not "
            "test"
        )
    settings = {key: value for key, value in values.items() if key != "output_dir"} | {
        "corpus": {key: value for key, value in values["corpus"].items() if key != "root"}
    }
    report = run(values)
    keys = (
        "metrics",
        "deviations",
        "intervals",
        "clip_intervals",
        "per_class",
        "seeds",
        "seconds",
        "model",
    )
    keys = tuple(key for key in keys if key in report)  # one seed has no deviation
    scored.append(
        {"scoring": len(scored) + 1, "configuration": key_of(settings), "recipe": settings}
        | {key: report[key] for key in (*keys, "environment")}
        | {"split": report["protocol"]["sha256"]}
    )
    write(path, results)


def table(networks: dict[str, dict[str, Any]]) -> str:
    """Format the rows as Markdown. Intervals resample speakers and clips; several seeds have their
    mean bounds.
    """
    several = max(len(runs) for runs in networks.values()) > 1
    lines = [
        "| network | parameters | UAR | 95 % interval | WA | macro-F1 | time per epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in NETWORKS if name in networks):
        runs = list(networks[name].values())
        uar, wa, f1 = (
            statistics.mean(row["metrics"][key] for row in runs)
            for key in ("uar", "wa", "macro_f1")
        )
        low, high = (
            statistics.mean(row["intervals"]["uar"][end] for row in runs) for end in (0, 1)
        )
        spread = (
            f" (sd {statistics.stdev(row['metrics']['uar'] for row in runs):.3f})"
            if len(runs) > 1
            else ""
        )
        seeds = f", {len(runs)} seed{'s' * (len(runs) > 1)}" if several else ""
        epoch = [row["seconds"]["per_epoch"] for row in runs if row["seconds"]["per_epoch"]]
        lines.append(
            f"| `{name}`{seeds} | {runs[0]['model']['parameters']:,} | {uar:.3f}{spread} | "
            f"{low:.3f} to {high:.3f} | "
            f"{wa:.3f} | {f1:.3f} | {f'{statistics.median(epoch):.1f} s' if epoch else ''} |"
        )
    return "\n".join(lines)


def test_table(scorings: dict[str, list[dict[str, Any]]]) -> str:
    """Format every scoring as Markdown, the latest of each network last."""
    lines = [
        "| network | scoring | UAR | sd over seeds | 95 % interval | WA | macro-F1 | published WA "
        "|",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in FINAL if name in scorings):
        earlier = []
        if name in EARLIER:
            earlier = [
                read(RESULTS.parent / EARLIER[name]) | {"scoring": f"earlier, `{EARLIER[name]}`"}
            ]
        for row in [*earlier, *scorings[name]]:
            metrics, (low, high) = row["metrics"], row["intervals"]["uar"]
            lines.append(
                f"| `{name}` | {row['scoring']} | {metrics['uar']:.3f} | {spread(row)} | "
                f"{low:.3f} to {high:.3f} | {metrics['wa']:.3f} | {metrics['macro_f1']:.3f} | "
                f"{PUBLISHED.get(name, '')} |"
            )
    return "\n".join(lines)


def spread(row: dict[str, Any]) -> str:
    """Format the standard deviation over seeds; empty for a single seed."""
    return f"{row['deviations']['uar']:.3f}" if row.get("deviations") else ""


if __name__ == "__main__":
    main()

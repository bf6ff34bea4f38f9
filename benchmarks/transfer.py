"""Measure the effect of pretraining: BYOL-S on RAVDESS, frozen and fine-tuned, and trained from
random weights.

    OMP_NUM_THREADS=1 python benchmarks/transfer.py --root data/RAVDESS --checkpoint
    weights/default512_BYOLAs64x96.pth
        [SETTING ...] [--folds 1 2 3 4 5 6] [--epochs 8] [--runs runs/transfer] [--readme]

Each of EmoBox's six folds of RAVDESS (`emobox/ravdess`) has four test speakers that are used
neither for training nor for validation. The frozen settings fit a logistic regression on the
embedding of the network; its regularization is selected on the validation speakers. The other two
settings train the whole network for `--epochs` with the same recipe, from pretrained or random
weights, and keep the epoch with the best validation UAR. Each run is a folder below `--runs`. The
same command resumes an interrupted run. Results are merged into benchmarks/results/transfer.json;
`--readme` prints its table without running anything.
"""

import argparse
import json
from pathlib import Path

import ser_hf

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "transfer.json"
FROZEN = ["training.solver=sklearn"]
# Tried for the pretrained network on the validation speakers of the first fold, with few epochs to
# save time.
TRAINED = [
    *("freeze.encoder=false", "training.solver=trainer", "audio.max_duration=2.5"),
    *(
        "training.learning_rate=1e-3",
        "training.lr_scheduler_type=one_cycle",
        "training.loss.label_smoothing=0.1",
    ),
    *(
        "training.per_device_train_batch_size=16",
        "training.train_sampling_strategy=group_by_length",
    ),
]
SETTINGS = {
    "frozen": FROZEN,
    "frozen-random": [*FROZEN, "model.random_init=true", "model.checkpoint=null"],
    "fine-tuned": TRAINED,
    "from-random": [*TRAINED, "model.random_init=true", "model.checkpoint=null"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--root", default="data/RAVDESS")
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.settings) - set(SETTINGS):
        parser.error(
            f"unknown setting {', '.join(sorted(unknown))}; choose from {', '.join(SETTINGS)}"
        )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for setting in [] if options.readme else options.settings:
        overrides = [
            f"corpus.root={options.root}",
            f"model.checkpoint={options.checkpoint}",
            f"protocol.folds={options.folds}",
            f"name=byols-{setting}",
            *SETTINGS[setting],
        ]
        if "training.solver=trainer" in overrides:
            overrides.append(f"training.num_train_epochs={options.epochs}")
        # The same folder for every call, so that a second call resumes the first.
        overrides.append(f"output_dir={options.runs / setting}")
        report = ser_hf.run_recipe(ROOT / "recipes" / "ravdess_byols.yaml", overrides, resume=True)
        results[setting] = summary(report.to_dict()) | {
            "overrides": SETTINGS[setting],
            "epochs": options.epochs,
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def summary(report: dict) -> dict:
    """Return the part of a report over folds that the table needs."""
    keys = ("metrics", "deviations", "intervals", "seconds", "environment", "protocol")
    row = {key: report[key] for key in keys if key in report}
    folds = row["protocol"]["folds"]
    row["folds"] = {
        number: {"test": fold["metrics"]["uar"], "validation": fold["validation"]["uar"]}
        for number, fold in folds.items()
    }
    row["protocol"] = {key: row["protocol"][key] for key in ("name", "sha256")}
    return row | {"pooled": report["pooled"]["metrics"]}


def table(results: dict) -> str:
    """Format the results as Markdown; the last column has the folds that all settings have in
    common.
    """
    common = sorted(set.intersection(*(set(row["folds"]) for row in results.values())))
    shared = f"UAR, folds {', '.join(common)}"
    lines = [
        f"| setting | folds | UAR | sd over folds | 95 % interval | WA | macro-F1 | {shared} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting, row in results.items():
        metrics, low, high = row["metrics"], *row["intervals"]["uar"]
        common_mean = sum(row["folds"][number]["test"] for number in common) / len(common)
        lines.append(
            f"| {setting} | {len(row['folds'])} | {metrics['uar']:.3f} | "
            f"{row['deviations']['uar']:.3f} | "
            f"{low:.3f} to {high:.3f} | {metrics['wa']:.3f} | {metrics['macro_f1']:.3f} | "
            f"{common_mean:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

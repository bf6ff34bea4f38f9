"""What pretraining is worth: BYOL-S on RAVDESS, frozen and fine-tuned, beside the same network from random numbers.

    OMP_NUM_THREADS=1 python benchmarks/transfer.py --root data/RAVDESS --checkpoint weights/default512_BYOLAs64x96.pth
        [WAY ...] [--folds 1 2 3 4 5 6] [--epochs 8] [--runs runs/transfer] [--readme]

EmoBox's six folds of RAVDESS (`emobox/ravdess`), each with four speakers that nothing was learnt or chosen from. The
frozen ways fit a logistic regression on the network's embedding, its strength chosen on the validation speakers; the
other two train all of the network for `--epochs`, by the same recipe but for the weights that it starts from, and keep
the epoch that validation prefers. Runs are folders under `--runs` and resumable: started again, the script goes on
where it was. What is done is merged into benchmarks/results/transfer.json; `--readme` prints its table, runs nothing.
"""

import argparse
import json
from pathlib import Path

import ser_hf

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "transfer.json"
FROZEN = ["training.solver=sklearn"]
# Tried on the validation speakers of the first fold, for the pretrained network; epochs are few for want of time.
LEARNT = [
    *("freeze.encoder=false", "training.solver=trainer", "audio.max_duration=2.5"),
    *("training.learning_rate=1e-3", "training.lr_scheduler_type=one_cycle", "training.loss.label_smoothing=0.1"),
    *("training.per_device_train_batch_size=16", "training.train_sampling_strategy=group_by_length"),
]
WAYS = {
    "frozen": FROZEN,
    "frozen-random": [*FROZEN, "model.random_init=true", "model.checkpoint=null"],
    "fine-tuned": LEARNT,
    "from-random": [*LEARNT, "model.random_init=true", "model.checkpoint=null"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=list(WAYS), metavar="WAY")
    parser.add_argument("--root", default="data/RAVDESS")
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.ways) - set(WAYS):
        parser.error(f"{', '.join(sorted(unknown))}: no such way; there are {', '.join(WAYS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for way in [] if options.readme else options.ways:
        overrides = [
            f"corpus.root={options.root}",
            f"model.checkpoint={options.checkpoint}",
            f"protocol.folds={options.folds}",
            f"name=byols-{way}",
            *WAYS[way],
        ]
        if "training.solver=trainer" in overrides:
            overrides.append(f"training.num_train_epochs={options.epochs}")
        # The folder is no part of what is compared, and named here so that a second call finds the first one's.
        overrides.append(f"output_dir={options.runs / way}")
        report = ser_hf.run_recipe(ROOT / "recipes" / "ravdess_byols.yaml", overrides, resume=True)
        results[way] = summary(report.to_dict()) | {"overrides": WAYS[way], "epochs": options.epochs}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def summary(report: dict) -> dict:
    """What a table needs of a report over folds."""
    keys = ("metrics", "deviations", "intervals", "seconds", "environment", "protocol")
    kept = {key: report[key] for key in keys if key in report}
    own = kept["protocol"]["folds"]
    kept["folds"] = {
        number: {"test": fold["metrics"]["uar"], "validation": fold["validation"]["uar"]}
        for number, fold in own.items()
    }
    kept["protocol"] = {key: kept["protocol"][key] for key in ("name", "sha256")}
    return kept | {"pooled": report["pooled"]["metrics"]}


def table(results: dict) -> str:
    """Markdown; the last column is of the folds that all ways have been run on."""
    common = sorted(set.intersection(*(set(row["folds"]) for row in results.values())))
    shared = f"UAR, folds {', '.join(common)}"
    lines = [
        f"| way | folds | UAR | sd over folds | 95 % interval | WA | macro-F1 | {shared} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, row in results.items():
        metrics, low, high = row["metrics"], *row["intervals"]["uar"]
        of_common = sum(row["folds"][number]["test"] for number in common) / len(common)
        lines.append(
            f"| {way} | {len(row['folds'])} | {metrics['uar']:.3f} | {row['deviations']['uar']:.3f} | "
            f"{low:.3f} to {high:.3f} | {metrics['wa']:.3f} | {metrics['macro_f1']:.3f} | {of_common:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

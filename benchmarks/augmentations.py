"""What each augmentation does to the validation UAR, alone and all together, on RAVDESS's fixed split.

    OMP_NUM_THREADS=1 python benchmarks/augmentations.py --corpus-root data/RAVDESS [--epochs 20] [--seeds 1 2 3]
        [--only "no augmentation" pitch gain] [--readme]

A shallow `cnn_lstm` learns from crops of 2.2 s, silence trimmed, for as many epochs each time; the baseline is without
SpecAugment too.
Seeds are paired: the same seed begins with the same weights, clips in the same order and crops at the same places, so
that differences to the baseline say more than the scores themselves. Only the validation speakers judge.

Two figures a run: the UAR of its best epoch, as a run reports it, and the mean over the last quarter of its epochs,
which is not the best of many draws and so moves less by chance.

Runs are folders under `--runs` and resumable: started again, the script goes on where it was. One seed comes after the
other, so that a script that is stopped has compared something. Rows are merged into
benchmarks/results/augmentations.json; `--readme` prints its table and runs nothing.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from fixed_split import TRIMMED, read, recipe, run, standard_error, summary, write

from ser_hf.audio.augmentation import Augmentation
from ser_hf.utils.errors import UserError

RESULTS = Path(__file__).parent / "results" / "augmentations.json"
BASELINE = "no augmentation"
NETWORK = {"architecture": "cnn_lstm", "normalization": "fixed", "time_masks": 0, "band_masks": 0}

# Steps on the waveform, each at its own range; half of the clips hear it.
STEPS = [name for name, step in vars(Augmentation()).items() if name != "mixup"]
# Of many steps at once a clip is to hear two or three.
SHARE_OF_ALL = 0.2
SPEC_AUGMENT = {"time_masks": 2, "time_width": 12, "band_masks": 2, "band_width": 6}
INSIDE = {
    "SpecAugment": SPEC_AUGMENT,
    "band_warp": {"band_warp": 0.1},
    "time_stretch": {"time_stretch": 0.1},
    "mix_style": {"mix_style": 0.5},
}


def ways() -> dict[str, dict[str, Any]]:
    """Name -> sections of the recipe that differ from the baseline's, `model` by keys."""
    partners = {"mixup, any speaker": "any", "mixup, same speaker": "same", "mixup, other speakers": "other"}
    mixups = {name: {"augment": {"mixup": {"probability": 0.5, "speakers": who}}} for name, who in partners.items()}
    together = {name: {"probability": SHARE_OF_ALL} for name in STEPS}
    together |= {"mixup": {"probability": 0.5}}
    return {
        BASELINE: {},
        "whole clips": {"audio": {"trim_silence": TRIMMED["trim_silence"]}},
        "whole clips with their silence": {"audio": {}},
        **{name: {"augment": {name: {"probability": 0.5}}} for name in STEPS},
        **mixups,
        **{name: {"model": keys} for name, keys in INSIDE.items()},
        "all inside the network": {"model": _joined(INSIDE)},
        "all together": {"augment": together, "model": _joined(INSIDE)},
    }


def _joined(keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {key: value for own in keys.values() for key, value in own.items()}


def main() -> None:
    known = ways()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", default=list(known), metavar="NAME", choices=known)
    parser.add_argument("--runs", type=Path, default=Path("runs/augmentations"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    for seed in [] if options.readme else options.seeds:
        for name in (name for name in known if name in options.only):
            try:
                measure(name, known[name], seed, options)
            except UserError as error:
                sys.exit(f"error: {error}")
    for epochs, rows in read(options.results).get("epochs", {}).items():
        print(f"\n{epochs} epochs\n\n{table(rows)}")


def measure(name: str, sections: dict[str, Any], seed: int, options: argparse.Namespace) -> None:
    """Runs one way with one seed, or reads its run, and keeps its row."""
    training = {
        "seeds": [seed],
        "learning_rate": 2e-3,
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": 16,
        "loss": {"label_smoothing": 0.1},
    }
    word = name.replace(",", "").replace(" ", "-")
    folder = options.runs / f"{word}-{options.epochs}-epochs-seed{seed}"
    others = {key: value for key, value in sections.items() if key != "model"}
    values = recipe(options.corpus_root, folder, NETWORK | sections.get("model", {}), training, **others)
    report = run(values)
    results = read(options.results)
    rows = results.setdefault("epochs", {}).setdefault(str(options.epochs), {}).setdefault(name, {})
    rows[str(seed)] = summary(report) | {"settings": sections}
    write(options.results, results)
    print(f"{name}, seed {seed}: validation UAR {report['metrics']['uar']:.3f}", flush=True)


def settled(run: dict[str, Any]) -> float:
    """Mean UAR of the last quarter of the epochs."""
    scores = run["validation_uar"]
    return statistics.mean(scores[-max(1, len(scores) // 4) :])


def best(run: dict[str, Any]) -> float:
    return run["metrics"]["uar"]


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown, and what chance there is in it."""
    lines = [
        "| augmentation | seeds | UAR of the best epoch | sd | difference | UAR of the last epochs | sd | difference "
        "| an epoch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    baseline = rows.get(BASELINE, {})
    for name in (name for name in ways() if name in rows):
        cells = []
        for figure in (best, settled):
            scores = {seed: figure(run) for seed, run in rows[name].items()}
            paired = [score - figure(baseline[seed]) for seed, score in scores.items() if seed in baseline]
            cells += [f"{statistics.mean(scores.values()):.3f}", _deviation(list(scores.values()))]
            cells.append("" if name == BASELINE else difference(paired))
        seconds = statistics.median(run["seconds"]["per_epoch"] for run in rows[name].values())
        lines.append(f"| {name} | {len(rows[name])} | {' | '.join(cells)} | {seconds:.1f} s |")
    runs = list(baseline.values()) or [run for own in rows.values() for run in own.values()]
    error = statistics.mean(standard_error(run["per_class"]) for run in runs)
    clips = sum(row["support"] for row in runs[0]["per_class"].values())
    lines += [
        "",
        f"Differences to the baseline are means over seeds, with their standard error. {clips} validation clips "
        f"alone give the UAR of one run a standard error of {error:.3f}, of which a difference on the same clips "
        "keeps a part; four speakers say little of other speakers.",
    ]
    return "\n".join(lines)


def difference(paired: list[float]) -> str:
    """Mean and its standard error of what each seed differs by."""
    if not paired:
        return ""
    error = f" ± {statistics.stdev(paired) / len(paired) ** 0.5:.3f}" if len(paired) > 1 else ""
    return f"{statistics.mean(paired):+.3f}{error}"


def _deviation(values: list[float]) -> str:
    return f"{statistics.stdev(values):.3f}" if len(values) > 1 else ""


if __name__ == "__main__":
    main()

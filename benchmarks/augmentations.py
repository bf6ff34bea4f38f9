"""Measure the effect of each augmentation on the validation UAR, alone and all together, on
RAVDESS's fixed split.

    OMP_NUM_THREADS=1 python benchmarks/augmentations.py --corpus-root data/RAVDESS [--epochs 20]
    [--seeds 1 2 3]
        [--only "no augmentation" pitch gain] [--folder music=data/musan/music] [--readme]

A shallow `cnn_lstm` is trained on crops of 2.2 s without silence for the same number of epochs. The
baseline has no augmentation, not even SpecAugment. Runs with the same seed are paired: they start
from the same weights and have the same order of clips and the same crops. Their difference is
therefore less noisy than their scores. All runs are evaluated on the validation speakers only.

Each run has two figures: the UAR of its best epoch, which is the one that a report has, and the
mean UAR of the last quarter of its epochs. The mean is not the best of many epochs, so it varies
less by chance.

A step that adds recordings, such as `music`, runs with a folder only: `--folder STEP=FOLDER`.

Each run is a folder below `--runs`. The same command resumes an interrupted run. All settings are
run with the first seed before the second seed begins. Rows are merged into
benchmarks/results/augmentations.json; `--readme` prints its table without running anything.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fixed_split import TRIMMED, read, recipe, run, standard_error, summary, write

from ser_hf.audio.augmentation import Augmentation, RecordedSound
from ser_hf.utils.errors import UserError

RESULTS = Path(__file__).parent / "results" / "augmentations.json"
BASELINE = "no augmentation"
NETWORK = {"architecture": "cnn_lstm", "normalization": "fixed", "time_masks": 0, "band_masks": 0}

# Steps on the waveform with their default range; each changes half of the clips.
STEPS = [name for name in Augmentation.model_fields if name != "mixup"]
NEED_FOLDER = [name for name in STEPS if isinstance(getattr(Augmentation(), name), RecordedSound)]
# Where all steps are active, two or three of them change a clip.
SHARE_OF_ALL = 0.2
SPEC_AUGMENT = {"time_masks": 2, "time_width": 12, "band_masks": 2, "band_width": 6}
NETWORK_OPTIONS = {
    "SpecAugment": SPEC_AUGMENT,
    "band_warp": {"band_warp": 0.1},
    "time_stretch": {"time_stretch": 0.1},
    "mix_style": {"mix_style": 0.5},
}


def settings(folders: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return name -> sections of the recipe that differ from the baseline, `model` by keys.

    Args:
        folders: step -> its folder of recordings; other steps that need a folder are left out.
    """
    steps = {}
    for name in STEPS:
        if name in folders:
            steps[name] = {"folder": folders[name]}
        elif name not in NEED_FOLDER:
            steps[name] = {}
    together = {name: keys | {"probability": SHARE_OF_ALL} for name, keys in steps.items()}
    together |= {"mixup": {"probability": 0.5}}
    return {
        BASELINE: {},
        "whole clips": {"audio": {"trim_silence": TRIMMED["trim_silence"]}},
        "whole clips with their silence": {"audio": {}},
        **{name: {"augment": {name: keys | {"probability": 0.5}}} for name, keys in steps.items()},
        "mixup, any speaker": {"augment": {"mixup": {"probability": 0.5}}},
        **{name: {"model": keys} for name, keys in NETWORK_OPTIONS.items()},
        "all inside the network": {"model": _merged(NETWORK_OPTIONS)},
        "all together": {"augment": together, "model": _merged(NETWORK_OPTIONS)},
    }


def _merged(keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {key: value for options in keys.values() for key, value in options.items()}


def step_and_folder(text: str) -> tuple[str, str]:
    """Read an argument STEP=FOLDER."""
    step, _, folder = text.partition("=")
    if step not in NEED_FOLDER or not folder:
        raise argparse.ArgumentTypeError(
            f"expected STEP=FOLDER with one of {', '.join(NEED_FOLDER)}, got {text!r}"
        )
    return step, folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--folder", nargs="+", default=[], type=step_and_folder, metavar="STEP=FOLDER"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/augmentations"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    all_settings = settings(dict(options.folder))
    unknown = [name for name in options.only or () if name not in all_settings]
    if unknown:
        parser.error(f"--only: {unknown[0]!r} is none of {', '.join(all_settings)}")
    if not options.readme:
        chosen = [name for name in all_settings if name in (options.only or all_settings)]
        try:
            for seed in options.seeds:
                for name in chosen:
                    measure(name, all_settings[name], seed, options)
        except UserError as error:
            sys.exit(f"error: {error}")
    for epochs, rows in read(options.results).get("epochs", {}).items():
        print(f"\n{epochs} epochs\n\n{table(rows)}")


def measure(name: str, sections: dict[str, Any], seed: int, options: argparse.Namespace) -> None:
    """Run one setting with one seed, or read its finished run, and save its row."""
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
    values = recipe(
        options.corpus_root, folder, NETWORK | sections.get("model", {}), training, **others
    )
    report = run(values)
    results = read(options.results)
    rows = results.setdefault("epochs", {}).setdefault(str(options.epochs), {}).setdefault(name, {})
    rows[str(seed)] = summary(report) | {"settings": sections}
    write(options.results, results)
    print(f"{name}, seed {seed}: validation UAR {report['metrics']['uar']:.3f}", flush=True)


def late_mean(run: dict[str, Any]) -> float:
    """Return the mean UAR of the last quarter of the epochs."""
    scores = run["validation_uar"]
    return statistics.mean(scores[-max(1, len(scores) // 4) :])


def best(run: dict[str, Any]) -> float:
    return run["metrics"]["uar"]


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Format the rows as Markdown, with a note on their standard error."""
    lines = [
        "| augmentation | seeds | UAR of the best epoch | sd | difference "
        "| UAR of the last epochs | sd | difference | time per epoch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    baseline = rows.get(BASELINE, {})
    for name in settings(dict.fromkeys(NEED_FOLDER, "")):
        if name not in rows:
            continue
        cells = []
        for figure in (best, late_mean):
            scores = {seed: figure(run) for seed, run in rows[name].items()}
            paired = [
                score - figure(baseline[seed]) for seed, score in scores.items() if seed in baseline
            ]
            cells += [f"{statistics.mean(scores.values()):.3f}", _deviation(list(scores.values()))]
            cells.append("" if name == BASELINE else difference(paired))
        seconds = statistics.median(run["seconds"]["per_epoch"] for run in rows[name].values())
        lines.append(f"| {name} | {len(rows[name])} | {' | '.join(cells)} | {seconds:.1f} s |")
    runs = list(baseline.values()) or [run for seeds in rows.values() for run in seeds.values()]
    error = statistics.mean(standard_error(run["per_class"]) for run in runs)
    clips = sum(row["support"] for row in runs[0]["per_class"].values())
    lines += [
        "",
        "Differences from the baseline are means over seeds with their standard error. "
        f"The UAR of one run on {clips} validation clips has a standard error of {error:.3f}. "
        "The error of a difference on the same clips is smaller. "
        "Four speakers are too few to generalize to other speakers.",
    ]
    return "\n".join(lines)


def difference(paired: list[float]) -> str:
    """Format the mean of the paired differences and its standard error."""
    if not paired:
        return ""
    error = f" ± {statistics.stdev(paired) / len(paired) ** 0.5:.3f}" if len(paired) > 1 else ""
    return f"{statistics.mean(paired):+.3f}{error}"


def _deviation(values: list[float]) -> str:
    return f"{statistics.stdev(values):.3f}" if len(values) > 1 else ""


if __name__ == "__main__":
    main()

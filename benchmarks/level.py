"""Measure what recordings whose speakers stand decibels apart cost, and which treatment repairs it,
on EMO-DB.

    OMP_NUM_THREADS=1 python benchmarks/level.py --root data/EMO-DB --checkpoint
    weights/default512_BYOLAs64x96.pth
        [--models mfcc_linear byols ...] [--treatments none loudness ...] [--seeds 1 2 3] [--readme]
    OMP_NUM_THREADS=1 python benchmarks/level.py --spread ravdess=data/RAVDESS emodb=data/EMO-DB

Four speakers of EMO-DB who have all seven emotions, two women and two men, are tested one at a
time; one of the other three is for validation, two are for training. Their clips are `untouched`,
or `gained`: a constant gain per speaker, drawn from -30 to 0 dB with the seed of the training. The
copies are written in float to a temporary folder. EMO-DB is development data here: the cells may be
scored as often as needed. `default` is what a recipe without `audio.level` does. `--epochs` caps
the epochs of trained networks.

Each cell (model, clips, treatment, seed) is a run over four folds in a folder below `--runs`. The
same command repeats an interrupted cell, and skips those that benchmarks/results/level.json has.
All cells are run with the first seed before the second seed begins. `--readme` prints the table
without running anything. `--spread` prints how much of the variance of the loudness of whole
corpora the speaker explains beyond emotions, by which `audio.level: auto` chooses.
"""

import argparse
import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fixed_split import read, write

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.level import level_shares
from ser_hf.experiment.reading import read_recipe

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "level.json"
SPEAKERS = ("11", "14", "15", "16")
LOWEST_GAIN = -30.0
MODELS = {
    "mfcc_linear": "ravdess_mfcc_linear",
    "mfcc_svm": "ravdess_mfcc_linear",
    "byols": "ravdess_byols",
    "se_resnet": "emodb_se_resnet",
    "crnn": "emodb_crnn",
}
FROM_SCRATCH = ("se_resnet", "crnn")
TREATMENTS = {
    "none": ["audio.level=null"],
    "loudness": ["audio.level=loudness"],
    "peak": ["audio.level=peak"],
    "clip normalization": ["audio.level=null", "model.normalization=clip"],
    "gain augmentation": [
        "audio.level=null",
        "augment.gain={probability: 1.0, decibels: [-15, 15]}",
    ],
    "default": [],
}
# MFCCs have no normalization, crnn has that of the clip anyway, and scikit-learn fits clips as they
# are.
IMPOSSIBLE = {(model, "clip normalization") for model in ("mfcc_linear", "mfcc_svm", "crnn")}
IMPOSSIBLE |= {(model, "gain augmentation") for model in ("mfcc_linear", "mfcc_svm", "byols")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("data/EMO-DB"))
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument(
        "--clips", nargs="+", default=["gained", "untouched"], choices=["gained", "untouched"]
    )
    parser.add_argument("--treatments", nargs="+", default=list(TREATMENTS), choices=TREATMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=Path, default=Path("runs/level"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--spread", nargs="+", default=[], metavar="CORPUS=FOLDER")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    for name, _, root in (pair.partition("=") for pair in options.spread):
        print(spread(name, root), flush=True)
    for seed in [] if options.readme or options.spread else options.seeds:
        for model in (name for name in MODELS if name in options.models):
            for clips in options.clips:
                for treatment in (name for name in TREATMENTS if name in options.treatments):
                    if (model, treatment) not in IMPOSSIBLE:
                        measure(model, clips, treatment, seed, options)
    if not options.spread:
        print(table(read(options.results).get("cells", {})))


def measure(model: str, clips: str, treatment: str, seed: int, options: argparse.Namespace) -> None:
    """Run one cell and save its row; a saved one is not run again."""
    key = "/".join([model, clips, treatment, str(seed)])
    if key in read(options.results).get("cells", {}):
        return
    overrides = [
        *TREATMENTS[treatment],
        f"training.seeds=[{seed}]",
        f"output_dir={options.runs / key}",
        "name=level",
    ]
    overrides += [
        "protocol={name: leave_one_speaker_out, validation: 0.3}",
        "evaluation.bootstrap=100",
    ]
    if model in FROM_SCRATCH:
        overrides.append(f"training.num_train_epochs={options.epochs}")
    if model == "mfcc_svm":
        overrides.append("model.architecture=mfcc_svm")
    if model == "byols":
        overrides.append(f"model.checkpoint={options.checkpoint}")
    with tempfile.TemporaryDirectory() as folder:
        gains = write_copies(options.root, Path(folder), seed if clips == "gained" else None)
        overrides.append(f"corpus={{name: emodb, root: '{folder}'}}")
        overrides.append(f"audio.cache_dir={folder}/cache")
        report = ser_hf.run_recipe(
            ROOT / "recipes" / f"{MODELS[model]}.yaml", overrides, overwrite=True
        )
    shutil.rmtree(options.runs / key)
    folds = {number: fold.metrics["uar"] for number, fold in report.protocol.folds.items()}
    row: dict[str, Any] = {"uar": report.metrics["uar"], "folds": folds, "gains": gains}
    row |= {
        "epochs": options.epochs if model in FROM_SCRATCH else None,
        "preparation": report.model.preparation,
    }
    row |= {"seconds": report.seconds.training, "git_revision": report.environment.git_revision}
    results = read(options.results)
    results.setdefault("cells", {})[key] = row
    write(options.results, results)
    print(f"{key}: UAR {row['uar']:.3f}", flush=True)


def write_copies(root: Path, folder: Path, seed: int | None) -> dict[str, float]:
    """Write the clips of the four speakers as float WAV, with gains drawn with `seed`, and return
    the gains in dB.
    """
    rng = random.Random(seed)
    gains = {
        speaker: 0.0 if seed is None else rng.uniform(LOWEST_GAIN, 0.0) for speaker in SPEAKERS
    }
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix in (".wav", ".flac") and path.name[:2] in gains
    ]
    for path in files:
        samples, rate = soundfile.read(path, dtype="float32")
        scaled = samples * np.float32(10 ** (gains[path.name[:2]] / 20))
        soundfile.write(folder / f"{path.stem}.wav", scaled, rate, subtype="FLOAT")
    return gains


def table(cells: dict[str, dict[str, Any]]) -> str:
    """Format the cells as Markdown: the mean UAR over folds and seeds, and its difference from
    untouched clips.
    """
    lines = [
        "| model | treatment | seeds | untouched | gained | gained, minus untouched without "
        "treatment |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for model in MODELS:
        for treatment in TREATMENTS:
            scores = {
                clips: _scores(cells, model, clips, treatment) for clips in ("untouched", "gained")
            }
            reference = _scores(cells, model, "untouched", "none")
            paired = [
                score - reference[seed]
                for seed, score in scores["gained"].items()
                if seed in reference
            ]
            if any(scores.values()):
                means = [
                    f"{statistics.mean(own.values()):.3f}" if own else "" for own in scores.values()
                ]
                seeds = " / ".join(str(len(own)) for own in scores.values())
                error = (
                    f" ± {statistics.stdev(paired) / len(paired) ** 0.5:.3f}"
                    if len(paired) > 1
                    else ""
                )
                lost = f"{statistics.mean(paired):+.3f}{error}" if paired else ""
                lines.append(f"| {model} | {treatment} | {seeds} | {' | '.join(means)} | {lost} |")
    return "\n".join(lines)


def _scores(cells: dict[str, dict[str, Any]], *key: str) -> dict[str, float]:
    """The UAR of each seed."""
    prefix = "/".join(key) + "/"
    return {
        name.removeprefix(prefix): row["uar"]
        for name, row in cells.items()
        if name.startswith(prefix)
    }


def spread(name: str, root: str) -> str:
    """Describe which share of the variance of loudness a corpus's speakers explain beyond emotions;
    above 50 % in each fold, `auto` is loudness.
    """
    values = {
        "corpus": {"name": name, "root": root},
        "protocol": {"name": "leave_one_speaker_out", "near_duplicates": "skip"},
        "audio": {"level": None},
        "model": {"architecture": "mfcc_linear"},
    }
    data = load_experiment_data(read_recipe(values))
    shares = level_shares(data.dataset, data.store, [fold.split for fold in data.folds])
    return (
        f"{name}: beyond its emotion, the speaker explains {min(shares):.1%} of the variance of "
        f"the clips' loudness, or more in other folds"
    )


if __name__ == "__main__":
    main()

"""Compare the seconds of an epoch with and without `freeze.cache`, for a frozen encoder or layers.

    OMP_NUM_THREADS=1 python benchmarks/frozen_cache.py [NAME ...] [--clips 8] [--seconds 3]
    [--epochs 2] [--readme]

The encoder has the configuration of wav2vec2-base and random weights, and the clips are noise,
since neither time nor size depends on their values. Each setting trains with
`ser_hf.training.fit.fit`, as a recipe does, once with the store of features and once without, in
one process. The first epoch of each training is not counted. `with_evaluation` is an epoch with
validation (two clips) and checkpoint; on a CPU it is processor time, which other processes hardly
affect. `epoch` is the wall time of the training alone, as in reports, and `build_seconds` the wall
time in which the store is computed. `loss_difference` is the largest relative difference of the
losses of an epoch; dropout is off, so that they can be compared. Results are merged into
benchmarks/results/frozen_cache.json; `--readme` prints the table of that file without measuring.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from datasets import ClassLabel, Dataset
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

from ser_hf.audio import open_store
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.experiment.sections import environment_section
from ser_hf.training.arguments import training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.feature_cache import FeatureCaching
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing, freeze
from ser_hf.training.settings import TrainerSettings

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

RESULTS = Path(__file__).parent / "results" / "frozen_cache.json"
RATE = 16000
CLASSES = 6
# What is frozen, and whether the head sums all hidden states.
DEPTHS = {
    "encoder frozen, all hidden states": (Freezing(encoder=True), True),
    "encoder frozen, the last hidden state": (Freezing(encoder=True), False),
    "nine of twelve layers frozen": (Freezing(top_layers=3), False),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(DEPTHS), metavar="NAME")
    parser.add_argument("--clips", type=int, default=8, help="number of training clips")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(DEPTHS):
        parser.error(
            f"unknown setting {', '.join(sorted(unknown))}; choose from {', '.join(DEPTHS)}"
        )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"depths": {}}
    if not options.readme:
        for name in options.names:
            results["depths"][name] = measure(*DEPTHS[name], options)
            print(name, results["depths"][name], flush=True)
            results["environment"] = environment_section().to_dict()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["depths"]))


def measure(freezing: Freezing, summed: bool, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = _noise(folder, options.clips + 2, round(options.seconds * RATE))
        uncached = _train(freezing, summed, options, folder / "uncached", store, None)
        cached = _train(
            freezing, summed, options, folder / "cached", store, FeatureCaching(freezing, folder)
        )
    uncached.pop("cache")
    cache = cached.pop("cache")
    return {
        "uncached": uncached,
        "cached": cached,
        "ratio": uncached["with_evaluation"] / cached["with_evaluation"],
        "ratio_wall_time": uncached["epoch"] / cached["epoch"],
        "loss_difference": _difference(uncached.pop("losses"), cached.pop("losses")),
        "build_seconds": cache.seconds,
        "store_mb": cache.bytes / 1e6,
        "clips": options.clips,
        "clip_seconds": options.seconds,
        "batch": options.batch,
        "epochs": options.epochs,
        "threads": torch.get_num_threads(),
    }


def _noise(folder: Path, clips: int, samples: int):
    generator = np.random.default_rng(0)
    sources = []
    for i in range(clips):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(samples), RATE)
        sources.append({"path": str(path), "bytes": None})
    return open_store(sources, RATE, folder)


def _train(
    freezing: Freezing, summed: bool, options, folder: Path, store, cache: FeatureCaching | None
) -> dict:
    """Return the median seconds of an epoch without and with evaluation, and what is known of the
    store.
    """
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        num_labels=CLASSES,
        layerdrop=0.0,
        mask_time_prob=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        use_weighted_layer_sum=summed,
    )
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    labels = Dataset.from_dict({"label": [i % CLASSES for i in range(len(store))]})
    labels = labels.cast_column("label", ClassLabel(num_classes=CLASSES))
    settings = {
        "num_train_epochs": 1 + options.epochs,
        "per_device_train_batch_size": options.batch,
    }
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    logged: list[float] = []
    model = Wav2Vec2ForSequenceClassification(config)
    freeze(model, freezing)
    fitted = fit(
        model,
        extractor,
        store,
        clip_table(labels, range(options.clips), store),
        clip_table(labels, range(options.clips, len(store)), store),
        training_arguments(DEFAULTS | settings, folder, 0, padding_safe=False, progress=False),
        compute_metrics,
        watch=lambda *_: logged.append(clock()),
        cache=cache,
    )
    return {
        "epoch": statistics.median(fitted.epoch_seconds[1:]),
        "with_evaluation": statistics.median(np.diff(logged).tolist()),
        "losses": [entry["train_loss"] for entry in fitted.history],
        "cache": fitted.cached,
    }


def _difference(expected: list[float], measured: list[float]) -> float:
    """The largest relative difference of two lists of losses."""
    differences = np.abs(np.subtract(measured, expected)) / np.abs(expected)
    return float(differences.max())


def table(depths: dict) -> str:
    lines = [
        "| frozen and cached | epoch without cache | with cache | ratio | ratio of wall times | "
        "largest difference of losses | store | computed in |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, row in depths.items():
        seconds = " | ".join(
            f"{row[way]['with_evaluation']:.2f} s" for way in ("uncached", "cached")
        )
        difference = f"{row['loss_difference']:.0e}" if "loss_difference" in row else "not measured"
        size = f"{row['store_mb']:.1f} MB | {row['build_seconds']:.1f} s"
        lines.append(
            f"| {name} | {seconds} | {row['ratio']:.1f} x | {row['ratio_wall_time']:.1f} x | "
            f"{difference} | {size} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

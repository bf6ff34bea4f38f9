"""What caching the frozen part is worth by depth: seconds of an epoch with `freeze.cache` and without, side by side.

    OMP_NUM_THREADS=1 python benchmarks/frozen_cache.py [NAME ...] [--clips 8] [--seconds 3] [--epochs 2] [--readme]

The encoder has the configuration of wav2vec2-base and random weights, the clips are noise: neither time nor size
depends on their values. Each depth trains by `ser_hf.training.fit.fit` as a recipe does, once with the store and once
without, in one process; the first epoch of either is not counted. `whole` is an epoch with validation (two clips) and
checkpoint; on a CPU it is time of the processor, so that other work on the machine counts for little. `epoch` is the
training alone by the clock, as reports have it, and `building`, by the clock too, is what the store took. Results are
merged into benchmarks/results/frozen_cache.json; `--readme` prints the table of that file and measures nothing.
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
from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.data import part
from ser_hf.training.feature_cache import FeatureCaching
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing
from ser_hf.utils.environment import environment

RESULTS = Path(__file__).parent / "results" / "frozen_cache.json"
RATE, CLASSES = 16000, 6
# What is frozen, and whether the head sums all hidden states.
DEPTHS = {
    "encoder frozen, all hidden states": (Freezing(encoder=True), True),
    "encoder frozen, the last hidden state": (Freezing(encoder=True), False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(DEPTHS), metavar="NAME")
    parser.add_argument("--clips", type=int, default=8, help="that are learnt from")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(DEPTHS):
        parser.error(f"{', '.join(sorted(unknown))}: no such depth; there are {', '.join(DEPTHS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"depths": {}}
    if not options.readme:
        for name in options.names:
            results["depths"][name] = measure(*DEPTHS[name], options)
            print(name, results["depths"][name], flush=True)
            results["environment"] = environment()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["depths"]))


def measure(freezing: Freezing, summed: bool, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = _noise(folder, options.clips + 2, round(options.seconds * RATE))
        anew = _train(freezing, summed, options, folder / "anew", store, None)
        cached = _train(freezing, summed, options, folder / "cached", store, FeatureCaching(freezing, folder))
    facts = anew.pop("facts") or cached.pop("facts")
    return {
        "anew": anew,
        "cached": cached,
        "ratio": anew["whole"] / cached["whole"],
        "ratio_by_the_clock": anew["epoch"] / cached["epoch"],
        "building": facts["seconds"],
        "store_mb": facts["bytes"] / 1e6,
        "clips": options.clips,
        "clip_seconds": options.seconds,
        "batch": options.batch,
        "epochs": options.epochs,
        "threads": torch.get_num_threads(),
    }


def _noise(folder: Path, clips: int, samples: int):
    generator, sources = np.random.default_rng(0), []
    for i in range(clips):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(samples), RATE)
        sources.append({"path": str(path), "bytes": None})
    return open_store(sources, RATE, folder)


def _train(freezing: Freezing, summed: bool, options, folder: Path, store, cache: FeatureCaching | None) -> dict:
    """Median seconds of an epoch's training and of a whole one, and what the store says of itself."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(num_labels=CLASSES, layerdrop=0.0, mask_time_prob=0.0, use_weighted_layer_sum=summed)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    labels = Dataset.from_dict({"label": [i % CLASSES for i in range(len(store))]})
    labels = labels.cast_column("label", ClassLabel(num_classes=CLASSES))
    settings = {"num_train_epochs": 1 + options.epochs, "per_device_train_batch_size": options.batch}
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    logged: list[float] = []
    fitted = fit(
        Wav2Vec2ForSequenceClassification(config),
        extractor,
        store,
        part(labels, range(options.clips), store),
        part(labels, range(options.clips, len(store)), store),
        training_arguments(HOUSE_DEFAULTS | settings, folder, 0, padding_safe=False, progress=False),
        trainer_metrics,
        freezing=freezing,
        watch=lambda *_: logged.append(clock()),
        cache=cache,
    )
    return {
        "epoch": statistics.median(fitted.epoch_seconds[1:]),
        "whole": statistics.median(np.diff(logged).tolist()),
        "facts": fitted.cached,
    }


def table(depths: dict) -> str:
    lines = ["| frozen and cached | an epoch anew | cached | ratio | by the clock | store | built in |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, row in depths.items():
        times = f"{row['anew']['whole']:.2f} s | {row['cached']['whole']:.2f} s | {row['ratio']:.1f} x"
        size = f"{row['store_mb']:.1f} MB | {row['building']:.1f} s"
        lines.append(f"| {name} | {times} | {row['ratio_by_the_clock']:.1f} x | {size} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

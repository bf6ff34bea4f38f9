"""Compare a frozen encoder computed once to one computed each epoch: part c of `throughput.py`."""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import Dataset
from fixed_split import CROP
from side_by_side import encoder_config, row
from transformers import Wav2Vec2FeatureExtractor

import ser_hf

ACTORS = 8
PARTS = {"train": ["1-6"], "validation": ["7"], "test": ["8"]}


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Seconds of training per epoch, of epochs with validation and checkpoint, and of the run;
    training clips.
    """

    training: float
    with_evaluation: list[float]
    run: float
    clips: int


def frozen_cache(options: argparse.Namespace) -> list[dict]:
    """Run a recipe with and without `freeze.cache` on one clip of each emotion of eight of
    RAVDESS's actors.

    The time of an epoch is the median of the report, without validation and checkpoint. The cached
    run has more epochs, because they are fast. Its total duration includes the computation of the
    cache.
    """
    dataset = ser_hf.load_corpus("ravdess", options.corpus_root)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _link(dataset, folder / "corpus")
        encoder_config(options.quick).save_pretrained(folder / "encoder")
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(
            folder / "encoder"
        )
        runs = [
            [
                _epochs(folder / f"{repeat}", folder, cached, 6 if cached else 3)
                for cached in (True, False)
            ]
            for repeat in range(options.repeats)
        ]
    training, evaluated = (
        [{"seconds": [measure(pair[i]) for pair in runs]} for i in (0, 1)]
        for measure in (
            lambda one: one.training,
            lambda one: statistics.median(one.with_evaluation),
        )
    )
    against = "computing it in each epoch"
    clips = runs[0][0].clips
    lines = [
        row("frozen encoder, cached", against, clips, *training, 10.0),
        row("the same, with validation and checkpoint", against, clips, *evaluated),
    ]
    lines[0] |= {
        "seconds_of_run": [cached.run for cached, _ in runs],
        "epochs": 6,
        "seconds_of_run_against": [uncached.run for _, uncached in runs],
        "epochs_against": 3,
    }
    return lines


def _link(dataset: Dataset, folder: Path) -> None:
    """Link the first clip of each emotion of each actor into a small corpus."""
    linked = set()
    for speaker, label, audio in zip(
        dataset["speaker"][:], dataset["label"][:], dataset["audio"][:], strict=True
    ):
        actor = int(speaker.partition(":")[2])
        if actor <= ACTORS and (actor, label) not in linked:
            linked.add((actor, label))
            path = Path(audio["path"]).resolve()
            (folder / f"Actor_{actor:02d}").mkdir(parents=True, exist_ok=True)
            (folder / f"Actor_{actor:02d}" / path.name).symlink_to(path)


def _epochs(output: Path, folder: Path, cache: bool, epochs: int) -> Epochs:
    logged: list[float] = []
    began = time.perf_counter()
    name = "cached" if cache else "uncached"
    report = ser_hf.run_recipe(
        {
            "name": name,
            "output_dir": str(output / name),
            "corpus": {"name": "ravdess", "root": str(folder / "corpus")},
            "protocol": {"name": "speaker_independent", "near_duplicates": "skip"} | PARTS,
            "audio": {"max_duration": CROP, "cache_dir": str(output / "prepared")},
            "model": {
                "architecture": "encoder",
                "checkpoint": str(folder / "encoder"),
                "random_init": True,
            },
            "freeze": {"encoder": True, "cache": cache},
            "training": {"num_train_epochs": epochs, "learning_rate": 1e-3, "seeds": [1]},
            "evaluation": {"part": "validation", "bootstrap": 10},
        },
        watch=lambda *_: logged.append(time.perf_counter()),
    )
    run = time.perf_counter() - began
    clips = report.protocol.parts["train"].clips
    return Epochs(report.seconds.per_epoch, np.diff(logged).tolist(), run, clips)

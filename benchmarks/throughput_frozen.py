"""What is frozen, computed once or in each epoch: part c of `throughput.py`."""

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
    """Seconds of an epoch's training, of whole epochs with validation and checkpoint, and of the run; clips."""

    training: float
    whole: list[float]
    run: float
    clips: int


def frozen_cache(options: argparse.Namespace) -> list[dict]:
    """The same recipe with `freeze.cache` and without, on a clip of each emotion of eight of RAVDESS's actors.

    An epoch is the report's median, its validation and checkpoint apart. The cached run has more of them, as it has
    the time, and its whole duration has the cache's making in it.
    """
    dataset = ser_hf.load_corpus("ravdess", options.corpus_root)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _link(dataset, folder / "corpus")
        encoder_config(options.quick).save_pretrained(folder / "encoder")
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder / "encoder")
        cached, anew = _epochs(folder, cache=True, epochs=6), _epochs(folder, cache=False, epochs=3)
    against = "computing it in each epoch"
    lines = [
        row("frozen encoder, cached", against, cached.clips, _alone(cached.training), _alone(anew.training), 10.0),
        row(
            "the same, with validation and checkpoint",
            against,
            cached.clips,
            _alone(statistics.median(cached.whole)),
            _alone(statistics.median(anew.whole)),
        ),
    ]
    lines[0] |= {"seconds_of_run": cached.run, "epochs": 6, "seconds_of_run_against": anew.run, "epochs_against": 3}
    return lines


def _alone(seconds: float) -> dict[str, list[float]]:
    return {"seconds": [seconds]}


def _link(dataset: Dataset, folder: Path) -> None:
    """A corpus of the first clip of each emotion of each of the actors."""
    taken = set()
    for speaker, label, audio in zip(dataset["speaker"][:], dataset["label"][:], dataset["audio"][:], strict=True):
        actor = int(speaker.partition(":")[2])
        if actor <= ACTORS and (actor, label) not in taken:
            taken.add((actor, label))
            path = Path(audio["path"]).resolve()
            (folder / f"Actor_{actor:02d}").mkdir(parents=True, exist_ok=True)
            (folder / f"Actor_{actor:02d}" / path.name).symlink_to(path)


def _epochs(folder: Path, cache: bool, epochs: int) -> Epochs:
    logged: list[float] = []
    began = time.perf_counter()
    name = "cached" if cache else "anew"
    report = ser_hf.run_recipe(
        {
            "name": name,
            "output_dir": str(folder / name),
            "corpus": {"name": "ravdess", "root": str(folder / "corpus")},
            "protocol": {"name": "speaker_independent", "near_duplicates": "skip"} | PARTS,
            "audio": {"max_duration": CROP, "cache_dir": str(folder / "prepared")},
            "model": {"architecture": "encoder", "checkpoint": str(folder / "encoder"), "random_init": True},
            "freeze": {"encoder": True, "cache": cache},
            "training": {"num_train_epochs": epochs, "learning_rate": 1e-3, "seeds": [1]},
            "evaluation": {"part": "validation", "bootstrap": 10},
        },
        watch=lambda *_: logged.append(time.perf_counter()),
    )
    run = time.perf_counter() - began
    clips = report.protocol.parts["train"].clips
    return Epochs(report.seconds.per_epoch, np.diff(logged).tolist(), run, clips)

"""Compare an epoch of our Trainer to transformers' example, and measure the effect of kept memory:
parts a, b and f of `throughput.py`."""

import argparse
import copy
import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import multiprocess
import numpy as np
import soundfile
import torch
from datasets import Dataset
from example_loop import clips, example_trainer
from fixed_split import CROP
from side_by_side import RATE, clock, corpus, encoder_config, row, time_alternately, write_clips
from transformers import (
    PreTrainedModel,
    SequenceFeatureExtractor,
    Trainer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    set_seed,
)

from ser_hf.audio import WaveformStore, open_store
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import (
    data_workers,
    set_precision,
    training_arguments,
)
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.freezing import Freezing, freeze
from ser_hf.training.settings import TrainingSettings
from ser_hf.training.trainer import EmotionTrainer
from ser_hf.utils.environment import freed_memory_kept

NETWORKS = {
    "crnn": {"options": {"normalization": "fixed"}},
    "se_resnet": {"options": {"normalization": "fixed"}},
    "byols": {"random_init": True},
}
EPOCHS = 40  # of recipes/ravdess_crnn.yaml
MAX_LENGTH_SECONDS = 20.0  # default of the example
COMMON = {
    "learning_rate": 2e-3,
    "num_train_epochs": 1,
    "weight_decay": 0.01,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "logging_strategy": "epoch",
    "report_to": "none",
}
EVALUATION = {"eval_strategy": "epoch", "save_strategy": "epoch"}
NO_EVALUATION = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}


def crnn_training(options: argparse.Namespace) -> list[dict]:
    """Measure an epoch of the crnn with validation and checkpoint."""
    count = 32 if options.quick else 240
    dataset, store, rows = corpus(options.corpus_root, count)
    labels = dataset["label"][:]
    plan = blueprint("crnn", dataset.features["label"].names, options={"normalization": "fixed"})
    with tempfile.TemporaryDirectory() as scratch:
        files = {
            kind: write_clips(
                store,
                rows["train"] + rows["validation"],
                Path(scratch) / kind.replace(" ", "-"),
                kind,
            )
            for kind in ("16 kHz WAV", "16 kHz FLAC", "48 kHz WAV")
        }
        paths = [{"path": path, "bytes": None} for path in files["48 kHz WAV"].values()]
        store_seconds = []
        for i in range(3):
            folder = Path(scratch) / f"store{i}"
            seconds, _ = clock(partial(open_store, paths, RATE, folder))
            store_seconds.append(seconds)
        preparation = statistics.median(store_seconds)

        def network() -> PreTrainedModel:
            set_seed(1)
            return build_model(copy.deepcopy(plan))

        def ours(limit: float | None, precision: str) -> tuple[float, float]:
            train = clip_table(dataset, rows["train"], store, limit)
            validation = clip_table(dataset, rows["validation"], store)

            def trainer() -> EmotionTrainer:
                return our_trainer(
                    network(),
                    plan.extractor,
                    store,
                    train=train,
                    validation=validation,
                    scratch=scratch,
                    precision=precision,
                )

            return time_training_as_run(trainer)

        def theirs(kind: str, limit: float, precision: str) -> tuple[float, float]:
            splits = {}
            for name, rows_of_split in rows.items():
                paths_of_split = [files[kind][i] for i in rows_of_split]
                splits[name] = clips(paths_of_split, [labels[i] for i in rows_of_split])

            def trainer() -> Trainer:
                return their_trainer(
                    network(),
                    plan.extractor,
                    train=splits["train"],
                    validation=splits["validation"],
                    limit=limit,
                    scratch=scratch,
                    precision=precision,
                )

            return time_training(trainer)

        lengths = {"crops": (CROP, CROP), "whole": (None, MAX_LENGTH_SECONDS)}
        compared = [(kind, "crops", "auto") for kind in files]
        compared += [(kind, "whole", "auto") for kind in ("16 kHz WAV", "48 kHz WAV")]
        if fast_bf16():
            for length in lengths:
                compared += [(kind, length, "bf16") for kind in ("16 kHz WAV", "48 kHz WAV")]
        functions: dict[str, Callable[[], tuple[float, float]]] = {}
        for kind, length, precision in compared:
            our_limit, limit = lengths[length]
            functions[f"ours, {length}, {precision}"] = partial(ours, our_limit, precision)
            functions[f"{kind}, {length}, {precision}"] = partial(theirs, kind, limit, precision)
        measured = time_alternately(functions, options.repeats)
    lines = []
    for kind, length, precision in compared:
        our_seconds = measured[f"ours, {length}, {precision}"]
        target = 1.3
        if kind.startswith("48"):
            our_seconds = with_preparation(our_seconds, preparation)
            target = 2.0
        crops = f"crops of {CROP:g} s" if length == "crops" else "whole clips"
        setting = f"crnn, {crops}"
        example = "the example"
        if precision == "bf16":
            setting += ", bf16"
            example += " in bf16"
        their_seconds = measured[f"{kind}, {length}, {precision}"]
        line = row(setting, f"{example}, {kind} files", count, our_seconds, their_seconds, target)
        lines.append(line | {"store_seconds": preparation})
    if fast_bf16():
        lines.append(
            row(
                f"crnn, crops of {CROP:g} s, bf16",
                "the same in fp32",
                count,
                measured["ours, crops, bf16"],
                measured["ours, crops, auto"],
            )
        )
    return lines


def with_preparation(seconds: dict[str, list[float]], preparation: float) -> dict[str, list[float]]:
    """Seconds of an epoch, each with its share of the preparation of the store."""
    share = preparation / EPOCHS
    return {key: [value + share for value in values] for key, values in seconds.items()}


def length_groups(options: argparse.Namespace) -> list[dict]:
    """Measure an epoch of an encoder without validation, on noise, since its cost does not depend
    on the signal.
    """
    count, batch = (8, 4) if options.quick else (24, 8)
    generator = np.random.default_rng(0)
    seconds = np.clip(generator.lognormal(np.log(2.5), 0.6, count), 1.0, 8.0)
    labels = (np.arange(count) % 8).tolist()
    dataset = Dataset.from_dict({"label": labels})
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    settings = {"per_device_train_batch_size": batch, "learning_rate": 3e-5}
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for number, length in enumerate(seconds):
            paths.append(str(Path(scratch) / f"{number}.wav"))
            noise = 0.1 * generator.standard_normal(round(RATE * length))
            soundfile.write(paths[-1], noise, RATE, subtype="PCM_16")
        store = open_store(
            [{"path": path, "bytes": None} for path in paths], RATE, Path(scratch) / "store"
        )
        # Nothing is evaluated; both trainers need a validation split nevertheless.
        train = clip_table(dataset, range(count), store)
        validation = clip_table(dataset, range(2), store)
        their_train = clips(paths, labels)
        their_validation = clips(paths[:2], labels[:2])

        def network() -> PreTrainedModel:
            set_seed(1)
            model = Wav2Vec2ForSequenceClassification(encoder_config(options.quick))
            model.freeze_feature_encoder()  # as the example does by default
            return model

        def ours(order: str, precision: str = "auto") -> tuple[float, float]:
            def trainer() -> EmotionTrainer:
                return our_trainer(
                    network(),
                    extractor,
                    store,
                    train=train,
                    validation=validation,
                    scratch=scratch,
                    evaluated=False,
                    freezing=Freezing(feature_encoder=True),
                    precision=precision,
                    train_sampling_strategy=order,
                    **settings,
                )

            return time_training_as_run(trainer)

        def theirs() -> tuple[float, float]:
            def trainer() -> Trainer:
                return their_trainer(
                    network(),
                    extractor,
                    train=their_train,
                    validation=their_validation,
                    limit=MAX_LENGTH_SECONDS,
                    scratch=scratch,
                    evaluated=False,
                    **settings,
                )

            return time_training(trainer)

        functions = {
            "length groups": partial(ours, "group_by_length"),
            "random": partial(ours, "random"),
            "example": theirs,
        }
        if fast_bf16():
            functions["bf16"] = partial(ours, "group_by_length", "bf16")
        measured = time_alternately(functions, min(2, options.repeats))
    what = (
        f"wav2vec2-base-sized encoder, {seconds.min():.1f} to {seconds.max():.1f} s, length groups"
    )
    grouped = measured["length groups"]
    lines = [
        row(what, "the example, 16 kHz WAV files", count, grouped, measured["example"]),
        row(what, "our Trainer, random batches", count, grouped, measured["random"]),
    ]
    if "bf16" in measured:
        lines.append(row(f"{what}, bf16", "the same in fp32", count, measured["bf16"], grouped))
    return lines


def kept_memory(options: argparse.Namespace) -> list[dict]:
    """Measure an epoch with freed memory kept, as in a run, and returned to the system."""
    count = 32 if options.quick else 96
    dataset, store, rows = corpus(options.corpus_root, count)
    train = clip_table(dataset, rows["train"], store, CROP)
    validation = clip_table(dataset, rows["validation"][:2], store)
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for architecture, words in NETWORKS.items():
            plan = blueprint(architecture, dataset.features["label"].names, **words)

            def trainer(plan: Any = plan) -> Trainer:
                set_seed(1)
                return our_trainer(
                    build_model(copy.deepcopy(plan)),
                    plan.extractor,
                    store,
                    train=train,
                    validation=validation,
                    scratch=scratch,
                    evaluated=False,
                )

            functions = {
                "kept": partial(time_training, trainer, kept=True),
                "returned": partial(time_training, trainer, kept=False),
            }
            measured = time_alternately(functions, options.repeats)
            what = f"{architecture}, freed memory kept"
            against = "returning it to the system"
            lines.append(row(what, against, count, measured["kept"], measured["returned"]))
    return lines


def our_trainer(
    network: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    store: WaveformStore,
    *,
    train: Dataset,
    validation: Dataset,
    scratch: str,
    evaluated: bool = True,
    freezing: Freezing | None = None,
    precision: str = "auto",
    **settings: Any,
) -> EmotionTrainer:
    defaults = TrainingSettings().arguments
    # as the example
    values = defaults | COMMON | EVALUATION | {"train_sampling_strategy": "random"} | settings
    folder = Path(tempfile.mkdtemp(dir=scratch))
    arguments = training_arguments(values, folder, seed=1, precision=precision, progress=False)
    if not evaluated:  # training_arguments always evaluates, so this is changed afterwards
        for key, value in NO_EVALUATION.items():
            setattr(arguments, key, value)
    collator = Collator.for_model(network.config, store, extractor, 1)
    if freezing is not None:
        freeze(network, freezing)
    return EmotionTrainer(
        network, arguments, collator, train, validation, compute_metrics=compute_metrics
    )


def their_trainer(
    network: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    *,
    train: Dataset,
    validation: Dataset,
    limit: float,
    scratch: str,
    evaluated: bool = True,
    precision: str = "auto",
    **settings: Any,
) -> Trainer:
    """Build the Trainer of the example, with as many data workers as ours."""
    evaluation = NO_EVALUATION
    if evaluated:
        best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
        evaluation = EVALUATION | best
    values = COMMON | evaluation | dataclasses.asdict(set_precision(precision)) | settings
    values |= {
        "seed": 1,
        "dataloader_num_workers": data_workers(),
        "use_cpu": not torch.cuda.is_available(),
    }
    return example_trainer(
        network,
        extractor,
        train,
        validation,
        limit,
        output_dir=tempfile.mkdtemp(dir=scratch),
        **values,
    )


def time_training(make: Callable[[], Trainer], kept: bool = False) -> tuple[float, float]:
    """Return wall and processor seconds of `train()`, after two steps of another Trainer as
    warm-up.

    Each training has a separate process, so that none inherits memory, torch's settings or, where
    freed memory is `kept`, the settings of the allocator from another.
    """
    with multiprocess.get_context("spawn").Pool(1) as pool:
        return pool.apply(_time_training, (make, kept))


def _time_training(make: Callable[[], Trainer], kept: bool) -> tuple[float, float]:
    with freed_memory_kept() if kept else nullcontext():
        first = make()
        first.args.max_steps = 2
        first.train()
        return clock(make().train)


def fast_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 matrices in hardware (Intel's AMX) and there is no
    GPU.

    `auto` computes in float32 there."""
    return not torch.cuda.is_available() and torch.cpu.get_capabilities().get("amx_bf16", False)


def time_training_as_run(make: Callable[[], Trainer]) -> tuple[float, float]:
    """Time a training with freed memory kept, as `ser_hf.run_recipe` keeps it."""
    return time_training(make, kept=True)

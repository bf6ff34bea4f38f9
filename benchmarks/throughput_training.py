"""Compare an epoch of our Trainer to transformers' example, and measure the effect of kept memory:
parts a, b and f of `throughput.py`."""

import argparse
import copy
import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
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
    argument_options,
    data_workers,
    set_precision,
    training_arguments,
)
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.freezing import Freezing, freeze
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
        making = [
            clock(lambda i=i: open_store(paths, RATE, Path(scratch) / f"store{i}"))
            for i in range(3)
        ]
        preparation = statistics.median(seconds for seconds, _ in making)

        def network() -> PreTrainedModel:
            set_seed(1)
            return build_model(copy.deepcopy(plan))

        def ours(limit: float | None, precision: str) -> tuple[float, float]:
            parts = (
                clip_table(dataset, rows["train"], store, limit),
                clip_table(dataset, rows["validation"], store),
            )
            return time_training_as_run(
                lambda: our_trainer(
                    network(), plan.extractor, store, *parts, scratch, precision=precision
                )
            )

        def theirs(kind: str, limit: float, precision: str) -> tuple[float, float]:
            parts = [
                clips([files[kind][i] for i in own], [labels[i] for i in own])
                for own in rows.values()
            ]
            made = (plan.extractor, *parts, limit, scratch)
            return time_training(lambda: their_trainer(network(), *made, precision=precision))

        lengths = {"crops": (CROP, CROP), "whole": (None, MAX_LENGTH_SECONDS)}
        compared = [(kind, "crops", "auto") for kind in files]
        compared += [(kind, "whole", "auto") for kind in ("16 kHz WAV", "48 kHz WAV")]
        if fast_bf16():
            compared += [
                (kind, length, "bf16")
                for length in lengths
                for kind in ("16 kHz WAV", "48 kHz WAV")
            ]
        functions: dict[str, Callable[[], tuple[float, float]]] = {}
        for kind, length, precision in compared:
            our_limit, limit = lengths[length]
            functions[f"ours, {length}, {precision}"] = (
                lambda our_limit=our_limit, precision=precision: ours(our_limit, precision)
            )
            functions[f"{kind}, {length}, {precision}"] = (
                lambda kind=kind, limit=limit, precision=precision: theirs(kind, limit, precision)
            )
        measured = time_alternately(functions, options.repeats)
    lines = []
    for kind, length, precision in compared:
        own = measured[f"ours, {length}, {precision}"]
        target = 1.3
        if kind.startswith("48"):
            own = {key: [value + preparation / EPOCHS for value in own[key]] for key in own}
            target = 2.0
        crops = f"crops of {CROP:g} s" if length == "crops" else "whole clips"
        setting, both = (
            (f"crnn, {crops}, bf16", " in bf16") if precision == "bf16" else (f"crnn, {crops}", "")
        )
        other = measured[f"{kind}, {length}, {precision}"]
        lines.append(row(setting, f"the example{both}, {kind} files", count, own, other, target))
        lines[-1] |= {"store_seconds": preparation}
    if fast_bf16():
        own, other = (measured[f"ours, crops, {precision}"] for precision in ("bf16", "auto"))
        lines.append(row(f"crnn, crops of {CROP:g} s, bf16", "the same in fp32", count, own, other))
    return lines


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
    own = {"per_device_train_batch_size": batch, "learning_rate": 3e-5}
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for number, length in enumerate(seconds):
            paths.append(str(Path(scratch) / f"{number}.wav"))
            noise = 0.1 * generator.standard_normal(round(RATE * length))
            soundfile.write(paths[-1], noise, RATE, subtype="PCM_16")
        store = open_store(
            [{"path": path, "bytes": None} for path in paths], RATE, Path(scratch) / "store"
        )
        parts = clip_table(dataset, range(count), store), clip_table(dataset, range(2), store)
        data = clips(paths, labels), clips(paths[:2], labels[:2])

        def network() -> PreTrainedModel:
            set_seed(1)
            made = Wav2Vec2ForSequenceClassification(encoder_config(options.quick))
            made.freeze_feature_encoder()  # as the example does by default
            return made

        def ours(order: str, precision: str = "auto") -> tuple[float, float]:
            more = own | {
                "train_sampling_strategy": order,
                "freezing": Freezing(feature_encoder=True),
            }
            more["precision"] = precision
            made = (extractor, store, *parts, scratch)
            return time_training_as_run(
                lambda: our_trainer(network(), *made, evaluated=False, **more)
            )

        def theirs() -> tuple[float, float]:
            made = (extractor, *data, MAX_LENGTH_SECONDS, scratch)
            return time_training(lambda: their_trainer(network(), *made, evaluated=False, **own))

        functions = {
            "length groups": lambda: ours("group_by_length"),
            "random": lambda: ours("random"),
            "example": theirs,
        }
        if fast_bf16():
            functions["bf16"] = lambda: ours("group_by_length", "bf16")
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
    parts = (
        clip_table(dataset, rows["train"], store, CROP),
        clip_table(dataset, rows["validation"][:2], store),
    )
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for architecture, words in NETWORKS.items():
            plan = blueprint(architecture, dataset.features["label"].names, **words)

            def made(plan: Any = plan) -> Trainer:
                set_seed(1)
                network = build_model(copy.deepcopy(plan))
                return our_trainer(network, plan.extractor, store, *parts, scratch, evaluated=False)

            functions = {
                "kept": lambda made=made: time_training(made, True),
                "returned": lambda made=made: time_training(made, False),
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
    train: Dataset,
    validation: Dataset,
    scratch: str,
    evaluated: bool = True,
    freezing: Freezing | None = None,
    precision: str = "auto",
    **more: Any,
) -> EmotionTrainer:
    defaults = {name: default for name, (_, default) in argument_options().items()}
    # as the example
    own = defaults | COMMON | EVALUATION | {"train_sampling_strategy": "random"} | more
    folder = Path(tempfile.mkdtemp(dir=scratch))
    arguments = training_arguments(own, folder, seed=1, precision=precision, progress=False)
    # training_arguments always evaluates; changed afterwards
    for key, value in {} if evaluated else NO_EVALUATION.items():
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
    train: Dataset,
    validation: Dataset,
    limit: float,
    scratch: str,
    evaluated: bool = True,
    precision: str = "auto",
    **more: Any,
) -> Trainer:
    """Build the Trainer of the example, with as many data workers as ours."""
    best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    own = (
        COMMON
        | (EVALUATION | best if evaluated else NO_EVALUATION)
        | dataclasses.asdict(set_precision(precision))
        | more
    )
    own |= {
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
        **own,
    )


def time_training(make: Callable[[], Trainer], kept: bool = False) -> tuple[float, float]:
    """Return wall and processor seconds of `train()`, after two steps of another Trainer as
    warm-up.

    Each training has a separate process, so that none inherits memory, torch's settings or, where
    freed memory is `kept`, the settings of the allocator from another.
    """
    with multiprocess.get_context("spawn").Pool(1) as one:
        return one.apply(_time_training, (make, kept))


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

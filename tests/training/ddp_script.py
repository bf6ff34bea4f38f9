"""Two epochs over a few clips, by `fit` as a run calls it, in one of two processes: see
processes_script.py.

Its folder has `models/KIND`, `store` and a folder for each run; process R logs to `curves_R.json`.
"""

import json

import torch
import transformers
from accelerate import PartialState
from datasets import ClassLabel, Dataset
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

import ser_hf.models  # noqa: F401
from ser_hf.audio import WaveformStore
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import training_arguments
from ser_hf.training.checkpoints import MARKER
from ser_hf.training.clips import clip_table
from ser_hf.training.fit import fit
from ser_hf.training.loss import ClassificationLoss
from ser_hf.training.settings import TrainerSettings

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

# Nothing random: neither dropout nor SpecAugment.
CRNN = {
    "n_mels": 32,
    "channels": [4, 8],
    "time_pooling": [2, 2],
    "band_pooling": [2, 2],
    "lstm_hidden": 8,
}
CRNN |= {"conv_dropout": 0.0, "dropout": 0.0, "time_masks": 0, "band_masks": 0}
DROPOUTS = (
    "attention_dropout",
    "activation_dropout",
    "hidden_dropout",
    "feat_proj_dropout",
    "final_dropout",
)
ENCODER = dict.fromkeys([*DROPOUTS, "mask_time_prob"], 0.0)
STEP = 8
CLIPS = 11  # which leaves three for the second step of an epoch


def step_arguments(folder, batch, accumulation, **changes):
    """Every step logged, with its gradient."""
    steps = {
        "num_train_epochs": 2,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "max_grad_norm": 0.001,
    }
    sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    settings = DEFAULTS | steps | sizes | {"per_device_eval_batch_size": 3} | changes
    return training_arguments(settings, folder, seed=0, progress=False)


def hold_batch_norm(model):
    """Keep batch normalization on its running statistics in training mode too."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True: None
    return model


def write_models(folder, checkpoint):
    """A model of each route below `folder`, extractor included: the encoder of `checkpoint` with a
    random head.
    """
    plans = {
        "crnn": blueprint("crnn", list("abcd"), options=CRNN),
        "encoder": blueprint("encoder", list("abcd"), checkpoint=checkpoint, options=ENCODER),
    }
    for kind, plan in plans.items():
        transformers.set_seed(0)
        build_model(plan).save_pretrained(folder / kind)
        plan.extractor.save_pretrained(folder / kind)


def load(models, kind):
    folder = models / kind
    return AutoModelForAudioClassification.from_pretrained(
        folder
    ), AutoFeatureExtractor.from_pretrained(folder)


def clips_of(store, clips=CLIPS, **how):
    classes = Dataset.from_dict({"label": [i % 4 for i in range(len(store))]})
    how = how or {"max_duration": 0.4}
    return clip_table(
        classes.cast_column("label", ClassLabel(num_classes=4)), range(clips), store, **how
    )


def loss_of(kind):
    """Weighted and smoothed, or by soft labels: each with its own divisor."""
    return (
        ClassificationLoss([0.5, 2.0, 1.0, 0.5], 0.1, focal_gamma=1.0)
        if kind == "crnn"
        else ClassificationLoss()
    )


def curves(model, extractor, store, kind, arguments, **how):
    """Loss and gradient norm (before clipping) of each step, and validation after each epoch."""
    clips = clips_of(store)
    validation = clips_of(store, 5, window=6000)
    assert 5 < len(validation) < 10, "some in two windows, some whole"
    fitted = fit(
        model,
        extractor,
        store,
        clips,
        validation,
        arguments,
        compute_metrics,
        loss=loss_of(kind),
        **how,
    )
    log = fitted.trainer.state.log_history
    logged = [entry for entry in log if "grad_norm" in entry]
    evaluated = [entry for entry in log if "eval_loss" in entry]
    return {
        **{key: [entry[key] for entry in logged] for key in ("loss", "grad_norm", "uar")},
        **{key: [entry[key] for entry in evaluated] for key in ("eval_loss", "eval_uar")},
        "weights": [
            float(value.double().abs().sum())
            for value in fitted.trainer.model.state_dict().values()
        ],
    }


def main(folder):
    measured = {}
    for path in sorted((folder / "models").iterdir()):
        model, extractor = load(folder / "models", path.name)
        hold_batch_norm(model)
        arguments = step_arguments(folder / path.name, STEP // 2, 1)
        assert arguments.world_size == 2
        measured[path.name] = curves(
            model, extractor, WaveformStore(folder / "store"), path.name, arguments
        )
    # Cut off while the second of four checkpoints was written, in the middle of an epoch.
    model, extractor = load(folder / "models", "encoder")
    often = dict.fromkeys(("eval_strategy", "save_strategy"), "steps") | {
        "eval_steps": 1,
        "save_steps": 1,
    }
    arguments = step_arguments(folder / "resumed", STEP // 2, 1, save_total_limit=None, **often)
    for resume in (False, True):
        again = curves(
            model, extractor, WaveformStore(folder / "store"), "encoder", arguments, resume=resume
        )
        measured["resumed" if resume else "whole"] = again
        if arguments.process_index == 0:
            for step in (2, 3, 4):
                (folder / "resumed" / f"checkpoint-{step}" / MARKER).unlink(missing_ok=True)
        PartialState().wait_for_everyone()
    (folder / f"curves_{arguments.process_index}.json").write_text(
        json.dumps(measured), encoding="utf-8"
    )

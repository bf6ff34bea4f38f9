"""A recipe with augmentation, mixup and over-sampling: trains, resumes, and is evaluated on clean
clips.
"""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.recipes import TINY_CRNN
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, TrainerCallback

import ser_hf
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.fitting import make_transforms
from ser_hf.experiment.reading import read_recipe
from ser_hf.training.fit import fit
from ser_hf.utils.run_folder import RunFolder

pytestmark = pytest.mark.slow  # whole runs

EXCLUDED = [f"synthetic/s0{i}_sad_001" for i in range(6)]
STEPS = ("speed", "gaussian_noise", "coloured_noise", "gain", "mixup")
RECIPE = {
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 2, "exclude": EXCLUDED},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "near_duplicates": "skip"},
    "audio": {"max_duration": 0.8},
    "model": TINY_CRNN | {"normalization": "corpus"},
    "augment": {step: {"probability": 0.5} for step in STEPS},
    "training": {
        **{"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
        **{"num_train_epochs": 2, "seeds": [3], "use_cpu": True},
    },
    "evaluation": {"bootstrap": 20},
}


def recipe(folder, *overrides):
    return read_recipe(RECIPE, [f"output_dir={folder}", *overrides])


class Stopped(Exception):
    """What a stopped run ends with."""


calls = []


class Counter(TrainerCallback):
    epochs = 0

    def on_epoch_end(self, *args, **kwargs):
        self.epochs += 1


def stop(place, epoch, metrics):
    calls.append((place, epoch, set(metrics)))
    raise Stopped


FITS = []


def noted_fit(*parts, **settings):
    FITS.append(fit(*parts, **settings))
    return FITS[-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ser_hf.experiment.fitting.fit", noted_fit)
        ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"])
    return folder


def context_of(recipe):
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def report(folder):
    return json.loads((folder / "report" / "report.json").read_text())


def test_evaluated_clips_are_clean(run):
    data = load_experiment_data(recipe(run))
    model = AutoModelForAudioClassification.from_pretrained(
        run / "model", trust_remote_code=True
    ).eval()
    extractor = AutoFeatureExtractor.from_pretrained(run / "model", trust_remote_code=True)
    rows = {id: row for row, id in enumerate(data.dataset["id"])}
    table = pq.read_table(run / "report" / "predictions.parquet").to_pylist()
    assert {clip["part"] for clip in table} == {"validation", "test"}
    for clip in table:
        waveform = np.array(data.store[rows[clip["id"]]])
        with torch.no_grad():
            logits = model(**extractor(waveform, sampling_rate=16000, return_tensors="pt")).logits
        for label, share in zip(data.labels, logits.softmax(dim=1)[0].tolist(), strict=True):
            assert clip[f"p_{label}"] == pytest.approx(share, abs=1e-5)


def test_a_stopped_run_resumes_to_the_same_figures(run, tmp_path):
    counted = Counter()
    with pytest.raises(Stopped):
        ser_hf.run_recipe(
            RECIPE, [f"output_dir={tmp_path / 'seed-3'}"], watch=stop, callbacks=[counted]
        )
    assert counted.epochs == 1
    # A single run in a folder of any name.
    assert calls == [((), 1.0, {"uar", "wa", "macro_f1", "weighted_f1", "loss"})]
    assert (tmp_path / "seed-3" / "checkpoints").is_dir()
    ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'seed-3'}"], resume=True)
    whole = report(run)
    resumed = report(tmp_path / "seed-3")
    assert len(whole["history"]) == 2
    assert resumed["history"] == whole["history"]
    assert resumed["metrics"] == whole["metrics"]
    first, second = (
        (folder / "model" / "model.safetensors").read_bytes()
        for folder in (run, tmp_path / "seed-3")
    )
    assert first == second
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    expected = (
        "speed (in 50 % of them), gaussian noise (in 50 % of them), "
        "coloured noise (in 50 % of them)"
    )
    assert f"Augmentation of the training clips: {expected}" in card


def test_the_trainer_s_batches_are_the_augmented_ones(run):
    trainer = FITS[0].trainer
    trainer.collator.epoch.fill_(0)
    train = next(iter(trainer.get_train_dataloader()))
    evaluated = next(iter(trainer.get_eval_dataloader()))
    assert train["labels"].shape == (8, 6)
    assert ((train["labels"] > 0) & (train["labels"] < 1)).any()
    assert evaluated["labels"].shape == (len(evaluated["input_values"]),)
    steps = trainer.collator.transforms.augmenter.augmentation.waveform_steps
    assert list(steps) == ["speed", "gaussian_noise", "coloured_noise", "gain"]


def test_augmentation_has_the_sampling_rate_of_the_store(tmp_path):
    own = recipe(tmp_path, "audio.sampling_rate=22050", "audio.fixed_duration=1.0")
    context = context_of(own)
    transforms = make_transforms(context)
    assert transforms.augmenter.sampling_rate == 22050
    assert transforms.fixed_length == 22050


def test_babble_has_training_clips_of_other_speakers_only(tmp_path):
    context = context_of(recipe(tmp_path, "augment.babble={probability: 0.5}"))
    transforms = make_transforms(context)
    train_rows = context.fold.split.rows["train"]
    voices = transforms.augmenter.voices
    assert sorted(voices.rows) == sorted(train_rows)
    speakers = context.data.dataset["speaker"]
    row = train_rows[0]
    others = [other for other in train_rows if speakers[other] != speakers[row]]
    assert len(voices.of_others(row)) == len(others) < len(train_rows)


def test_one_training_speaker_cannot_babble(tmp_path):
    context = context_of(recipe(tmp_path, "augment.babble={probability: 0.5}"))
    rows = context.fold.split.rows
    speakers = context.data.dataset["speaker"]
    same = [row for row in rows["train"] if speakers[row] == speakers[rows["train"][0]]]
    split = dataclasses.replace(context.fold.split, rows={**rows, "train": same})
    fold = dataclasses.replace(context.fold, split=split)
    with pytest.raises(ser_hf.UserError, match=r"^augment\.babble: "):
        make_transforms(context.on_fold(fold))


def test_a_folder_that_is_missing_shows_before_anything_is_written(tmp_path):
    noise = f"augment.background_noise={{probability: 0.5, folder: {tmp_path / 'nowhere'}}}"
    with pytest.raises(ser_hf.UserError, match=r"^augment\.background_noise\.folder: .*nowhere"):
        ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'run'}", noise])
    assert not (tmp_path / "run").exists()


FITTED = ["model={architecture: mfcc_linear}", "training={solver: sklearn}", "audio={}"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (FITTED, r"augment\.speed: .*scikit-learn"),
        (
            ["training.per_device_train_batch_size=1"],
            r"augment\.mixup: .*training\.per_device_train_batch_size is 1",
        ),
        (
            ["augment={gain: {decibels: [-3, 3]}}"],
            r"augment\.gain\.probability: missing",
        ),
    ],
)
def test_contradictions_are_refused(tmp_path, overrides, message):
    with pytest.raises(ser_hf.UserError, match=f"^{message}"):
        recipe(tmp_path, *overrides)

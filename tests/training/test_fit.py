"""`fit` keeps the best checkpoint and its history, and resumes; mistakes are found before it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.close import assert_near
from support.predictions import predict
from support.recipes import TINY_CRNN
from support.testing import tiny_config, write_checkpoint
from support.testing.models import TINY

import ser_hf
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.checkpoint import waveform_extractor
from ser_hf.loading.plan import blueprint
from ser_hf.models import TRANSFERRED, CRNNForAudioClassification, MfccLinearForAudioClassification
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.checkpoints import MARKER, StepSize, last_checkpoint, seal
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.fit import dry_run, fit, fit_statistics
from ser_hf.training.freezing import Freezing
from ser_hf.training.loss import ClassificationLoss
from ser_hf.training.settings import TrainerSettings
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

OWN = ("average", "deterministic")
SMALL = {"channels": [4], "time_pooling": [8], "band_pooling": [8], "lstm_hidden": 4}


@pytest.fixture
def training(clips, store, labels, tmp_path):
    """Runs `fit` on a tiny network, eight clips to train and four to validate."""

    def run(metric="uar", patience=None, resume=False, max_duration=0.3, **arguments):
        plan = blueprint("crnn", labels, options=SMALL)
        own = {name: arguments.pop(name) for name in OWN if name in arguments}
        settings = DEFAULTS | {"num_train_epochs": 3, "per_device_train_batch_size": 4} | arguments
        parts = (
            clip_table(clips, range(8), store, max_duration),
            clip_table(clips, range(8, 12), store),
        )
        arguments = (
            training_arguments(settings, tmp_path, 0, metric, progress=False, **own),
            compute_metrics,
        )
        seed_everything(0)
        model = build_model(plan)
        return fit(
            model, plan.extractor, store, *parts, *arguments, patience=patience, resume=resume
        )

    return run


def test_the_history_has_one_entry_an_evaluation(training):
    fitted = training()
    assert [entry["epoch"] for entry in fitted.history] == [1.0, 2.0, 3.0]
    assert [entry["step"] for entry in fitted.history] == [2, 4, 6]
    for entry in fitted.history:
        assert {"train_loss", "learning_rate", "grad_norm"} <= set(entry)
        assert {"loss", "uar", "wa", "macro_f1", "weighted_f1"} <= set(entry["validation"])
    assert len(fitted.epoch_seconds) == 3
    assert sum(fitted.epoch_seconds) < fitted.seconds


def test_the_model_is_that_of_the_best_validation(training, clips, store):
    # A rate this high makes the last epoch worse than an earlier one.
    fitted = training(
        "loss", learning_rate=0.3, warmup_steps=0, num_train_epochs=4, lr_scheduler_type="constant"
    )
    losses = [entry["validation"]["loss"] for entry in fitted.history]
    assert losses[-1] > min(losses)
    validation = clip_table(clips, range(8, 12), store)
    rows, logits = predict(fitted.trainer, validation)
    assert set(rows) == set(range(8, 12))
    measured = ClassificationLoss()(
        {"logits": torch.from_numpy(logits)}, torch.tensor(validation["labels"][:])
    )
    assert measured.item() == pytest.approx(min(losses), rel=1e-5)


def test_patience_ends_a_training_without_improvement(training):
    fitted = training(patience=2, learning_rate=1e-12, num_train_epochs=9)
    assert [entry["epoch"] for entry in fitted.history] == [1.0, 2.0, 3.0]


def test_a_diverged_training_is_an_error(training):
    with pytest.raises(UserError, match=r"training\.learning_rate: training diverged"):
        training(learning_rate=1e30)


def weights(fitted):
    return {name: value.numpy().copy() for name, value in fitted.trainer.model.state_dict().items()}


def same(one, other):
    """Whether two trainings have the same weights and curves."""
    expected = weights(one)
    found = weights(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
    curves = [
        [
            (entry.get("train_loss", 0), entry.get("validation", {}).get("loss", 0))
            for entry in run.history
        ]
        for run in (one, other)
    ]
    assert_near(*curves)


@pytest.mark.parametrize("average", [None, "ema"])
def test_an_interrupted_training_resumes_to_the_same_weights(training, tmp_path, average):
    often = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "steps")
    often |= {
        "eval_steps": 1,
        "save_steps": 1,
        "logging_steps": 1,
        "save_total_limit": None,
        "average": average,
    }
    whole = training(**often)
    for step in (4, 5, 6):
        # Killed while checkpoint 4 was written: later ones never were.
        (tmp_path / f"checkpoint-{step}" / MARKER).unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"
    same(whole, training(**often, resume=True))


def test_an_early_stopped_training_does_not_continue(training, tmp_path):
    """The Trainer does not save that early stopping ended the training."""
    settings = {
        "patience": 2,
        "learning_rate": 1e-12,
        "num_train_epochs": 9,
        "save_total_limit": None,
    }
    whole = training(**settings)
    resumed = training(**settings, resume=True)
    assert len(whole.history) == 3
    same(whole, resumed)
    assert not (tmp_path / "checkpoint-8").exists()


def test_a_stopped_training_resumes_with_the_schedule_of_its_planned_steps(training):
    settings = {"patience": 1, "learning_rate": 1e-12, "num_train_epochs": 9, "warmup_steps": 7}
    same(training(**settings), training(**settings, resume=True))


def test_a_training_without_a_validation_is_an_error(training):
    with pytest.raises(
        UserError, match=r"training\.eval_steps, training\.eval_delay: no validation during"
    ):
        training(eval_delay=9)


def test_a_training_whose_folder_was_moved_is_resumed(training, tmp_path, monkeypatch):
    """The Trainer saves the absolute path of the best checkpoint."""
    whole = training(num_train_epochs=2)
    state = last_checkpoint(tmp_path) / "trainer_state.json"
    text = state.read_text().replace(str(tmp_path), "elsewhere/checkpoints")
    assert "elsewhere" in text
    state.write_text(text)
    (state.parent / MARKER).unlink()
    seal(state.parent, StepSize(1, 4))
    same(whole, training(num_train_epochs=2, resume=True))


def test_a_full_disk_is_an_error_and_the_last_checkpoint_stays(training, tmp_path, monkeypatch):
    save = torch.save

    def full(value, path, *args, **kwargs):
        save(value, path, *args, **kwargs)
        if "checkpoint-4" in str(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="checkpoint-4: cannot be written"):
        training()
    monkeypatch.setattr(torch, "save", save)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-4").exists()
    assert len(training(resume=True).history) == 3


def test_averaged_weights_are_evaluated_saved_and_left_in_the_model(
    training, clips, store, tmp_path
):
    fitted = training("loss", average="ema", learning_rate=0.03, save_total_limit=None)
    validation = clip_table(clips, range(8, 12), store)
    _, logits = predict(fitted.trainer, validation)
    labels = torch.tensor(validation["labels"][:])
    measured = ClassificationLoss()({"logits": torch.from_numpy(logits)}, labels)
    losses = [entry["validation"]["loss"] for entry in fitted.history]
    assert measured.item() == pytest.approx(min(losses), rel=1e-5)
    saved = load_file(
        tmp_path / f"checkpoint-{2 * int(np.argmin(losses)) + 2}" / "model.safetensors"
    )
    for name, value in saved.items():
        np.testing.assert_array_equal(
            value.numpy(), fitted.trainer.model.state_dict()[name].numpy()
        )
    plain = training("loss", learning_rate=0.03, save_total_limit=None)
    assert plain.history[-1]["validation"]["loss"] != losses[-1]


RECIPE = {
    "name": "dry",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"near_duplicates": "skip"},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 2},
}


def refusal(folder, *overrides):
    with pytest.raises(UserError) as caught:
        ser_hf.run_recipe(RECIPE, [*overrides, f"output_dir={folder}"])
    assert not folder.exists(), "nothing is left for --overwrite to clear"
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.loss.class_weights={angry: 1}",
            "training.loss.class_weights: expected a weight for each of ",
        ),
        ("training.loss.soft_labels=true", "training.loss.soft_labels: synthetic/"),
        ("training.warmup_steps=1000", "training.warmup_steps: expected fewer than the"),
        ("training.optim=adamw_8bit", "training.optim, training.optim_args: "),
    ],
)
def test_a_mistake_leaves_no_folder(tmp_path, override, message):
    assert refusal(tmp_path / "run", override).startswith(message)


def test_attention_that_is_not_installed_is_refused_early(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "encoder", "wav2vec2", "layer")
    model = (
        f"model={{architecture: encoder, checkpoint: {checkpoint}, attention: flash_attention_2}}"
    )
    assert refusal(tmp_path / "run", model).startswith("model.attention: ")


@pytest.mark.parametrize("name", sorted(TRANSFERRED))
def test_transferred_networks_are_checked(tmp_path, name):
    plan = blueprint(name, list("abcd"), random_init=True, options=TINY[name])
    arguments = training_arguments(DEFAULTS, tmp_path, 0, "uar", progress=False, layer_decay=0.9)
    dry_run(plan, arguments, 10, Freezing(top_layers=1))
    with pytest.raises(UserError, match=r"^freeze\.feature_encoder: "):
        dry_run(plan, arguments, 10, Freezing(feature_encoder=True))


def _frames(front_end, store, rows):
    """All real frames of some clips, each processed alone, before they are standardized."""
    features = [
        front_end.features(torch.tensor(store[row])[None], torch.tensor([len(store[row])]))
        for row in rows
    ]
    return torch.cat([values[mask] for values, mask in features])


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_mean_and_deviation_are_those_of_the_training_clips(clips, store, batch_size):
    model = CRNNForAudioClassification(tiny_config("crnn", normalization="corpus")).train()
    rows = [0, 3, 4, 7, 9]
    fit_statistics(
        model,
        Collator(store, waveform_extractor(16000, False)),
        clip_table(clips, rows, store),
        batch_size,
    )
    frames = _frames(model.front_end, store, rows)
    norm = model.front_end.normalize
    torch.testing.assert_close(norm.mean, frames.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        norm.deviation, frames.std(dim=0, correction=0), rtol=1e-4, atol=1e-4
    )
    everything = _frames(model.front_end, store, range(len(store)))
    assert (norm.mean - everything.mean(dim=0)).abs().max() > 0.01, "other clips would differ"


def test_norms_in_a_row_are_fitted_one_after_the_other(clips, store):
    model = MfccLinearForAudioClassification(tiny_config("mfcc_linear"))
    rows = [1, 2, 5, 6, 8, 10]
    collator = Collator(store, waveform_extractor(16000, False))
    training = clip_table(clips, rows, store)
    fit_statistics(model, collator, training)
    batch = collator([training[i] for i in range(len(rows))])
    vectors, _ = model.front_end(batch["input_values"], batch["attention_mask"].sum(dim=1))
    torch.testing.assert_close(
        vectors[:, 0].mean(dim=0), torch.zeros(model.front_end.size), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(
        vectors[:, 0].std(dim=0, correction=0), torch.ones(model.front_end.size), rtol=0, atol=1e-3
    )

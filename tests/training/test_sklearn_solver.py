"""The scikit-learn solver: equal probabilities, calibration on other speakers, grids and frozen
encoders.
"""

import numpy as np
import pytest
import torch
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.classification import problem
from support.close import assert_near
from support.predictions import predict
from support.testing import tiny_config
from torch import nn
from transformers import EvalPrediction, pipeline

import ser_hf
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.batches import first_indices, merge
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import TRANSFERRED
from ser_hf.models.layers import LinearMachines
from ser_hf.training.arguments import GRIDS, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.sklearn_solver import (
    CALIBRATED_BY_CLIPS,
    SELECTED_BY_CLIPS,
    embed,
    fit_classical,
    speaker_folds,
)
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

pytestmark = pytest.mark.slow  # whole runs

TINY = {"n_mels": 16, "n_mfcc": 4}


def test_folds_hold_out_speakers_and_train_with_every_class():
    _, labels, speakers = problem(4)
    windows = np.repeat(np.arange(len(labels)), 2)
    folds, by_speaker = speaker_folds(labels[windows], speakers[windows], windows, 4)
    assert (len(folds), by_speaker) == (5, True)
    for trained, held in folds:
        assert not set(speakers[windows[trained]]) & set(speakers[windows[held]])
        assert set(labels[windows[trained]]) == set(range(4))
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(windows)))
    few, _ = speaker_folds(labels, speakers % 3, windows[::2], 4)
    assert [len(set(speakers[held] % 3)) for _, held in few] == [1, 1, 1], (
        "fewer speakers: leave one out"
    )


@pytest.mark.parametrize("alone", [None, 3], ids=["one speaker", "a class of one speaker"])
def test_without_speakers_to_hold_out_folds_hold_out_clips(alone):
    _, labels, speakers = problem(4)
    speakers = np.where(labels == alone, 99, speakers) if alone else np.zeros_like(speakers)
    windows = np.repeat(np.arange(len(labels)), 2)
    folds, by_speaker = speaker_folds(labels[windows], speakers[windows], windows, 4)
    assert not by_speaker
    for trained, held in folds:
        assert not set(windows[trained]) & set(windows[held]), "the windows of a clip stay together"
        assert set(labels[windows[trained]]) == set(range(4))


def test_machines_can_be_calibrated_in_every_fold():
    labels = np.array([0, 0, 1, 1, 0, 0, 1])
    speakers = np.array([0, 0, 0, 0, 1, 1, 1])
    assert speaker_folds(labels, speakers, np.arange(7), 2, least=1)[1]
    _, by_speaker = speaker_folds(labels, speakers, np.arange(7), 2, least=2)
    assert not by_speaker, "one clip of class 1 by speaker 1 cannot be calibrated"


@pytest.mark.parametrize(
    ("labels", "least"), [([0, 0, 0, 1], 1), ([0, 0, 0, 1, 1], 2), ([0, 0, 0], 1)]
)
def test_a_class_of_too_few_clips_is_refused(labels, least):
    windows = np.repeat(np.arange(len(labels)), 2)
    with pytest.raises(UserError, match="a class has fewer than . training clips"):
        speaker_folds(np.array(labels)[windows], np.zeros(len(windows)), windows, 2, least)


@pytest.fixture
def fitting(clips, store, labels, tmp_path):
    """Runs `fit_classical` on a tiny network and twelve clips of noise of three speakers, the last
    of validation.
    """

    def run(
        architecture="mfcc_linear", grid=None, metric="uar", trained=range(12), speakers=3, **more
    ):
        plan = blueprint(architecture, labels, options=TINY)
        transformers.set_seed(0)
        model = build_model(plan)
        every, validation = (
            clip_table(clips, rows, store, window=4000) for rows in (trained, range(8, 12))
        )
        arguments = training_arguments(DEFAULTS, tmp_path, 0, metric, progress=False)
        more |= {
            "speakers": [f"s{row // 4 % speakers}" for row in range(12)],
            "grid": grid or GRIDS[architecture],
        }
        done = fit_classical(
            model, plan.extractor, store, every, validation, arguments, compute_metrics, **more
        )
        return (
            done,
            embed(model, Collator(store, plan.extractor), every, arguments).astype(float),
            every,
        )

    return run


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 1.0, 0.5]])
@pytest.mark.parametrize("metric", ["uar", "loss"])
def test_a_candidate_is_scored_on_clips_of_held_out_speakers(fitting, metric, class_weights):
    grid = {"C": [1e-6, 0.01, 1.0, 100.0]}
    done, vectors, every = fitting(grid=grid, metric=metric, class_weights=class_weights)
    assert [(entry["epoch"], entry["candidate"]["C"]) for entry in done.history] == list(
        enumerate(grid["C"], start=1)
    )
    assert all(
        {"loss", "uar", "wa", "macro_f1", "weighted_f1"} <= set(e["validation"])
        for e in done.history
    )
    assert np.all(np.diff([entry["train_loss"] for entry in done.history]) < 0)
    values = [entry["validation"][metric] for entry in done.history]
    best = int(np.argmin(values) if metric == "loss" else np.argmax(values))
    assert [entry.get("kept", False) for entry in done.history] == [i == best for i in range(4)]
    assert done.validated == values[best]

    # The same with scikit-learn's own pipeline, on windows, each held out with its speaker.
    rows, lengths, labels = (np.asarray(every[name][:]) for name in ("row", "length", "labels"))
    assert len(rows) > len(set(rows))
    expected = np.zeros((len(rows), 4))
    for speaker in range(3):
        own = rows // 4 != speaker
        held = rows // 4 == speaker
        pipe = make_pipeline(
            StandardScaler(), LogisticRegression(C=grid["C"][best], max_iter=10000)
        )
        weights = None if class_weights is None else np.array(class_weights)[labels[own]]
        pipe.fit(vectors[own], labels[own], logisticregression__sample_weight=weights)
        expected[held] = pipe.predict_log_proba(vectors[held])
    held_out = done.held_out
    last = rows >= 8
    np.testing.assert_array_equal([held_out.rows, held_out.lengths], [rows[last], lengths[last]])
    assert_near(torch.from_numpy(held_out.logits).log_softmax(dim=1).numpy(), expected[last])
    pooled = compute_metrics(
        EvalPrediction(merge(rows, lengths, expected)[1], labels[first_indices(rows)])
    )
    found = done.history[best]["validation"]
    assert found == pytest.approx({"loss": found["loss"], **pooled})
    assert done.refit == {
        "selection": "cross-validation over speakers",
        "folds": 3,
        "speakers": 3,
        "clips": 12,
    }
    assert (len(done.history[best]["folds"]), done.notes) == (3, [])


def test_evaluated_validation_clips_take_no_part(fitting):
    done, *_ = fitting(trained=range(8))
    assert (done.held_out, done.refit, len(done.history[0]["folds"])) == (None, None, 2)


def test_one_speaker_is_divided_by_clips_and_the_report_says_so(fitting):
    done, *_ = fitting("mfcc_svm", grid={"C": [0.1]}, speakers=1)
    assert done.notes == [SELECTED_BY_CLIPS, CALIBRATED_BY_CLIPS]
    assert done.refit["selection"] == "cross-validation over clips"


def transferred(name, **settings):
    torch.manual_seed(0)
    return TRANSFERRED[name](tiny_config(name, **settings))


@pytest.fixture
def on_encoder(clips, store, labels, tmp_path):
    """Runs `fit_classical` on a model, eight clips of noise to train and four to validate; fine
    with any model.
    """
    extractor = blueprint("mfcc_linear", labels).extractor

    def run(model, grid=None, trained=range(8), **more):
        parts = clip_table(clips, trained, store), clip_table(clips, range(8, 12), store, **more)
        arguments = training_arguments(DEFAULTS, tmp_path, 0, "loss", progress=False)
        speakers = [f"s{row // 4}" for row in range(12)]
        grid = {"C": [0.01, 1.0]} if grid is None else grid
        return fit_classical(
            model,
            extractor,
            store,
            *parts,
            arguments,
            compute_metrics,
            speakers=speakers,
            grid=grid,
        )

    return run


def test_the_head_of_a_frozen_encoder(on_encoder, store, clips):
    model = transferred("byols")
    calls = []
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    with model.encoder.register_forward_hook(lambda *_: calls.append(1)):
        done = on_encoder(model)
    assert len(calls) == 1, "one batch, whatever the grid and the folds"
    after = model.encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert done.history[1]["train_loss"] < done.history[0]["train_loss"] < np.log(4)
    best = min(done.history, key=lambda entry: entry["validation"]["loss"])
    assert (best["kept"], best["validation"]["loss"]) == (True, done.validated)
    _, logits = predict(done.trainer, clip_table(clips, range(8), store))
    truth = torch.tensor(clip_table(clips, range(8), store)["labels"][:])
    assert float(nn.functional.cross_entropy(torch.from_numpy(logits), truth)) < np.log(4)


def test_support_vector_machines_on_a_frozen_encoder(on_encoder, tmp_path):
    model = transferred("vggish", head="svm")
    done = on_encoder(model, trained=range(12))
    assert isinstance(done.trainer.model.classifier, LinearMachines)
    assert model.classifier.weight.any()
    model.save_pretrained(tmp_path / "model")
    clip = torch.randn(1, 16000)
    loaded = type(model).from_pretrained(tmp_path / "model")
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items()
    )
    # Loaded weights may lie in memory in another order, for which a CPU may have another kernel.
    assert_near(loaded(clip).logits, model.eval()(clip).logits)


def test_untrained_layers_before_the_classifier_are_refused(on_encoder):
    with pytest.raises(
        UserError,
        match=r"training\.solver: .*pooling.score.2 of VGGish.* needs training; set model",
    ):
        on_encoder(transferred("vggish", pooling="attentive_stats"))


SYNTHETIC = {
    "corpus": {"name": "synthetic", "speakers": 12, "takes": 2},
    "protocol": {"near_duplicates": "skip", "test": 0.25},
    "evaluation": {"bootstrap": 50},
}


def recipe(architecture, **training):
    return {
        **SYNTHETIC,
        "name": architecture,
        "model": {"architecture": architecture},
        "training": training,
    }


@pytest.mark.parametrize(
    ("architecture", "training"),
    [
        ("mfcc_linear", {"grid": {"C": [0.1, 1.0]}}),
        ("mfcc_svm", {"grid": {"C": [0.01, 0.1]}}),
        ("mfcc_rbf_svm", {"grid": {"C": [10.0], "gamma_scale": [0.3]}}),
        ("mfcc_forest", {"grid": {"n_estimators": [40], "min_samples_leaf": [1]}}),
        ("vggish", {"solver": "sklearn", "grid": {"C": [0.01, 0.1]}}),
    ],
)
def test_a_whole_run_publishes_one_network(architecture, training, tmp_path):
    source = recipe(architecture, **training) | {"output_dir": str(tmp_path / "run")}
    if architecture == "vggish":
        tiny = {"channels": [4, 8, 8, 16], "hidden": 32, "embedding_size": 32, "head": "svm"}
        source["model"] |= tiny | {"random_init": True}
    report = ser_hf.run_recipe(source)
    assert report.parts["train"]["uar"] > 1 / len(report.labels)
    assert report.model.solver == "sklearn"
    parts = report.protocol.parts
    assert report.training.refit["clips"] == parts["train"].clips + parts["validation"].clips
    suffixes = {path.suffix for path in (tmp_path / "run" / "model").iterdir()}
    assert suffixes == {".json", ".md", ".py", ".safetensors", ".txt", ".yaml"}  # no pickle
    classifier = pipeline("audio-classification", model=str(tmp_path / "run" / "model"))
    scores = classifier(
        np.random.default_rng(0).standard_normal(16000).astype(np.float32), top_k=None
    )
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-5)
    assert {score["label"] for score in scores} == set(report.labels)

"""A run of task emotions+dimensions from audio to every use of its model; and refused recipes."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from safetensors import safe_open
from support.recipes import TINY_CRNN
from support.testing import write_checkpoint, write_corpus
from transformers import pipeline

import ser_hf
from ser_hf import cli
from ser_hf.experiment.reading import read_recipe
from ser_hf.report.model_page import headline
from ser_hf.report.report import read_report
from ser_hf.utils.errors import UserError

TARGETS = ["arousal", "valence"]
MEANS = {
    "angry": (4, 2),
    "disgust": (3, 2),
    "fear": (4, 1),
    "happy": (4, 5),
    "neutral": (3, 3),
    "sad": (2, 2),
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Of the clips of each speaker, one has no label and one has no ratings."""
    root = tmp_path_factory.mktemp("rated")
    write_corpus("csv", root, speakers=6, takes=2, sampling_rate=8000)
    rows = list(csv.DictReader((root / "clips.csv").open()))
    rng = np.random.default_rng(0)
    seen = dict.fromkeys((row["speaker"] for row in rows), 0)
    with (root / "rated.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "speaker", "sex", "label", *TARGETS])
        for row in rows:
            number = seen[row["speaker"]]
            seen[row["speaker"]] += 1
            ratings = np.clip(np.array(MEANS[row["label"]]) + rng.normal(0, 0.2, 2), 1, 5)
            cells = ["", ""] if number == 1 else ratings.round(2).tolist()
            label = "" if number == 0 else row["label"]
            table.writerow([row["path"], row["speaker"], row["sex"], label, *cells])
    return {
        "name": "both",
        "task": "emotions+dimensions",
        "corpus": {
            "name": "csv",
            "root": str(root / "rated.csv"),
            "targets": TARGETS,
            "ranges": dict.fromkeys(TARGETS, [1, 5]),
            "partial": True,
        },
        "protocol": {
            "name": "speaker_independent",
            "validation": 0.2,
            "test": 0.4,
            "near_duplicates": "skip",
        },
        "audio": {"sampling_rate": 8000},
        "model": TINY_CRNN | {"n_fft": 256, "win_length": 200, "hop_length": 128},
        "training": {
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "use_cpu": True,
            "loss": {"auxiliary": {"sex": 0.1}, "task_weights": {"dimensions": 0.5}},
        },
        "evaluation": {"bootstrap": 20},
    }


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "both"
    return folder, ser_hf.run_recipe(recipe, [f"output_dir={folder}"])


@pytest.mark.slow
def test_the_report_has_classes_and_dimensions(run):
    folder, report = run
    assert report.task == "emotions+dimensions"
    assert report.selected_by == "uar_ccc"
    assert {"uar", "wa", "macro_f1", "ccc", "pearson", "mae"} <= set(report.metrics)
    assert {"uar", "ccc"} <= set(report.intervals)
    assert list(report.per_dimension) == TARGETS == list(report.ranges)
    assert set(report.per_class) == set(report.labels) == set(MEANS)
    assert report.confusion
    validated = [entry["validation"] for entry in report.history]
    assert validated[0]["uar_ccc"] == pytest.approx((validated[0]["uar"] + validated[0]["ccc"]) / 2)
    # Each of two test speakers has a clip without a label and one without ratings.
    test_clips = report.protocol.parts["test"].clips
    assert (report.clips, report.rated_clips) == (test_clips - 2, test_clips - 2)
    assert sum(report.class_distribution["test"].values()) == report.clips
    assert report.training.auxiliary == {"sex": 0.1}
    assert read_report(folder / "report" / "report.json").metrics == report.metrics
    assert re.search(r"UAR .*, CCC .* on the test speakers", headline(report))
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Results by dimension" in page
    assert "Confusion matrix" in page
    assert (folder / "report" / "dimensions.png").is_file()
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "| arousal | 1 and 5 |" in card
    assert "ratings of\narousal, valence" in card
    assert "### Per-class results" in card
    assert "no heads for them" in card
    rows = pq.read_table(folder / "report" / "predictions.parquet").to_pylist()
    evaluated = [row for row in rows if row["part"] == "test"]
    assert len(evaluated) == test_clips
    assert sum(row["label"] is None for row in evaluated) == 2
    assert sum(row["true_arousal"] is None for row in evaluated) == 2


@pytest.mark.slow
def test_the_published_model_has_both_heads_and_no_auxiliary_head(run):
    folder, _ = run
    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "rating_head.weight" in names
    assert not any(name.startswith("auxiliary") for name in names)
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["dimension_names"] == TARGETS
    assert "auxiliary_targets" not in config
    assert ser_hf.verify(folder).good


@pytest.mark.slow
def test_prediction_pipeline_and_export_agree(run, recipe, tmp_path, capsys):
    folder, report = run
    clips = sorted(str(path) for path in Path(recipe["corpus"]["root"]).parent.rglob("*.wav"))[:3]
    found = ser_hf.predict(folder, clips)
    assert found.labels == report.labels
    assert found.dimensions == TARGETS
    assert found.values.shape == (3, 2)
    classifier = pipeline(
        "audio-classification", str(folder / "model"), trust_remote_code=True, device="cpu"
    )
    for clip, probabilities in zip(clips, found.probabilities, strict=True):
        outputs = classifier(soundfile.read(clip, dtype="float32")[0], top_k=None)
        scores = {row["label"]: row["score"] for row in outputs}
        assert set(scores) == set(report.labels)
        np.testing.assert_allclose(
            [scores[name] for name in report.labels], probabilities, atol=1e-5
        )
    ser_hf.export_model(folder, tmp_path / "model.onnx")
    exported = ser_hf.predict(tmp_path / "model.onnx", clips)
    np.testing.assert_allclose(exported.values, found.values, atol=1e-3)
    np.testing.assert_allclose(exported.probabilities, found.probabilities, atol=1e-4)
    assert cli.main(["predict", str(folder), *clips, "--format", "csv"]) == 0
    header, first, *_ = csv.reader(capsys.readouterr().out.splitlines())
    assert header[-2:] == ["value_arousal", "value_valence"]
    np.testing.assert_allclose([float(cell) for cell in first[-2:]], found.values[0], rtol=1e-5)
    assert cli.main(["predict", str(folder), clips[0], "--format", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row["values"]) == set(TARGETS)
    assert cli.main(["predict", str(folder), clips[0]]) == 0
    assert "arousal" in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_measures_labels_and_ratings(run, recipe, tmp_path, capsys):
    folder, report = run
    output = tmp_path / "evaluation"
    arguments = ["evaluate", str(folder), "--recipe", str(folder), "--output", str(output)]
    assert cli.main([*arguments, "--bootstrap", "20"]) == 0
    assert "CCC" in capsys.readouterr().out
    evaluated = read_report(output / "report.json")
    assert evaluated.task == "emotions+dimensions"
    assert (evaluated.clips, evaluated.rated_clips) == (report.clips, report.rated_clips)
    for name in ("uar", "wa", "ccc", "mae"):
        assert evaluated.metrics[name] == pytest.approx(report.metrics[name], abs=1e-4)
    assert list(evaluated.per_dimension) == TARGETS == list(evaluated.ranges)
    assert (output / "dimensions.png").is_file()

    # Without ratings in the corpus, only the labels are evaluated.
    labels_only = {"labels": report.labels, "on_unknown": "skip"}
    root = recipe["corpus"]["root"]
    of_labels = ser_hf.evaluate_model(
        folder, "csv", root, settings=labels_only, training_speakers=True, bootstrap=20, map=None
    )
    assert of_labels.task == "emotions"
    assert "ccc" not in of_labels.metrics


@pytest.mark.slow
def test_a_matrix_has_both_figures_of_a_model_of_both(run, recipe, tmp_path):
    folder, report = run
    corpus = {key: value for key, value in recipe["corpus"].items() if key != "name"}
    matrix = ser_hf.evaluate_matrix(
        [folder], {"csv": corpus}, tmp_path / "matrix", map=None, bootstrap=20, hardest_clips=0
    )
    (cell,) = matrix.cells
    assert cell.error is None
    assert {"uar", "ccc"} <= set(cell.metrics)
    assert cell.labels == report.labels


@pytest.mark.slow
def test_folds_and_seeds_have_means_of_both(recipe, tmp_path):
    overrides = ["protocol={name: kfold, k: 3, near_duplicates: skip}", "protocol.folds=[1, 2]"]
    report = ser_hf.run_recipe(recipe, [*overrides, f"output_dir={tmp_path / 'folds'}"])
    assert {"uar", "ccc"} <= set(report.pooled.intervals)
    assert {"uar", "ccc"} <= set(report.intervals)
    of_folds = [fold.metrics["ccc"] for fold in report.protocol.folds.values()]
    assert report.metrics["ccc"] == pytest.approx(np.mean(of_folds))
    assert list(report.per_dimension) == TARGETS
    seeds = ser_hf.run_recipe(recipe, ["training.seeds=[1, 2]", f"output_dir={tmp_path / 'seeds'}"])
    assert "ccc" in seeds.deviations


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_result(recipe, tmp_path):
    whole = ser_hf.run_recipe(recipe, [f"output_dir={tmp_path / 'whole'}"])

    class Interrupted(Exception):
        pass

    def interrupt(path, epoch, metrics):
        raise Interrupted

    overrides = [f"output_dir={tmp_path / 'resumed'}"]
    with pytest.raises(Interrupted):
        ser_hf.run_recipe(recipe, overrides, watch=interrupt)
    resumed = ser_hf.run_recipe(recipe, overrides, resume=True)
    assert resumed.metrics == pytest.approx(whole.metrics, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["lora={rank: 2}"],
        ["freeze={encoder: true, cache: true}"],
        ["model.head_layers=[8]", "model.weighted_layer_sum=true", "augment.mixup.probability=0.5"],
    ],
)
def test_encoders_have_both_heads(recipe, tmp_path, overrides):
    write_checkpoint(tmp_path / "encoder")
    model = {"architecture": "encoder", "checkpoint": str(tmp_path / "encoder")}
    values = recipe | {"model": model, "audio": {"sampling_rate": 16000}}
    report = ser_hf.run_recipe(
        values,
        [*overrides, "training.num_train_epochs=1", f"output_dir={tmp_path / 'run'}"],
    )
    assert {"uar", "ccc"} <= set(report.metrics)
    clip = min(str(path) for path in Path(recipe["corpus"]["root"]).parent.rglob("*.wav"))
    assert ser_hf.predict(tmp_path / "run", clip).values.shape == (1, 2)
    for adapter in (tmp_path / "run" / "model").glob("adapter/*"):
        assert b"auxiliary_head" not in adapter.read_bytes()


@pytest.mark.slow
def test_training_starts_from_a_model_of_classes_alone(recipe, run, tmp_path):
    """The head of the ratings is new, and that of the classes is kept."""
    corpus = {key: recipe["corpus"][key] for key in ("name", "root")} | {"on_unknown": "skip"}
    single = recipe | {"task": "emotions", "corpus": corpus, "name": "single"}
    training = {key: value for key, value in recipe["training"].items() if key != "loss"}
    single["training"] = training | {"loss": {"auxiliary": {"sex": 0.2}}}
    report = ser_hf.run_recipe(single, [f"output_dir={tmp_path / 'single'}"])
    assert report.task == "emotions"
    assert report.training.auxiliary == {"sex": 0.2}
    assert "ccc" not in report.metrics
    overrides = [f"model.checkpoint={tmp_path / 'single'}", f"output_dir={tmp_path / 'both'}"]
    report = ser_hf.run_recipe(recipe, overrides)
    assert report.model.parent.kept_labels
    assert "ccc" in report.metrics


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=emotions", "corpus.targets: .*task: dimensions or emotions"),
        ("task=dimensions", "corpus.partial: not of task dimensions"),
        ("corpus.targets=[]", "corpus."),
        ("training.early_stopping.metric=log_loss", "training.early_stopping.metric: .*uar_ccc"),
        ("training.loss.weights={joy: 1}", "training.loss.weights.joy: "),
        ("training.loss.task_weights={joy: 1}", "training.loss.task_weights"),
        ("training.loss.task_weights={emotions: 0, dimensions: 0}", "training.loss.task_weights: "),
        ("training.loss.auxiliary={accent: 1}", "training.loss.auxiliary"),
        ("training.loss.auxiliary={sex: 0}", "training.loss.auxiliary.sex: "),
        ("training.per_device_train_batch_size=1", "training.per_device_train_batch_size: .*CCC"),
        ("model={architecture: mfcc_svm}", "training.solver: "),
        ("model={architecture: mfcc_linear}", "training.solver: "),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe, override, message):
    with pytest.raises(UserError, match=f"^{message}"):
        read_recipe(recipe, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corpus.partial=false", "no label"),
        ("training.loss.auxiliary={age_group: 0.1}", "training.loss.auxiliary.age_group: "),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused(recipe, override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        ser_hf.run_recipe(recipe, [override, f"output_dir={tmp_path / 'run'}"])

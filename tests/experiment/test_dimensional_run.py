"""A run of task dimensions from audio to every use of its model; and recipes that mix the tasks."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support.isolated import run_without_ser_hf
from support.recipes import TINY_CRNN
from support.testing import write_corpus
from transformers import pipeline

import ser_hf
from ser_hf import cli
from ser_hf.evaluation.conditions import CONDITIONS
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.reproduce import reproduce
from ser_hf.hub.publish import stage_report
from ser_hf.hub.space import Demo, write_space
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
    root = tmp_path_factory.mktemp("rated")
    write_corpus("csv", root, speakers=6, takes=1, sampling_rate=8000)
    rows = list(csv.DictReader((root / "clips.csv").open()))
    rng = np.random.default_rng(0)
    with (root / "rated.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "speaker", "sex", *TARGETS])
        for row in rows:
            ratings = np.clip(np.array(MEANS[row["label"]]) + rng.normal(0, 0.2, 2), 1, 5)
            table.writerow([row["path"], row["speaker"], row["sex"], *ratings.round(2)])
    ratings = {"label": None, "targets": TARGETS, "ranges": dict.fromkeys(TARGETS, [1, 5])}
    return {
        **{"name": "rated", "task": "dimensions"},
        "corpus": {"name": "csv", "root": str(root / "rated.csv"), **ratings},
        "protocol": {
            "name": "speaker_independent",
            "validation": 0.2,
            "test": 0.4,
            "near_duplicates": "skip",
        },
        "audio": {"sampling_rate": 8000},
        "model": TINY_CRNN | {"n_fft": 256, "win_length": 200, "hop_length": 128},
        "training": {"num_train_epochs": 2, "learning_rate": 0.01, "use_cpu": True},
        "evaluation": {"bootstrap": 20, "window": 1.0},
    }


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory, rendered):
    folder = tmp_path_factory.mktemp("runs") / "rated"
    with rendered():
        report = ser_hf.run_recipe(recipe, [f"output_dir={folder}", "evaluation.robustness=true"])
    return folder, report


@pytest.mark.slow
def test_the_report_has_dimensions_on_every_page(run):
    folder, report = run
    assert (report.task, report.labels, report.ranges["valence"]) == ("dimensions", TARGETS, [1, 5])
    assert list(report.per_dimension) == TARGETS
    assert set(report.metrics) == {"ccc", "pearson", "mae", "rmse"}
    assert report.metrics["ccc"] == pytest.approx(
        np.mean([own.ccc for own in report.per_dimension.values()])
    )
    assert report.selected_by == "ccc"
    assert list(report.rating_scale) == TARGETS
    predictions = pq.read_table(folder / "report" / "predictions.parquet").to_pandas()
    for name in TARGETS:
        of_test = predictions[predictions["part"] == "test"]
        assert of_test[f"p_{name}"].between(0, 1).all()
        assert report.per_dimension[name].outside == report.rating_scale[name].outside_after
    assert [one.name for one in report.robustness.conditions] == [one.name for one in CONDITIONS]
    assert read_report(folder / "report" / "report.json").metrics == report.metrics
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Results by dimension" in page
    assert "UAR" not in page
    assert (folder / "report" / "dimensions.png").is_file()
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "| arousal | 1 and 5 |" in card
    assert "A linear map to the scale of the ratings was fitted" in card
    assert "UAR" not in card


@pytest.mark.slow
def test_prediction_pipeline_and_export_agree(run, recipe, tmp_path, capsys):
    folder, _ = run
    clips = sorted(str(path) for path in Path(recipe["corpus"]["root"]).parent.rglob("*.wav"))[:3]
    found = ser_hf.predict(folder, clips, window=60)
    assert found.labels == TARGETS
    assert found.probabilities is found.predicted is None
    np.testing.assert_allclose(found.values, 1 + 4 * found.logits.clip(0, 1), rtol=1e-5)
    classifier = pipeline(
        "audio-classification", str(folder / "model"), trust_remote_code=True, device="cpu"
    )
    for clip, logits in zip(clips, found.logits, strict=True):
        scores = {
            row["label"]: row["score"]
            for row in classifier(soundfile.read(clip, dtype="float32")[0])
        }
        np.testing.assert_allclose([scores[name] for name in TARGETS], logits, atol=1e-5)
    ser_hf.export_model(folder, tmp_path / "model.onnx")
    exported = ser_hf.predict(tmp_path / "model.onnx", clips, window=60)
    np.testing.assert_allclose(exported.values, found.values, atol=1e-3)
    assert cli.main(["predict", str(folder), *clips, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert "scale of the ratings: arousal 1 to 5, valence 1 to 5" in printed.err
    header, first, *_ = csv.reader(printed.out.splitlines())
    assert header[-4:] == ["value_arousal", "value_valence", "logit_arousal", "logit_valence"]
    assert len(first) == len(header)
    assert (
        cli.main(
            [
                "predict",
                str(folder),
                clips[0],
                "--segments",
                "windows",
                "--output",
                str(tmp_path / "time.csv"),
            ]
        )
        == 0
    )
    assert (tmp_path / "time.csv").read_text().startswith("id,path,speaker,label,original_label,")


@pytest.mark.slow
def test_evaluation_comparison_and_verification(run, recipe, tmp_path):
    folder, report = run
    given = folder, "csv", recipe["corpus"]["root"]
    settings = {
        "label": None,
        "targets": TARGETS,
        "ranges": recipe["corpus"]["ranges"],
        "sampling_rate": 8000,
    }
    split = {
        "protocol": "speaker_independent",
        "protocol_options": {"validation": 0.2, "test": 0.4},
    }
    again = ser_hf.evaluate_model(
        *given, output=tmp_path / "again", settings=settings, bootstrap=20, **split
    )
    assert again.metrics == pytest.approx(report.metrics, rel=1e-4)
    settings |= {"targets": ["valence"], "ranges": {"valence": [1, 5]}}
    one = ser_hf.evaluate_model(*given, settings=settings, bootstrap=20)
    assert one.labels == ["valence"]
    assert one.metrics["ccc"] == pytest.approx(one.per_dimension["valence"].ccc)
    with pytest.raises(UserError, match=r"^corpus\.targets: .*arousal, valence"):
        ser_hf.evaluate_model(folder, "synthetic", settings={"speakers": 3, "takes": 1})
    verdict = ser_hf.verify(folder)
    assert verdict.good, verdict
    compared = ser_hf.compare_runs([folder, tmp_path / "again"])
    assert compared.metric == "ccc"
    assert compared.pairs[0].metrics["ccc"].difference == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_the_page_of_a_space_shows_ratings(run, recipe, tmp_path):
    pytest.importorskip("gradio")
    folder = run[0]
    clip = min(str(path) for path in Path(recipe["corpus"]["root"]).parent.rglob("*.wav"))
    write_space(
        tmp_path / "space", Demo(str(folder / "model"), run[1], trust_remote_code=True, window=60.0)
    )
    code = (
        "import runpy, sys\n"
        "sys.path.insert(0, 'space')\n"
        f"print(runpy.run_path('space/app.py')['predict']({clip!r})[0])"
    )
    html = run_without_ser_hf(code, tmp_path)
    shown = [float(value) for value in re.findall(r'value">([-\d.]+)<', html)]
    np.testing.assert_allclose(shown, ser_hf.predict(folder, clip, window=60).values[0], atol=0.006)
    assert re.findall(r'label">(\w+)<', html) == TARGETS, "in their order"
    assert "<strong>" not in html


@pytest.mark.slow
def test_the_published_report_has_the_ratings_and_no_classes(run, tmp_path):
    stage_report(run[0], tmp_path / "report", repo_id="tester/rated-report")
    assert {"dimensions.png", "index.html"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }
    assert (
        "true_valence" in pq.read_schema(tmp_path / "report" / "predictions" / "test.parquet").names
    )
    card = (tmp_path / "report" / "README.md").read_text(encoding="utf-8")
    assert "| arousal | 1 and 5 |" in card
    assert "UAR" not in card


@pytest.mark.slow
def test_several_runs_have_means_and_can_be_reproduced(recipe, tmp_path):
    settings = [
        "training.seeds=[1, 2]",
        "training.loss={dimensions: ccc_mse, weights: {arousal: 2}}",
    ]
    report = ser_hf.run_recipe(recipe, [*settings, f"output_dir={tmp_path / 'seeds'}"])
    runs = [own.metrics["ccc"] for own in report.seeds.values()]
    assert report.metrics["ccc"] == pytest.approx(np.mean(runs))
    comparison = reproduce(tmp_path / "seeds", [f"corpus.root={recipe['corpus']['root']}"])
    assert comparison["reproduced"], comparison["verdict"]
    folds = ["protocol={name: kfold, k: 3, near_duplicates: skip}", "protocol.folds=[1, 2]"]
    report = ser_hf.run_recipe(recipe, [*folds, f"output_dir={tmp_path / 'folds'}"])
    assert set(report.pooled.intervals) == {"ccc", "pearson", "mae", "rmse"}
    assert json.loads((tmp_path / "folds" / "report" / "report.json").read_text())["per_dimension"][
        "arousal"
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=valence", "task: "),
        ("task=emotions", "corpus.targets: .*task: dimensions"),
        ("corpus={name: csv, root: x.csv}", "corpus.targets: missing"),
        ("training.early_stopping.metric=uar", "training.early_stopping.metric: .*ccc"),
        ("training.loss.focal_gamma=1", "training.loss.focal_gamma: not of task dimensions"),
        ("training.loss.weights={joy: 1}", "training.loss.weights.joy: "),
        ("training.loss.weights={arousal: 0, valence: 0}", "training.loss.weights: "),
        ("training.per_device_train_batch_size=1", "training.per_device_train_batch_size: .*CCC"),
        ("evaluation.temperature=store", "evaluation.temperature: "),
        ("model={architecture: mfcc_svm}", "training.solver: "),
    ],
)
def test_a_recipe_that_mixes_the_tasks_is_refused(recipe, override, message):
    with pytest.raises(UserError, match=f"^{message}"):
        read_recipe(recipe, [override])


def test_keys_of_dimensions_are_refused_for_classes():
    values = {
        "corpus": {"name": "synthetic"},
        "model": TINY_CRNN,
        "training": {"loss": {"dimensions": "mse"}},
    }
    with pytest.raises(UserError, match=r"^training\.loss\.dimensions: "):
        read_recipe(values)

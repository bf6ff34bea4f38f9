"""A recipe that stores a temperature: the published model has the probabilities of its report."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax
from transformers import AutoConfig, pipeline
from transformers.audio_utils import load_audio

import ser_hf
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError

RECIPE = {
    "name": "calibrated",
    "corpus": {"name": "synthetic", "speakers": 8, "takes": 1},
    "protocol": {"validation": 0.25, "test": 0.25, "near_duplicates": "skip"},
    "model": {"architecture": "mfcc_mlp", "n_mels": 32, "n_mfcc": 8, "hidden": [32, 32]},
    "training": {"num_train_epochs": 5, "learning_rate": 1e-2, "seeds": [1, 2]},
    "evaluation": {"bootstrap": 20, "temperature": "store"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "calibrated"
    ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"])
    return folder


def read(folder: Path) -> dict:
    return json.loads((folder / "report" / "report.json").read_text())


def evaluated(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (clips,) and probabilities (clips, classes) of the test part."""
    report = read(folder)
    table = pq.read_table(folder / "report" / "predictions.parquet").to_pylist()
    clips = [clip for clip in table if clip["part"] == "test"]
    labels = np.asarray([report["labels"].index(clip["label"]) for clip in clips])
    return labels, np.asarray(
        [[clip[f"p_{label}"] for label in report["labels"]] for clip in clips]
    )


@pytest.mark.slow
def test_each_run_has_a_temperature_and_reports_its_effect(run):
    values = set()
    for seed in (1, 2):
        folder = run / f"seed-{seed}"
        temperature = read(folder)["temperature"]
        assert temperature["stored"]
        assert temperature["fitted_on"] == "validation"
        assert (
            AutoConfig.from_pretrained(
                folder / "model", trust_remote_code=True
            ).calibration_temperature
            == (temperature["value"])
        )
        for when, exponent in (("after", 1), ("before", temperature["value"])):
            labels, probabilities = evaluated(folder)
            plain = softmax(exponent * np.log(probabilities), axis=1)
            loss = -np.log(plain[np.arange(len(labels)), labels]).mean()
            assert temperature[when]["log_loss"] == pytest.approx(loss, rel=1e-4), when
        assert read(folder)["metrics"]["ece"] == pytest.approx(
            temperature["after"]["ece"], abs=1e-6
        )
        values.add(temperature["value"])
    assert len(values) == 2


@pytest.mark.slow
def test_the_pipeline_gives_the_probabilities_of_the_report(run, private_cache):
    chosen = run / f"seed-{read(run)['chosen_seed']}"
    value = read(chosen)["temperature"]["value"]
    assert abs(np.log(value)) > 0.01, "a temperature of 1 would show nothing"
    classifier = pipeline("audio-classification", model=str(run / "model"), trust_remote_code=True)
    table = pq.read_table(chosen / "report" / "predictions.parquet").to_pylist()
    expected = {clip["id"].partition("/")[2]: clip for clip in table if clip["part"] == "test"}
    paths = [
        path
        for path in sorted((private_cache / "synthetic").rglob("*.wav"))
        if path.stem in expected
    ][:5]
    assert len(paths) == 5
    for path in paths:
        for item in classifier(load_audio(str(path), sampling_rate=16000), top_k=None):
            assert item["score"] == pytest.approx(
                expected[path.stem][f"p_{item['label']}"], abs=1e-5
            )


@pytest.mark.parametrize(
    "model",
    [{"architecture": "mfcc_svm"}, {"architecture": "byols", "random_init": True, "head": "svm"}],
)
def test_a_head_that_cannot_hold_it_is_refused_before_anything_runs(model):
    recipe = {"corpus": {"name": "synthetic"}, "model": model, "training": {"solver": "sklearn"}}
    with pytest.raises(UserError, match=r"^evaluation\.temperature: cannot be stored"):
        read_recipe(recipe, ["evaluation.temperature=store"])
    assert read_recipe(recipe).evaluation.temperature == "report"

"""The map of embeddings of a run and of an evaluation: saved model, evaluated clips."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.cli import main
from ser_hf.experiment import embedding_maps, evaluate, measuring
from ser_hf.experiment.embedding_maps import NO_EMBEDDINGS
from ser_hf.inference.batches import NoEmbeddings
from ser_hf.inference.load import load_classifier

RECIPE = {
    "name": "tiny",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1, "labels": ["sad", "happy", "angry"]},
    "protocol": {
        "name": "speaker_independent",
        "validation": 0.2,
        "test": 0.4,
        "near_duplicates": "skip",
    },
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 0.02, "use_cpu": True},
    "evaluation": {"bootstrap": 20},
}
SETTINGS = dict(RECIPE, corpus=RECIPE["corpus"] | {"drop": ["disgust", "fear", "neutral"]})
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    ser_hf.run_recipe(SETTINGS, [f"output_dir={folder}"])
    return folder


def embeddings_in(folder):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report.get("embeddings")


def rows_of(folder):
    """The rows of the table of a map, by id."""
    table = pq.read_table(folder / "embeddings.parquet")
    return {row["id"]: row for row in table.to_pylist()}


def test_a_run_maps_the_evaluated_clips(run):
    section = embeddings_in(run / "report")
    predictions = pq.read_table(
        run / "report" / "predictions.parquet", filters=[("part", "=", "test")]
    )
    rows = rows_of(run / "report")
    assert list(rows) == predictions["id"].to_pylist()
    for row in predictions.to_pylist():
        for name in ("label", "predicted", "speaker"):
            assert rows[row["id"]][name] == row[name]
    assert section["method"] == "pca"
    assert section["clips"] == len(rows)
    classifier = load_classifier(run / "model")
    assert section["size"] == classifier.model.classifier.in_features
    # The report in the model folder has it, too.
    assert embeddings_in(run / "model") == section
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="embeddings"' in page
    assert (run / "report" / "embeddings_by_speaker.png").is_file()


def test_an_evaluation_has_the_map_of_the_run(run, tmp_path):
    words = ["evaluate", run, "--recipe", run, "--bootstrap", "20", "--device", "cpu", "--output"]
    assert main([*map(str, words), str(tmp_path / "again")]) == 0
    rows = rows_of(run / "report")
    for clip_id, row in rows_of(tmp_path / "again").items():
        for axis in ("x", "y"):
            assert row[axis] == pytest.approx(rows[clip_id][axis], abs=1e-2)
    assert main([*map(str, words), str(tmp_path / "none"), "--map", "none"]) == 0
    assert embeddings_in(tmp_path / "none") is None
    assert not (tmp_path / "none" / "embeddings.parquet").exists()


def test_null_computes_no_map(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a map was computed")

    monkeypatch.setattr(measuring, "map_of", refuse)
    folder = tmp_path / "run"
    ser_hf.run_recipe(SETTINGS, [f"output_dir={folder}", "evaluation.map=null"])
    assert embeddings_in(folder / "report") is None


def test_the_page_names_the_reason_for_no_map(run, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise NoEmbeddings(f"embeddings: {run} has none")

    monkeypatch.setattr(embedding_maps, "classify_and_embed", refuse)
    monkeypatch.setattr(evaluate, "classify_and_embed", refuse)
    words = ["evaluate", run, "--recipe", run, "--bootstrap", "20", "--device", "cpu", "--output"]
    assert main([*map(str, words), str(tmp_path / "again")]) == 0
    section = embeddings_in(tmp_path / "again")
    assert section["missing"] == NO_EMBEDDINGS
    assert section["clips"] == 0
    assert "There is no map" in (tmp_path / "again" / "index.html").read_text(encoding="utf-8")


def test_embeddings_of_a_sample_are_those_of_all_clips(run):
    classifier = load_classifier(run / "model", device="cpu")
    generator = np.random.default_rng(0)
    clips = [generator.normal(size=length).astype(np.float32) for length in (9000, 7000, 8000)]
    names = ["a", "b", "c"]
    with torch.inference_mode():
        everything = embedding_maps.classify_and_embed(
            classifier, clips, names, np.arange(3), progress=False
        )
        sample = embedding_maps.classify_and_embed(
            classifier, clips, names, np.array([0, 2]), progress=False
        )
    np.testing.assert_array_equal(sample.predictions, everything.predictions)
    np.testing.assert_array_equal(sample.vectors, everything.vectors[[0, 2]])

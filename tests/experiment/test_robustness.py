"""The robustness of a run: of the saved model, on the evaluated clips."""

import json

import pytest
import soundfile
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.evaluation.conditions import CONDITIONS
from ser_hf.experiment import measuring

RECIPE = {
    "name": "tiny",
    # Not in canonical order: robustness has the classes of the recipe.
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1, "labels": ["sad", "happy", "angry"]},
    "protocol": {
        "name": "speaker_independent",
        "validation": 0.2,
        "test": 0.4,
        "near_duplicates": "skip",
    },
    "audio": {"trim_silence": 30},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 3, "learning_rate": 0.02, "use_cpu": True},
    "evaluation": {"bootstrap": 20, "robustness": True},
}


@pytest.mark.slow
def test_a_run_reports_robustness(tmp_path, monkeypatch):
    robustness_of = measuring.robustness_of
    given = {}

    def watched(classifier, mapping, predictions, waveforms, **settings):
        given.update({clip: len(waveforms[i]) for i, clip in enumerate(predictions.ids)})
        return robustness_of(classifier, mapping, predictions, waveforms, **settings)

    monkeypatch.setattr(measuring, "robustness_of", watched)
    settings = dict(RECIPE, corpus=RECIPE["corpus"] | {"drop": ["disgust", "fear", "neutral"]})
    report = ser_hf.run_recipe(settings, [f"output_dir={tmp_path / 'run'}"])
    written = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    clean = report.robustness.clean
    assert clean.uar == pytest.approx(report.metrics["uar"])
    assert clean.wa == pytest.approx(report.metrics["wa"])
    assert [own["name"] for own in written["robustness"]["conditions"]] == [
        own.name for own in CONDITIONS
    ]
    assert written["robustness"]["clips"] == report.clips
    recorded = {
        row["id"]: row["audio"]["path"]
        for row in ser_hf.load_corpus("synthetic", speakers=6, takes=1)
    }
    assert given == {clip: soundfile.info(recorded[clip]).frames for clip in given}
    # The report in the model folder has it, too.
    assert (
        json.loads((tmp_path / "run" / "model" / "report.json").read_text())["robustness"]
        == written["robustness"]
    )
    # Lines of the card may break at any space.
    card = " ".join((tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8").split())
    assert f"on average over {len(CONDITIONS)} conditions" in card
    assert not (tmp_path / "run" / "model.partial").exists()

"""A run on openSMILE's functionals: what needs recordings gets recordings, and what cannot work is
refused.
"""

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import ser_hf
import ser_hf.experiment.data
from ser_hf.experiment.reading import read_recipe
from ser_hf.hub.space import Demo, write_space
from ser_hf.inference.load import load_classifier
from ser_hf.inference.reference import read_reference
from ser_hf.report.report import read_report
from ser_hf.utils.errors import UserError

pytest.importorskip("opensmile")
RECIPE = {
    "name": "functionals",
    "corpus": {"name": "synthetic", "speakers": 4, "takes": 1},
    "model": {"architecture": "functionals_svm", "feature_set": "eGeMAPSv02"},
    "training": {"grid": {"C": [0.01, 0.1]}},
    "evaluation": {"bootstrap": 20},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, and the waveforms that were searched for near-duplicates."""
    folder = tmp_path_factory.mktemp("functionals") / "run"
    searched = []
    search = ser_hf.experiment.data.near_duplicates
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ser_hf.experiment.data,
            "near_duplicates",
            lambda store: searched.append(store) or search(store),
        )
        ser_hf.run_recipe(RECIPE | {"output_dir": str(folder)})
    return folder, searched


@pytest.mark.slow
def test_predictions_of_recordings_are_those_of_the_run(run):
    folder, searched = run
    dataset = ser_hf.load_corpus("synthetic", speakers=4, takes=1)
    table = pq.read_table(folder / "report" / "predictions.parquet").to_pandas().set_index("id")
    tested = table[table["part"] == "test"]
    clips = dataset.select([i for i, name in enumerate(dataset["id"][:]) if name in tested.index])
    predicted = ser_hf.predict(folder, clips)
    columns = [f"p_{label}" for label in predicted.labels]
    np.testing.assert_allclose(
        predicted.probabilities, tested.loc[predicted.ids, columns], atol=1e-5
    )
    # Seconds of recordings, which the search for near-duplicates had too, not of so many
    # functionals.
    seconds = predicted.table["end"].to_numpy()
    np.testing.assert_allclose(seconds, tested.loc[predicted.ids, "duration"], atol=1e-4)
    assert min(*searched[0].lengths, *map(len, read_reference(folder)[0])) > 16000 * 0.3
    windows = ser_hf.predict(folder, clips.select([0]), segments="windows", window=0.5)
    assert (np.diff(windows.table["start"].to_numpy()) > 0).all()
    with pytest.raises(UserError, match="^--window: .*functionals"):
        ser_hf.predict(folder, clips, window=0.5)


def test_card_and_demo_name_opensmile_and_its_license(run, tmp_path):
    # Lines of the card may break at any space.
    card = " ".join((run[0] / "model" / "README.md").read_text(encoding="utf-8").split())
    assert "torch, numpy, opensmile and transformers" in card
    assert "license allows research only" in card
    assert "non-commercial" in card.partition("# ")[0]
    space = write_space(
        tmp_path / "space", Demo("someone/tiny", read_report(run[0] / "report" / "report.json"))
    )
    assert "opensmile" in (space / "requirements.txt").read_text()


def test_a_missing_opensmile_is_named_with_its_extra(monkeypatch, run):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    from ser_hf.models.preparation import _smile

    monkeypatch.setattr("ser_hf.models.preparation._smile", _smile.__wrapped__)
    with pytest.raises(UserError, match=r'pip install "ser_hf\[opensmile\]"'):
        read_recipe(RECIPE)
    with pytest.raises(UserError, match="pip install opensmile"):
        load_classifier(run[0])


@pytest.mark.slow
def test_results_standardized_per_speaker_are_flagged_and_change_no_model(tmp_path):
    recipe = RECIPE | {
        "model": {"architecture": "mfcc_linear"},
        "protocol": {"name": "kfold", "k": 2},
    }
    plain = ser_hf.run_recipe(recipe | {"output_dir": str(tmp_path / "plain")})
    recipe["evaluation"] = RECIPE["evaluation"] | {"per_speaker": True}
    report = ser_hf.run_recipe(recipe | {"output_dir": str(tmp_path / "run")})
    assert plain.transductive is None
    assert report.metrics == plain.metrics
    folds = [read_report(tmp_path / "run" / f"fold-{n}" / "report" / "report.json") for n in (1, 2)]
    assert report.transductive["uar"] == pytest.approx(
        np.mean([fold.transductive["uar"] for fold in folds])
    )
    for one, place in ((report, "run"), (folds[0], "run/fold-1")):
        notes = [
            note for note in one.warnings if note.startswith("Standardized per speaker, UAR is ")
        ]
        assert len(notes) == 1
        assert f"UAR is {one.transductive['uar']:.3f}" in notes[0]
        assert notes[0] in (tmp_path / place / "report" / "index.html").read_text(encoding="utf-8")

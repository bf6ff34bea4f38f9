"""What a model was trained on, from the report beside it."""

import json
from types import SimpleNamespace

import pytest
from support.reports import whole_report

from ser_hf.experiment.provenance import (
    inherited_provenance,
    inherited_speakers_note,
    training_provenance,
)


@pytest.fixture
def model(tmp_path):
    """A function that writes a model's report with the given protocol."""

    def write(**protocol):
        values = whole_report()
        values["protocol"] = {"name": "kfold", "sha256": "a" * 64, **protocol}
        values.pop("seeds", None)
        if "folds" in protocol:
            values["chosen_fold"] = 2
        (tmp_path / "report.json").write_text(json.dumps(values), encoding="utf-8")
        return str(tmp_path)

    return write


def parts(*train):
    return {
        "train": {"clips": 1, "speakers": list(train)},
        "validation": {"clips": 1, "speakers": ["toy:v"]},
        "test": {"clips": 1, "speakers": ["toy:t"]},
    }


def test_speakers_of_training_validation_and_checkpoint_are_known(model):
    provenance = training_provenance(model(parts=parts("toy:a"), inherited=["other:b"]))
    assert provenance.speakers == {"toy:a", "toy:v", "other:b"}
    assert provenance.corpora == {"toy", "other"}
    assert provenance.protocol == "kfold"
    assert provenance.fold is None


def test_of_several_folds_the_published_one_counts(model):
    folds = {
        number: {"metrics": whole_report()["metrics"], "parts": parts(f"toy:{number}")}
        for number in ("1", "2")
    }
    provenance = training_provenance(model(folds=folds))
    assert provenance.speakers == {"toy:2", "toy:v"}
    assert provenance.fold == 2


def test_a_model_without_a_readable_report_has_no_provenance(tmp_path, caplog):
    assert training_provenance(str(tmp_path)) is None
    (tmp_path / "report.json").write_text("{}")
    assert training_provenance(str(tmp_path)) is None
    assert "are unknown" in caplog.text


def test_random_weights_inherit_nothing(model):
    folder = model(parts=parts("toy:a"))
    trained = SimpleNamespace(checkpoint=folder, random_init=False)
    assert inherited_provenance(trained).speakers == {"toy:a", "toy:v"}
    assert inherited_provenance(SimpleNamespace(checkpoint=folder, random_init=True)) is None
    assert inherited_provenance(SimpleNamespace(checkpoint=None, random_init=False)) is None


def test_inherited_test_speakers_are_noted():
    split = SimpleNamespace(speakers={"test": ["toy:a", "toy:b"]})
    assert inherited_speakers_note(["toy:c"], [split]) is None
    assert inherited_speakers_note(["toy:a"], [split]).startswith("1 of the test speakers")

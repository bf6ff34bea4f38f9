"""What a model was trained on, from the report beside it."""

import json
from types import SimpleNamespace

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from support.reports import whole_report

from ser_hf.experiment.provenance import (
    TrainingProvenance,
    inherited_provenance,
    require_new_to_parent,
    training_provenance,
    validation_note,
    with_parent_speakers,
)
from ser_hf.protocols.split import make_split
from ser_hf.utils.errors import UserError


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


def checkpoint(folder, random_init=False):
    return SimpleNamespace(checkpoint=folder, random_init=random_init, revision=None)


def test_random_weights_inherit_nothing(model):
    folder = model(parts=parts("toy:a"))
    assert inherited_provenance(checkpoint(folder)).speakers == {"toy:a", "toy:v"}
    assert inherited_provenance(checkpoint(folder, random_init=True)) is None
    assert inherited_provenance(checkpoint(None)) is None


SPEAKERS = ["toy:a", "toy:b", "toy:c"]


@pytest.fixture
def dataset():
    hashes = [letter * 64 for letter in "123"]
    columns = {"id": SPEAKERS, "speaker": SPEAKERS, "label": [0] * 3, "content_hash": hashes}
    features = Features(
        {
            "id": Value("string"),
            "speaker": Value("string"),
            "label": ClassLabel(names=["angry"]),
            "content_hash": Value("string"),
        }
    )
    return Dataset.from_dict(columns, features=features)


def split(dataset, **options):
    return make_split("toy", dataset, {"train": [0], "validation": [1], "test": [2]}, **options)


def trained_on(*speakers, clips=()):
    return TrainingProvenance(frozenset(speakers), "kfold", "a" * 64, clips=frozenset(clips))


def test_test_speakers_of_the_parent_are_a_leak(dataset):
    provenance = trained_on("toy:C")  # the spelling does not matter
    (marked,) = with_parent_speakers([split(dataset)], dataset, provenance)
    assert marked.parent_speakers == ("toy:c",)
    assert marked.leak.startswith("Speaker-dependent: 1 of the 1 test speakers")
    assert marked.sha256 == split(dataset).sha256
    with pytest.raises(
        UserError, match=r"^model\.checkpoint: runs/x was trained with 1 of"
    ) as error:
        require_new_to_parent([marked], dataset, provenance, "runs/x")
    assert "protocol.parent_speakers: tell" in str(error.value)


def test_recordings_of_the_parent_show_its_speakers(dataset):
    provenance = trained_on("other:x", clips=["3" * 16])
    (marked,) = with_parent_speakers([split(dataset)], dataset, provenance)
    assert marked.parent_speakers == ("toy:c",)


def test_a_parent_with_other_speakers_is_no_leak(dataset):
    provenance = trained_on("toy:a", "toy:b")
    (marked,) = with_parent_speakers([split(dataset)], dataset, provenance)
    assert marked.leak is None
    require_new_to_parent([marked], dataset, provenance, "runs/x")
    assert with_parent_speakers([split(dataset)], dataset, None)[0].parent_speakers == ()


def test_a_protocol_with_shared_speakers_still_refuses_recordings(dataset):
    shared = split(dataset, test_apart=(), validation_apart=())
    provenance = trained_on("toy:c")
    marked = with_parent_speakers([shared], dataset, provenance)
    require_new_to_parent(marked, dataset, provenance, "runs/x")
    provenance = trained_on("toy:c", clips=["3" * 16])
    with pytest.raises(UserError, match="1 of the test recordings"):
        require_new_to_parent(marked, dataset, provenance, "runs/x")


def test_unknown_speakers_may_be_a_leak(dataset):
    (marked,) = with_parent_speakers([split(dataset)], dataset, trained_on("toy:unknown"))
    assert marked.leak.startswith("Possibly speaker-dependent")


def test_validation_speakers_of_the_parent_are_noted(dataset):
    assert validation_note([split(dataset)], trained_on("toy:b")).startswith("1 of the validation")
    assert validation_note([split(dataset)], trained_on("toy:a")) is None
    assert validation_note([split(dataset)], None) is None

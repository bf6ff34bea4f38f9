"""Balance of labels, and speakers, with planted faults."""

import pytest
from support.doctor import case_of, case_of_ratings, faults, made_case

from ser_hf.doctor.labels import check_labels, check_speakers


def test_balanced_labels_and_speakers_pass(tmp_path):
    case = case_of(tmp_path)
    labels = check_labels(case)
    speakers = check_speakers(case)
    assert faults(labels) == faults(speakers) == []
    assert set(labels.values["clips"].values()) == {16}
    assert speakers.values["speakers"] == 8


def rare_sadness(row):
    is_left_out = row["label"] == "sad" and int(row["speaker"]) > 0
    return None if is_left_out else row


def test_unbalanced_labels_are_named(tmp_path):
    outcome = check_labels(made_case(tmp_path, edit=rare_sadness))
    assert faults(outcome) == ["unbalanced-labels"]
    assert "8.0 times the 2 of sad" in outcome.problems[0].text


@pytest.mark.parametrize(
    "override", ["training.loss.class_weights=balanced", "training.balance=class"]
)
def test_unbalanced_labels_with_weights_pass(tmp_path, override):
    assert faults(check_labels(made_case(tmp_path, override, edit=rare_sadness))) == []


def test_dimensions_have_no_classes(tmp_path):
    case = case_of_ratings(tmp_path)
    assert check_labels(case).is_left_out
    assert faults(check_speakers(case)) == []


@pytest.mark.parametrize(
    ("speaker", "fault"),
    [
        (lambda row: "anna", "one-speaker"),
        (lambda row: row["path"], "speaker-of-each-clip"),
        (lambda row: f"{row['label']}-{int(row['speaker']) % 2}", "speaker-tells-label"),
        (lambda row: "", "unknown-speakers"),
    ],
)
def test_wrong_speakers_are_named(tmp_path, speaker, fault):
    case = made_case(
        tmp_path,
        edit=lambda row: row | {"speaker": speaker(row)},
        corpus={
            "name": "csv",
            "root": str(tmp_path / "clips.csv"),
            "no_speaker": "one",
        },
    )
    assert faults(check_speakers(case)) == [fault]

"""Splits and their leaks, with planted faults."""

import shutil

import numpy as np
import pytest
from support.doctor import case_of, faults, made_case

from ser_hf.doctor.diagnose import CHECKS, make_check
from ser_hf.doctor.splits import check_leaks, check_split

BY_LISTS = {
    "name": "speaker_independent",
    "train": ["00", "01", "02"],
    "validation": ["03"],
    "test": ["04"],
}


def test_a_sound_split_passes(tmp_path):
    case = case_of(tmp_path)
    split = check_split(case)
    assert faults(split) == faults(check_leaks(case)) == []
    assert (split.values["train"], split.values["validation"]) == (48, 24)
    assert case.has_data


def without_sad_validation(row):
    is_left_out = row["label"] == "sad" and row["speaker"] == "03"
    return None if is_left_out else row


def test_a_class_that_validation_lacks_is_named(tmp_path):
    case = made_case(tmp_path, speakers=5, takes=1, edit=without_sad_validation, protocol=BY_LISTS)
    outcome = check_split(case)
    assert faults(outcome) == ["missing-class"]
    assert "no clip of sad in validation" in outcome.problems[0].text
    assert "protocol.seed" in outcome.problems[0].remedy
    assert check_leaks(case).is_left_out


def test_checks_that_need_a_split_are_left_out_without_one(tmp_path):
    case = made_case(tmp_path, speakers=5, takes=1, edit=without_sad_validation, protocol=BY_LISTS)
    results = [make_check(check, case) for check in CHECKS if check.needs_splits]
    assert {result.status for result in results} == {"left out"}


def test_one_speaker_has_no_split(tmp_path):
    case = made_case(tmp_path, edit=lambda row: row | {"speaker": "anna"})
    assert faults(check_split(case)) == ["no-split"]


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_copies_in_two_splits_are_named(tmp_path, gain):
    """A copy is found by its samples, and at another level by its fingerprint."""

    def copied(samples, rate, row):
        if row["speaker"] == "03":
            shutil.copy(tmp_path / f"s00{row['path'][3:]}", tmp_path / "copy.wav")
            import soundfile

            samples, _ = soundfile.read(tmp_path / "copy.wav", dtype="float32")
            samples = np.asarray(samples * gain, dtype=np.float32)
        return samples, rate

    case = made_case(tmp_path, speakers=5, takes=1, change=copied, protocol=BY_LISTS)
    assert faults(check_split(case)) == []
    outcome = check_leaks(case)
    assert faults(outcome) == ["leak"]
    assert "s00_" in outcome.problems[0].text
    assert "corpus.exclude" in outcome.problems[0].remedy
    assert not case.has_data


def test_speakers_in_two_splits_are_named(tmp_path):
    case = case_of(tmp_path, protocol={"name": "random_stratified"})
    check_split(case)
    outcome = check_leaks(case)
    assert faults(outcome) == ["shared-speakers"]
    assert "speaker_independent" in outcome.problems[0].remedy

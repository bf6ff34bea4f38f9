"""The data that checks share."""

import numpy as np
from support.doctor import case_of, made_case

from ser_hf.doctor import case as case_module


def test_a_sample_of_the_clips_is_measured_at_their_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(case_module, "MEASURED_CLIPS", 10)
    case = made_case(
        tmp_path, speakers=3, takes=1, change=lambda samples, rate, row: (samples[::2], rate // 2)
    )
    files = case.measured_files
    assert len(files) == 10
    assert {file.measured.sampling_rate for file in files} == {8000}
    assert {file.clip.emotion for file in files} <= set(case.dataset.features["label"].names)


def test_a_run_is_in_the_temporary_folder_and_has_one_fold(tmp_path):
    case = case_of(tmp_path, protocol={"name": "kfold", "k": 3, "validation": 0.3})
    assert not case.has_data
    assert len(case.run.folds) == 1
    assert case.has_data
    assert case.run.folder.path == tmp_path / "run"
    assert len(case.splits) == 3
    assert np.array_equal(case.data.store.lengths, case.store.lengths)

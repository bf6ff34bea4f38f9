"""Audio files and tables damaged at random are read, or refused in one line; benchmarks/fuzz.py
does it for hours.
"""

import random

import pytest
from support import fuzz_inputs, fuzz_strangers, table_variations

BOUNDED_MESSAGES = True


@pytest.mark.parametrize(
    "one", [fuzz_inputs.one_audio, fuzz_inputs.one_table, table_variations.one_known_table]
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_input_is_read_or_refused_in_one_line(one, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path / "cache"))
    outcomes = []
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcomes.append(one(random.Random(seed), folder))
    assert {type(outcome) for outcome in outcomes} == {str, type(None)}


@pytest.mark.parametrize(
    ("one", "examples"), [(fuzz_strangers.one_dataset, 40), (fuzz_strangers.one_database, 40)]
)
@pytest.mark.filterwarnings("ignore")
def test_folders_of_strangers_are_read_or_refused_in_one_line(one, examples, tmp_path, monkeypatch):
    if one is fuzz_strangers.one_database:
        pytest.importorskip("audformat")
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    outcomes = []
    for seed in range(examples):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcomes.append(one(random.Random(seed), folder))
    assert {type(outcome) for outcome in outcomes} == {str, type(None)}

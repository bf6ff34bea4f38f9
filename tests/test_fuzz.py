"""Audio files and tables damaged at random are read, or refused in one line; benchmarks/fuzz.py
does it for hours.
"""

import random

import pytest
from support import fuzz_inputs, table_variations

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

"""The cores that a process may use: by its affinity, and by its control group's share of processor time."""

import pytest

from ser_hf.utils import environment
from ser_hf.utils.environment import usable_cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("150000 100000", 2), ("20000 100000", 1), ("max 100000", 6), ("1600000 100000", 6), ("", 6), (None, 6)],
)
def test_a_share_of_processor_time_bounds_the_cores(limit, cores, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(environment, "_CPU_QUOTA", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert usable_cores() == cores

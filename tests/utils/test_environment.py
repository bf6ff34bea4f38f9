"""The cores that a process may use, by its affinity and its control group's share of time; bars of
the libraries.
"""

import pytest
from datasets.utils import logging as datasets_logging
from transformers.utils import logging as transformers_logging

from ser_hf.utils import environment
from ser_hf.utils.environment import quiet_libraries, usable_cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("max 100000", 6),
        ("1600000 100000", 6),
        ("", 6),
        (None, 6),
    ],
)
def test_a_share_of_processor_time_bounds_the_cores(limit, cores, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(environment, "_CPU_QUOTA", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert usable_cores() == cores


def test_an_inner_context_shows_no_bars_that_an_outer_one_hides():
    libraries = (datasets_logging, transformers_logging)
    shown = [library.is_progress_bar_enabled() for library in libraries]
    with quiet_libraries():
        with quiet_libraries():
            pass
        assert not any(library.is_progress_bar_enabled() for library in libraries)
    assert shown == [library.is_progress_bar_enabled() for library in libraries]

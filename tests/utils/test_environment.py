"""Cores and memory of a process, log messages, hidden progress bars and numerical precision."""

import logging
import sys
import warnings

import numpy as np
import pytest
import torch
from datasets.utils import logging as datasets_logging
from transformers.utils import logging as transformers_logging

from ser_hf.utils import environment
from ser_hf.utils.environment import (
    PACKAGE,
    MemoryLimit,
    TerminalHandler,
    exact_float32,
    free_memory,
    freed_memory_kept,
    quiet_libraries,
    quieter_terminal,
    recorded,
    usable_cores,
    usable_memory,
)


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


def test_the_control_group_limits_main_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(environment, "_MEMORY_LIMIT", tmp_path / "memory.max")
    unlimited = usable_memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory() == unlimited
    (tmp_path / "memory.max").write_text("1048576\n")
    assert usable_memory() == 1048576


def test_free_memory_is_what_the_system_says_within_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(environment, "_MEMORY_LIMIT", tmp_path / "memory.max")
    everything = free_memory()
    (tmp_path / "meminfo").write_text("MemTotal:  4096 kB\nMemAvailable:  1024 kB\n")
    assert free_memory() == 1024 * 1024 < everything
    (tmp_path / "memory.max").write_text("524288\n")
    assert free_memory() == 524288


def test_messages_before_and_after_the_folder_is_checked_are_in_the_log(tmp_path):
    path = tmp_path / "logs" / "run.log"
    logger = logging.getLogger("ser_hf.somewhere")
    with recorded() as write_to:
        logger.info("first")
        write_to(path)
        logger.info("second")
        assert [line.split()[-1] for line in path.read_text().splitlines()] == ["first", "second"]
    logger.warning("third")
    assert "third" not in path.read_text()


def test_a_message_cannot_control_the_terminal(capsys):
    record = logging.LogRecord("ser_hf", logging.INFO, "", 0, "a\x1b[31m\nb", None, None)
    TerminalHandler().emit(record)
    assert capsys.readouterr().err.rstrip("\n") == "a [31m\nb"


def test_full_precision_ends_with_its_context():
    before = torch.backends.cudnn.conv.fp32_precision
    with exact_float32():
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_an_allocator_of_the_user_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    with freed_memory_kept() as active:
        assert not active


def test_versions_are_those_of_python_ser_hf_and_the_packages():
    versions = environment.package_versions()
    assert versions.keys() == {"python", "ser_hf", *environment.PACKAGES}
    assert versions["ser_hf"] == environment.__version__
    assert versions["numpy"] == np.__version__


def test_of_torchs_warnings_the_one_of_wavlm_is_hidden(recwarn):
    with quiet_libraries():
        message = "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same."
        warnings.warn(message, UserWarning, stacklevel=1)
        warnings.warn("another one", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["another one"]


def test_a_quieter_terminal_shows_each_kind_of_warning_once(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(PACKAGE, "handlers", [])
    logger = logging.getLogger("ser_hf.some")
    handler = TerminalHandler()
    PACKAGE.addHandler(handler)
    warned = set()
    try:
        for trial in range(2):
            with quieter_terminal(warned), recorded() as write_to:
                write_to(tmp_path / f"{trial}.log")
                logger.info("epoch 1")
                logger.warning("near chance (0.3%d)", trial)
        logger.warning("near chance (0.5)")
    finally:
        PACKAGE.removeHandler(handler)
    assert capsys.readouterr().err.splitlines() == ["near chance (0.30)", "near chance (0.5)"]
    for trial in range(2):
        log = (tmp_path / f"{trial}.log").read_text()
        assert "epoch 1" in log
        assert f"near chance (0.3{trial})" in log


def test_messages_are_shown_in_a_notebook_only(monkeypatch, capsys):
    monkeypatch.setattr(PACKAGE, "handlers", [])
    monkeypatch.setattr(PACKAGE, "propagate", False)
    with environment.shown_in_notebook():
        PACKAGE.info("epoch 1")
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    with environment.shown_in_notebook():
        PACKAGE.info("epoch 2")
    assert capsys.readouterr().out == "epoch 2\n"
    assert PACKAGE.handlers == []


def test_memory_is_returned_once_gaps_make_a_process_a_quarter_larger(monkeypatch):
    sizes = iter([100, 110, 124, 126, 90, 124, 126])
    returned = []
    monkeypatch.setattr(environment, "resident_memory", lambda: next(sizes))
    monkeypatch.setattr(environment, "return_freed_memory", lambda: returned.append(True))
    limit = MemoryLimit()
    for expected in (0, 0, 0, 1, 1, 1, 2):  # the fifth batch is small: the first one stays valid
        limit.check()
        assert len(returned) == expected


def test_the_limit_of_memory_follows_a_larger_first_batch(monkeypatch):
    sizes = iter([100, 126, 200, 240, 251])
    returned = []
    monkeypatch.setattr(environment, "resident_memory", lambda: next(sizes))
    monkeypatch.setattr(environment, "return_freed_memory", lambda: returned.append(True))
    limit = MemoryLimit()
    for expected in (0, 1, 1, 1, 2):
        limit.check()
        assert len(returned) == expected

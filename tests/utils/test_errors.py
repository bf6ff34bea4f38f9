"""Messages of one line: what they show, how they are shortened, and faults of the machine."""

import errno
import os

import pytest

from ser_hf.utils.errors import MOST, UserError, machine_fault, one_line, printable

BOUNDED_MESSAGES = True  # see conftest.py


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 😀", "größer 😀"),
        ("a\nb\x1b[31m", "a b [31m"),
        ("\u202eabc\u200b", " abc "),  # a change of direction, and a character without width
        ("a\u00a0b", "a\u00a0b"),
        ("\udc80", " "),
    ],
)
def test_what_cannot_be_shown_becomes_a_space(text, shown):
    assert printable(text) == shown


def test_a_message_is_one_line():
    assert str(UserError("corpus.root: a\n  is not\ta folder ")) == "corpus.root: a is not a folder"
    assert one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize("length", [MOST + 1, 10_000, 10_000_000])
@pytest.mark.parametrize("filling", ["x", "x "])
def test_a_long_message_keeps_its_key_and_its_remedy(length, filling):
    filler = filling * (length // len(filling))
    message = one_line(f"corpus.root: {filler}; name a folder")
    assert len(message) <= MOST + len(" ... ")
    assert message.startswith("corpus.root: ")
    assert message.endswith("name a folder")
    assert " ... " in message


def test_a_full_disk_names_file_and_remedy():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/model")
    fault = machine_fault(error)
    assert fault.startswith(f"runs/a/model: {os.strerror(errno.ENOSPC)}; make room there")


def test_a_removed_file_is_a_fault_and_has_no_remedy():
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"a.wav")
    assert machine_fault(error) == f"a.wav: {os.strerror(errno.ENOENT)}"


def test_a_code_in_the_message_of_a_rust_library_is_understood():
    error = Exception(f"I/O error: no space (os error {errno.ENOSPC})")
    assert machine_fault(error).endswith("make room there, or name another folder")


def test_too_many_open_files_have_a_remedy():
    assert "ulimit -n" in machine_fault(OSError(errno.EMFILE, "Too many open files"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 GiB"),
        RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_has_a_remedy(error):
    fault = machine_fault(error)
    assert fault.startswith("out of memory (")
    assert "smaller batches" in fault


def test_a_killed_worker_names_the_setting():
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    assert "training.dataloader_num_workers" in machine_fault(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not match"),
        ValueError("out of memory"),
        OSError(errno.ENOENT, "No such file or directory"),  # no file is named
        OSError("We couldn't connect to the Hub"),
    ],
)
def test_other_errors_are_no_faults_of_the_machine(error):
    assert machine_fault(error) is None

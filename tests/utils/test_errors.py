"""Messages of one line: what they show, how they are shortened, and faults of the machine."""

import errno
import os
import pickle

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


REMEDY = "list one of each in corpus.exclude, or set protocol.near_duplicates: tell if you have "
REMEDY += "listened to them and they differ"


@pytest.mark.parametrize("filling", ["x", "x ", "x; "])
def test_a_remedy_of_usual_length_is_never_cut(filling):
    """The remedy of 140 characters lost its beginning."""
    message = one_line(f"protocol cross_corpus: {filling * 300}; {REMEDY}")
    assert len(message) <= MOST
    assert message.startswith("protocol cross_corpus: ")
    assert message.endswith(f" ... {REMEDY}")


def test_a_long_remedy_leaves_room_for_the_beginning():
    message = one_line(f"corpus.root: {'x ' * 200}; {'use another folder ' * 20}")
    assert len(message) <= MOST
    assert message.startswith("corpus.root: ")


def test_a_short_message_is_whole():
    assert UserError("corpus.root: data is not a folder").whole is None
    error = UserError("corpus: are twice", items=["a and b", "c and d"], remedy="remove one")
    assert str(error) == "corpus: are twice: a and b; c and d; remove one"
    assert error.whole is None


def test_a_list_that_does_not_fit_is_counted_and_kept_whole():
    items = [f"x:0{i}/{i} (train) and x:1{i}/{i} (test)" for i in range(9)]
    error = UserError("protocol p: the same take in two parts", items=items, remedy=REMEDY)
    line = str(error)
    assert len(line) <= MOST
    assert line.startswith(f"protocol p: the same take in two parts: {items[0]}; ")
    assert line.endswith(f"more, 9 in all; {REMEDY}")
    shown = sum(item in line for item in items)
    assert f"and {9 - shown} more" in line
    assert error.whole.splitlines() == [
        "protocol p: the same take in two parts:",
        *items,
        REMEDY,
    ]


def test_the_first_item_is_shown_however_long_it_is():
    error = UserError("corpus: twice", items=["a" * 10_000, "b"], remedy=REMEDY)
    assert str(error).startswith("corpus: twice: aaa")
    assert len(str(error)) == MOST
    assert str(error).endswith(f"and 1 more, 2 in all; {REMEDY}")
    assert "a" * 10_000 in error.whole


def test_a_message_that_is_cut_is_kept_whole():
    text = f"corpus.root: {'x ' * 200}; name a folder"
    error = UserError(text)
    assert error.whole == text
    assert str(error) == one_line(text)
    sent = pickle.loads(pickle.dumps(error))  # by a worker process
    assert (str(sent), sent.whole) == (str(error), error.whole)


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

"""The command line as a whole: help, parsing, output, exit codes, and one line for each mistake."""

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer
from support.commands import complaint

from ser_hf import cli

VERBS = list(typer.main.get_command(cli.app).commands)


def test_help_and_version_load_no_torch():
    commands = [["--help"], ["-h"], ["-V"]]
    commands += [[verb, "--help"] for verb in VERBS]
    code = f"""
import sys
from ser_hf.cli import main
slow = {{"torch", "transformers", "datasets", "pandas", "matplotlib"}}
slow |= {{"sklearn", "pyarrow", "optuna", "gradio"}}
for arguments in {commands!r}:
    print("=====", flush=True)
    assert main(arguments) == 0
    assert not slow & set(sys.modules), (arguments, slow & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("=====")[1:]
    assert len(printed) == len(commands)
    assert all("ser-hf" in text for text in printed)
    for verb, text in zip(VERBS, printed[3:], strict=True):
        assert f"Example: ser-hf {verb}" in text
    lines = printed[0].splitlines()
    assert [line for line in lines if line[:-1] in cli.VERBS] == [f"{head}:" for head in cli.VERBS]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("evalute", "No such command 'evalute'. Did you mean 'evaluate'?"),
        ("train", "Missing argument 'RECIPE'"),
        ("train a.yaml --continue", "No such option: --continue (see ser-hf train --help)"),
        ("train a.yaml --resume --overwrite", "--resume: contradicts --overwrite"),
        ("train a.yaml --json --dry-run", "--json: contradicts --dry-run"),
        ("train quickstrat", "the nearest is quickstart"),
        (
            "predict model a.wav --format xml",
            "error: Invalid value for '--format': 'xml' is not one of 'table', 'jsonl', 'csv'.",
        ),
        ("predict model a.wav --window long", "'--window'"),
    ],
)
def test_a_command_that_does_not_parse_prints_one_line(words, expected, capsys):
    assert expected in complaint(capsys, *words.split())


def say_happy(flush=False):
    """A program whose verb `say` prints one word after standard input is closed."""
    return (
        "import sys, ser_hf.cli\n"
        f"ser_hf.cli.app.command('say')(lambda: print('happy', flush={flush}))\n"
        "sys.stdin.read()\n"
        "sys.exit(ser_hf.cli.main(['say']))"
    )


@pytest.mark.parametrize("flush", [True, False])
def test_a_closed_output_ends_the_command_without_a_message(flush):
    """As in `ser-hf predict ... | head`: writing a line fails, or the flush at exit."""
    command = [sys.executable, "-c", say_happy(flush)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_an_output_that_cannot_be_written_prints_one_line(flags, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, *flags, "-c", say_happy()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, input="", stdout=full, stderr=-1, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "fault", [BrokenPipeError("a worker's"), OSError(errno.EINVAL, "Invalid argument")]
)
def test_other_faults_of_the_system_are_raised(fault, monkeypatch):
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=fault))
    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(type(fault)) as raised:
            cli.main(["train", "a.yaml"])
    assert raised.value is fault


FULL_DISK = OSError(errno.ENOSPC, "No space left", "run/x.partial")
READ_ONLY_DISK = OSError(errno.EROFS, "Read-only file system", b"run")
MANY_FILES = OSError(errno.EMFILE, "Too many open files", "x")
REMOVED_FILE = OSError(errno.ENOENT, "No such file or directory", "run/checkpoints")
LITTLE_MEMORY = MemoryError("Unable to allocate 9 GiB")
LITTLE_GPU_MEMORY = RuntimeError("CUDA out of memory. Tried\nto allocate 2 GiB")
KILLED_WORKER = RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. ")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (FULL_DISK, "run/x.partial: .*make room"),
        (READ_ONLY_DISK, "run: .*rights"),
        (MANY_FILES, "x: .*ulimit -n"),
        (REMOVED_FILE, "run/checkpoints: "),
        (LITTLE_MEMORY, "out of memory .Unable to allocate 9 GiB.; use smaller batches"),
        (LITTLE_GPU_MEMORY, "CUDA out of memory.*batches"),
        (KILLED_WORKER, "dataloader_num_workers"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_with_a_remedy(fault, expected, monkeypatch, capsys):
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=fault))
    line = complaint(capsys, "train", "a.yaml")
    assert re.search(expected, line)
    assert line.endswith("; --resume continues from the last checkpoint")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """What a library prints would be written into that file."""
    code = (
        "import ser_hf.cli\n"
        "ser_hf.cli.main(['--version'])\n"
        "number = open('y', 'w').fileno()\n"
        "open('x', 'w').write(str(number))"
    )
    closing = '"$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closing, sys.executable, code], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert int((tmp_path / "x").read_text()) > 2


def test_a_message_that_is_cut_names_the_file_with_all_of_it(monkeypatch, capsys, private_cache):
    monkeypatch.setattr("ser_hf.utils.errors.MOST", 300)
    pairs = [f"x:{i}/1 (train) and x:{i}/2 (test)" for i in range(100)]
    error = cli.UserError("protocol p: the same take", items=pairs, remedy="remove one of each")
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=error))
    line = complaint(capsys, "train", "a.yaml")
    message, _, file = line.removesuffix(")").partition(" (the whole message: ")
    assert message.endswith("more, 100 in all; remove one of each")
    assert Path(file).parent == private_cache / "messages"
    assert Path(file).read_text().splitlines()[1:] == [*pairs, "remove one of each"]


def test_a_message_is_printed_also_if_its_file_cannot_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "messages").write_text("no folder")
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path))
    monkeypatch.setattr("ser_hf.utils.errors.MOST", 300)
    error = cli.UserError(f"a: {'x ' * 300}; remove it")
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=error))
    assert complaint(capsys, "train", "a.yaml").endswith("; remove it")


def test_a_character_that_the_terminal_lacks_is_escaped(tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", terminal)
    assert cli.main(["schema"]) == 0
    print("\u65e5\u672c.wav")
    terminal.flush()
    written = terminal.buffer.getvalue().splitlines()
    assert written[-1] == rb"\u65e5\u672c.wav"

"""Cheap mistakes are reported before libraries load, and every verb prints a first line at once."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "pandas", "scipy", "sklearn", "pyarrow")
PROGRAM = f"""
import sys
from ser_hf.cli import main
code = main(sys.argv[1:])
print(code, [name for name in {HEAVY} if name in sys.modules])
"""


def run(*arguments, cwd):
    """The last line of standard output, and standard error, of a verb in a fresh process."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=cwd
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1], ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run that has only its recipe, and an audio file."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "runs" / "a").mkdir(parents=True)
    (folder / "runs" / "a" / "recipe.yaml").write_text("name: a\n", encoding="utf-8")
    (folder / "model.pt").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train quickstart output_dir=runs/a", "output_dir: runs/a contains a run already"),
        ("publish runs/a", "--repo: missing"),
        ("publish runs/none --repo a/b", "RUN: runs/none: no such folder"),
        ("predict runs/none a.wav", "MODEL: runs/none: no such"),
        ("predict runs/a folder", "folder: no such file or folder"),
        ("predict runs/a a.wav --on-error error", "a.wav: no such file or folder"),
        ("inspect csv none.csv", "DIR: none.csv: no such"),
        ("evaluate runs/a --corpus emodb --root none", "--root: none: no such"),
        ("evaluate ./none --corpus emodb --root runs", "MODEL: ./none: no such"),
        ("compare runs/a runs/b", "RUN: runs/b: no such"),
        ("rank runs/none", "RUNS: runs/none: no such"),
        ("reproduce runs/none", "RUN: runs/none: no such"),
        ("export none.onnx", "MODEL: none.onnx: no such"),
        ("verify a/b/c", "MODEL: a/b/c: no such"),
        ("sweep quickstart none.yaml", "SPACE: none.yaml: no such file"),
        ("convert emotion2vec none.pt models/x", "FILE: none.pt: no such file"),
        ("table none", "FOLDER: none: no such folder"),
    ],
)
def test_a_cheap_mistake_loads_no_library(folder, arguments, message):
    last, errors = run(*arguments.split(), cwd=folder)
    assert last == "2 []"
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


def test_missing_recordings_that_are_skipped_are_a_negative_result(folder):
    last, errors = run("predict", "runs/a", "a.wav", "b.flac", cwd=folder)
    assert last == "1 []"
    assert errors == "error: a.wav: no such file or folder; none of 2 inputs exists\n"


@pytest.mark.parametrize("source", ["user/model", "gpt2", "runs-of/user"])
def test_a_name_that_may_be_on_the_hub_is_not_refused(source):
    from ser_hf.cli.first_checks import require_model

    require_model(source)


FIRST_LINE = """
import logging, sys
from ser_hf import cli
from ser_hf.cli import first_checks

def stop(subject):
    print(subject, [name for name in {heavy} if name in sys.modules])
    sys.exit(0)

for name in ("train", "predict", "evaluate", "compare", "corpora", "publish", "export", "convert"):
    module = getattr(cli, name)
    if hasattr(module, "announce"):
        module.announce = stop
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        ("train quickstart output_dir=runs/new", "quickstart"),
        ("predict user/model runs", "user/model"),
        ("evaluate user/model --corpus emodb --root runs", "user/model"),
        ("compare user/a user/b", "compare"),
        ("rank runs", "rank"),
        ("reproduce user/model", "user/model"),
        ("inspect audiofolder runs", "audiofolder"),
        ("publish runs/a --repo user/model", "runs/a"),
        ("verify user/model", "user/model"),
        ("export user/model", "user/model"),
        ("convert emotion2vec model.pt models/x", "model.pt"),
    ],
)
def test_the_first_line_comes_before_libraries(folder, arguments, subject):
    program = FIRST_LINE.format(heavy=HEAVY)
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments.split()],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert ended.stdout == f"{subject} []\n", ended.stderr

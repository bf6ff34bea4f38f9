"""The scripts in examples/ run as they stand with a tiny checkpoint, the notebooks with small
settings.
"""

import json
import re
import runpy
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from support.testing import CHECKPOINTS, write_checkpoint

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
# tests/hub/test_hub_job.py runs the script for jobs of the Hub.
TRAINERS = [script for script in SCRIPTS if script.stem != "hub_job"]
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_every_example_is_described():
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    assert all(f"(../examples/{path.name})" in page for path in [*SCRIPTS, *NOTEBOOKS])


def marks_of(notebook):
    return [] if notebook.stem == "quickstart" else [pytest.mark.exhaustive]


@pytest.mark.slow
@pytest.mark.parametrize("script", TRAINERS, ids=lambda script: script.stem)
def test_a_trainer_of_your_own(script, tmp_path, monkeypatch, capsys):
    write_checkpoint(tmp_path / "tiny", **CHECKPOINTS["wav2vec2"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "tiny")])
    runpy.run_path(str(script), run_name="__main__")
    assert "test_uar" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(notebook, marks=marks_of(notebook), id=notebook.stem) for notebook in NOTEBOOKS],
)
def test_notebooks(notebook, tmp_path, monkeypatch):
    """The first code cell installs nothing here. The second one has the settings, for which small
    ones are set after it.
    """
    monkeypatch.chdir(tmp_path)
    cells = code_cells(notebook.read_text(encoding="utf-8"))
    names = {}
    for number, cell in enumerate(cells):
        exec(
            compile("".join(cell["source"]), f"{notebook.name}, code cell {number + 1}", "exec"),
            names,
        )
        if number == 1:
            assert {"SPEAKERS", "TAKES", "EPOCHS"} <= names.keys()
            names |= {"SPEAKERS": 10, "TAKES": 1, "EPOCHS": 1}
    assert names["report"].metrics["uar"] >= 0
    assert len(names["predictions"]) == names["report"].clips


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_outputs_are_kept_and_name_no_folder_of_a_machine(notebook):
    text = notebook.read_text(encoding="utf-8")
    outputs = [output for cell in code_cells(text) for output in cell["outputs"]]
    assert len(outputs) > 5
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not re.search(r"(/root|/home|/Users|/tmp)/", text)


def code_cells(text):
    return [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_installs_ser_hf_and_keeps_torch(notebook, monkeypatch):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert f"blob/main/examples/{notebook.name}" in "".join(cells[0]["source"])
    install = next(cell for cell in cells if cell["cell_type"] == "code")
    versions = {"torch": "2.11.0+cu128", "torchaudio": "2.11.0"}
    commands = []

    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    exec("".join(install["source"]), {})
    (command,) = commands
    assert command[-2:] == ["torch==2.11.0+cu128", "torchaudio==2.11.0"]
    assert any(word.startswith("ser_hf @ git+https://") for word in command)

"""The wheel: complete, and able to make a card in an environment that never saw the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.reports import whole_report

pytestmark = pytest.mark.slow  # building and installing take longer than anything they could show in a quick run
ROOT = Path(__file__).parents[1]

MAKE_A_CARD = """
import json
import ser_hf
from ser_hf.report.card import model_card
from ser_hf.report.report import Report

assert "site-packages" in ser_hf.__file__, ser_hf.__file__
report = Report.from_dict(json.load(open("report.json")))
recipe = ser_hf.read_recipe({"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}).to_dict()
card = model_card(report, recipe, "x")
print(card.content)

from ser_hf.protocols.listed import published_list
assert published_list("emobox")["corpora"]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git would hand out, so that nothing of a build stays in the checkout."""
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    for name in ("ser_hf", "hub_cards", "pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        command = ["cp", "-r", str(ROOT / name), str(source / name)]
        source.mkdir(exist_ok=True)
        subprocess.run(command, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(base), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(base.glob("*.whl"))


def test_the_wheel_holds_every_module_list_and_template(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "ser_hf").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    data = [path for path in (ROOT / "ser_hf").rglob("*.*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert {".json", ".xz", ".html"} <= {path.suffix for path in data}
    for path in data:
        assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "hub_cards").glob("*.md"):
        assert f"ser_hf/hub_cards/{path.name}" in names
    assert not any(name.startswith(("tests/", "recipes/", "benchmarks/")) for name in names)


def test_an_installed_wheel_makes_a_card(wheel, tmp_path):
    """In an environment with the dependencies of this one, but without the checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    site = next((tmp_path / "venv").rglob("site-packages"))
    # A path file adds the folder only: the path files in it, such as an editable install's, are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    # Through which pip would find the checkout, as if that were installed.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = whole_report(name="wheel")
    report["environment"]["versions"]["transformers"] = "5"
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-c", MAKE_A_CARD], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "# wheel" in done.stdout
    assert "pipeline_tag: audio-classification" in done.stdout
    help_text = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "ser-hf"), "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert help_text.returncode == 0
    assert "train" in help_text.stdout

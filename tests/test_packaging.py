"""The wheel, complete and installed where there is no checkout; bounds of dependencies; what CI
runs.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.reports import whole_report

# building and installing take longer than anything they could show in a quick run
slow = pytest.mark.slow
ROOT = Path(__file__).parents[1]

MAKE_A_CARD = """
import json
import ser_hf
from ser_hf.report.card import model_card
from ser_hf.report.report import Report

assert "site-packages" in ser_hf.__file__, ser_hf.__file__
report = Report.from_dict(json.load(open("report.json")))
recipe = ser_hf.read_recipe({"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}})
card = model_card(report, recipe.to_dict(), "x")
print(card.content)

from ser_hf.protocols.published import published_protocols
assert published_protocols()["emobox/savee"].folds
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git would hand out, so that nothing of a build stays in the
    checkout.
    """
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    for name in (
        "ser_hf",
        "hub_cards",
        "recipes",
        "pyproject.toml",
        "setup.cfg",
        "setup.py",
        "README.md",
        "LICENSE",
    ):
        command = ["cp", "-r", str(ROOT / name), str(source / name)]
        source.mkdir(exist_ok=True)
        subprocess.run(command, check=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(base),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(base.glob("*.whl"))


@slow
def test_the_wheel_holds_every_module_list_and_template(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "ser_hf").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    data = [
        path
        for path in (ROOT / "ser_hf").rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert {".json", ".xz", ".html"} <= {path.suffix for path in data}
    for path in data:
        assert path.relative_to(ROOT).as_posix() in names
    for path in [*(ROOT / "hub_cards").glob("*.*"), *(ROOT / "recipes").rglob("*.yaml")]:
        assert f"ser_hf/{path.relative_to(ROOT).as_posix()}" in names
    assert not any(name.startswith(("tests/", "recipes/", "benchmarks/")) for name in names)


@slow
def test_an_installed_wheel_makes_a_card(wheel, tmp_path):
    """In an environment with the dependencies of this one, but without the checkout."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    site = next((tmp_path / "venv").rglob("site-packages"))
    # A path file adds the folder only: the path files in it, such as an editable install's, are not
    # followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    # Through which pip would find the checkout, as if that were installed.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = whole_report(name="wheel")
    report["environment"]["versions"]["transformers"] = "5"
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-c", MAKE_A_CARD],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "# wheel" in done.stdout
    assert "pipeline_tag: audio-classification" in done.stdout
    listed = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "ser-hf"), "recipes"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0
    assert "quickstart" in listed.stdout


def test_every_dependency_has_an_upper_bound_and_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==")
        for line in (ROOT / ".ci/constraints.txt").read_text().splitlines()
        if line[0] != "#"
    )
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    extras = project["optional-dependencies"]
    of_test = [Requirement(line) for line in (*project["dependencies"], *extras["test"])]
    of_test += [
        Requirement(line)
        for own in of_test
        if own.name == "ser_hf"
        for line in extras[min(own.extras)]
    ]
    for requirement in filter(lambda own: own.name != "ser_hf", of_test):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), (
            requirement
        )
    for requirement in (
        Requirement(line)
        for lines in extras.values()
        for line in (*project["dependencies"], *lines)
    ):
        assert requirement.name == "ser_hf" or {"<"} & {
            bound.operator for bound in requirement.specifier
        }, requirement


# What `.ci/run` does besides the README's test command.
VERBS = ("exhaustive", "lint", "types", "docs", "audit", "secrets")


def test_continuous_integration_tests_lints_audits_and_looks_for_secrets():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    commands = {job["steps"][-1]["run"] for name, job in jobs.items() if name != "other-systems"}
    assert commands == {
        ".ci/run",
        *(f".ci/run {name}" for name in VERBS),
    }
    assert all("timeout-minutes" in job for job in jobs.values())
    script = (ROOT / ".ci/run").read_text()
    assert all(f"\n  {command.split()[1]})\n" in script for command in commands - {".ci/run"})
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert any(machine.endswith("-arm") for machine in matrix["machine"])
    assert matrix["python"] == ["3.11", "3.12", "3.13"]

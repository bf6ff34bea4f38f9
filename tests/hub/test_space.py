"""The files of a Space; test_without_ser_hf.py runs its page."""

import json
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement
from support.tiny_model import REPORT

from ser_hf.hub.space import Demo, write_space
from ser_hf.report.report import Report
from ser_hf.utils.errors import UserError

ROOT = Path(__file__).parents[2]
LEAK = "Test speakers are in the training data."


def specifiers(lines):
    """The versions of each package that lines of requirements accept."""
    requirements = [Requirement(line) for line in lines]
    return {requirement.name: requirement.specifier for requirement in requirements}


def test_its_card_and_requirements_are_what_the_hub_needs(tmp_path):
    folder = write_space(tmp_path / "space", Demo("tester/voices", Report.from_dict(REPORT)))
    names = {path.name for path in folder.iterdir()}
    page = {"app.py", "model.py", "picture.py", "turns.py"}
    assert names == page | {"requirements.txt", "README.md", "facts.json"}
    card = SpaceCard.load(folder / "README.md")
    assert card.data.sdk == "gradio"
    assert card.data.app_file == "app.py"
    assert card.data.models == ["tester/voices"]
    assert len(card.data.to_dict()["short_description"]) <= 60
    assert "[tester/voices](https://huggingface.co/tester/voices)" in card.text
    assert "None" not in card.content
    written = specifiers((folder / "requirements.txt").read_text().split())
    assert written["gradio"].contains(card.data.sdk_version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in ("demo", "vad", "annotations"):
        lines += project["optional-dependencies"][extra]
    tested = specifiers(lines)
    assert written == {name: tested.get(name) for name in written}


def test_it_shows_metrics_and_limits_of_the_model(tmp_path):
    protocol = REPORT["protocol"] | {"name": "random", "leak": LEAK}
    page = "https://huggingface.co/datasets/tester/voices-report"
    report = Report.from_dict(REPORT | {"protocol": protocol})
    folder = write_space(tmp_path / "space", Demo("tester/voices", report, report_page=page))
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["headline"] == (
        "UAR 0.512 (95 % interval 0.431 to 0.590), macro-F1 0.498 on test clips of training "
        "speakers (protocol random)."
    )
    assert facts["leak"] == f"Leaky protocol (random). {LEAK}"
    assert "article 5(1)(f)" in facts["limits"][1]
    assert list(facts["links"].values()) == ["https://huggingface.co/tester/voices", page]
    card = (folder / "README.md").read_text()
    assert all(text in card for text in (facts["leak"], facts["headline"], *facts["limits"]))


def test_a_space_has_no_figures_without_a_report(tmp_path):
    folder = write_space(tmp_path / "space", Demo("someone/else"))
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["title"] == "else"
    assert facts["headline"] is None
    assert facts["leak"] is None


def test_it_replaces_a_space_and_nothing_else(tmp_path):
    folder = write_space(tmp_path / "space", Demo("tester/voices"))
    (folder / "old.txt").touch()
    write_space(folder, Demo("tester/voices"))
    assert not (folder / "old.txt").exists()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").touch()
    with pytest.raises(UserError, match="contains files that are not a Space"):
        write_space(tmp_path / "work", Demo("tester/voices"))

"""ser-hf sweep: its options, and where its lines and its result are printed."""

import json
from types import SimpleNamespace

import pytest

from ser_hf import cli


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """The calls of the sweep, which prints a line and has a result; a space is in the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").touch()
    calls = []

    def run(recipe, space, overrides, options, echo):
        calls.append((recipe, space, overrides, options))
        echo("trial 1")
        return SimpleNamespace(to_dict=lambda: {"best": 1})

    monkeypatch.setattr("ser_hf.sweeps.sweep", run)
    return calls


def test_options_reach_the_sweep(sweep, capsys):
    words = ["sweep", "quickstart", "space.yaml", "a.b=1", "--trials", "3", "--no-test"]
    assert cli.main(words) == 0
    ((recipe, space, overrides, options),) = sweep
    assert (recipe, space, overrides) == ("quickstart", "space.yaml", ["a.b=1"])
    assert options.trials == 3
    assert options.test is False
    assert options.keep_models is False
    assert capsys.readouterr().out == "trial 1\n"


def test_with_json_the_output_is_the_result_alone(sweep, capsys):
    assert cli.main(["sweep", "quickstart", "space.yaml", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"best": 1}
    assert "trial 1" in printed.err

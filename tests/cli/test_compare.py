"""ser-hf compare, rank and reproduce: options reach the functions, and exit codes."""

import dataclasses
import json
from unittest.mock import Mock

import pytest
from support.commands import complaint

from ser_hf import cli


@dataclasses.dataclass
class Pushed:
    """The result of publishing a ranking."""

    url: str = "https://hub/someone/ranking"
    commit: str = "0123456789abcdef"
    changed: bool = True


@pytest.fixture
def stub(monkeypatch):
    """A function that replaces a function of ser_hf by a stub."""

    def replace(path, result):
        function = Mock(return_value=result)
        monkeypatch.setattr(path, function)
        return function

    return replace


def test_options_reach_the_comparison(stub, capsys):
    compare = stub("ser_hf.experiment.compare.compare_runs", Mock(**{"to_dict.return_value": {}}))
    words = ["compare", "a", "b", "--metric", "wa", "--output", "folder", "--json"]
    assert cli.main(words) == 0
    compare.assert_called_once_with(["a", "b"], metric="wa", output="folder", pictures=None)
    assert json.loads(capsys.readouterr().out) == {}


def test_a_table_for_a_paper_is_the_only_output(stub, capsys):
    comparison = Mock(warnings=["different splits"])
    stub("ser_hf.experiment.compare.compare_runs", comparison)
    table = stub("ser_hf.experiment.comparison_page.paper_table", "a & b")
    assert cli.main(["compare", "a", "b", "--format", "latex"]) == 0
    table.assert_called_once_with(comparison, "latex")
    printed = capsys.readouterr()
    assert printed.out == "a & b\n"
    assert "different splits" in printed.err


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["compare", "a", "b", "--json", "--format", "csv"], "--json"),
        (["reproduce", "a", "--resume", "--overwrite"], "--resume"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words, key, capsys):
    assert complaint(capsys, *words).startswith(f"error: {key}: ")


def test_a_ranking_is_published_on_request_only(stub, capsys):
    ranking = Mock(**{"to_dict.return_value": {"splits": []}})
    rank = stub("ser_hf.experiment.ranking.rank_runs", ranking)
    publish = stub("ser_hf.hub.ranking_space.publish_ranking", Pushed())
    words = ["rank", "runs", "--output", "folder", "--title", "All", "--json"]
    assert cli.main(words) == 0
    rank.assert_called_once_with(["runs"], metric=None, output="folder", title="All", pictures=None)
    publish.assert_not_called()
    assert json.loads(capsys.readouterr().out) == {"splits": []}

    assert cli.main([*words, "--repo", "someone/ranking", "--private"]) == 0
    publish.assert_called_once_with("folder", "someone/ranking", private=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"splits": []}
    assert f"{Pushed.url} (commit 0123456789)" in printed.err


@pytest.mark.parametrize(("reproduced", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_depends_on_whether_a_run_is_reproduced(reproduced, code, stub, capsys):
    result = {"reproduced": reproduced}
    reproduce = stub("ser_hf.experiment.reproduce.reproduce", result)
    words = ["reproduce", "run", "corpus.root=data", "--tolerance", "0.1", "--resume", "--json"]
    assert cli.main(words) == code
    reproduce.assert_called_once_with(
        "run", ["corpus.root=data"], output=None, tolerance=0.1, resume=True, overwrite=False
    )
    assert json.loads(capsys.readouterr().out) == result


def test_one_of_several_processes_prints_the_result(stub, capsys, monkeypatch):
    stub("ser_hf.experiment.reproduce.reproduce", {"reproduced": False})
    monkeypatch.setenv("RANK", "1")
    assert cli.main(["reproduce", "run", "--json"]) == 1
    assert capsys.readouterr().out == ""

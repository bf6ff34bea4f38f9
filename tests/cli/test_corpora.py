"""ser-hf download and inspect: options reach the functions, and exit codes."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.commands import complaint

from ser_hf import cli
from ser_hf.corpora.verify import Entry, ReleaseCheck


@pytest.fixture
def downloads(monkeypatch):
    """A stub for the download; its result may be changed."""
    function = Mock(return_value=ReleaseCheck("ravdess", Path("folder"), missing=[], altered=[]))
    monkeypatch.setattr("ser_hf.corpora.download.download", function)
    return function


@pytest.fixture
def inspections(monkeypatch):
    """A stub for the inspection, without findings; its result may be changed."""
    facts = {"verdict": {"level": "ok"}}
    function = Mock(return_value=Mock(**{"to_dict.return_value": facts}), facts=facts)
    monkeypatch.setattr("ser_hf.inspection.inspect_corpus", function)
    monkeypatch.setattr("ser_hf.inspection.write_inspection", Mock(return_value="index.html"))
    return function


def test_the_result_of_a_download_is_printed(downloads, capsys):
    assert cli.main(["download", "ravdess", "folder", "--json"]) == 0
    downloads.assert_called_once_with("ravdess", "folder", None)
    printed = json.loads(capsys.readouterr().out)
    assert printed["name"] == "ravdess"
    assert printed["missing"] == []


def test_an_incomplete_download_is_an_error(downloads, capsys):
    entry = Mock(spec=Entry, path="Actor_01/a.wav")
    downloads.return_value = ReleaseCheck("ravdess", Path("folder"), missing=[entry], altered=[])
    line = complaint(capsys, "download", "ravdess", "folder")
    assert line.startswith("error: folder: ")
    assert "Actor_01/a.wav" in line


def test_verification_downloads_nothing(downloads, capsys, tmp_path):
    missing = tmp_path / "missing"
    line = complaint(capsys, "download", "ravdess", missing, "--verify")
    assert line.startswith(f"error: {missing}: ")
    assert complaint(capsys, "download", "ravdess", tmp_path, "--verify").startswith(
        f"error: {tmp_path}: "
    )
    downloads.assert_not_called()
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_corpus_reach_the_inspection(inspections, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert cli.main(["inspect", "ravdess", "data", "song=true", "--json"]) == 0
    inspections.assert_called_once_with("ravdess", "data", song=True)
    assert json.loads(capsys.readouterr().out) == inspections.facts


def test_a_corpus_without_a_folder_takes_options_too(inspections, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "synthetic", "takes=2", "--json"]) == 0
    assert inspections.call_args.args == ("synthetic", None)
    assert inspections.call_args.kwargs["takes"] == 2


def test_a_corpus_with_errors_returns_2(inspections, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inspections.facts["verdict"]["level"] = "error"
    assert cli.main(["inspect", "ravdess", "data", "--json"]) == 2

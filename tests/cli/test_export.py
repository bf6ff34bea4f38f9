"""ser-hf export: its options reach the function, and its result is printed."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from ser_hf import cli
from ser_hf.export.onnx import Difference, Export
from ser_hf.export.web import WebExport


@pytest.fixture
def exports(monkeypatch):
    """A stub for the export."""
    export = Export(files={}, compared_on="2 clips", milliseconds=3.0, script=Path("out", "run.py"))
    function = Mock(return_value=export)
    monkeypatch.setattr("ser_hf.export.export_model", function)
    return function


def test_options_reach_the_export(exports, capsys):
    options = ["--int8", "--fp16", "--output", "m.onnx", "--clips", "a.wav", "--clips", "b.wav"]
    of_the_hub = ["--revision", "main", "--trust-remote-code", "--label-names", "angry, sad"]
    assert cli.main(["export", "a/model", *options, *of_the_hub, "--json"]) == 0
    exports.assert_called_once_with(
        "a/model",
        "m.onnx",
        int8=True,
        fp16=True,
        clips=["a.wav", "b.wav"],
        revision="main",
        trust_remote_code=True,
        label_names=["angry", "sad"],
    )
    printed = json.loads(capsys.readouterr().out)
    assert printed["compared_on"] == "2 clips"
    assert printed["script"] == str(Path("out", "run.py"))


def test_without_options_one_file_is_written_and_no_code_is_trusted(exports):
    assert cli.main(["export", "a/model", "--json"]) == 0
    exports.assert_called_once_with(
        "a/model",
        None,
        int8=False,
        fp16=False,
        clips=None,
        revision=None,
        trust_remote_code=False,
        label_names=None,
    )


def test_options_reach_the_page(monkeypatch, capsys):
    page = WebExport(
        folder=Path("site"),
        bytes=3_100_000,
        local_runtime=False,
        difference=Difference(logits=1e-6, probabilities=1e-7, changed=0, clips=4),
        compared_on="given clips",
    )
    function = Mock(return_value=page)
    monkeypatch.setattr("ser_hf.export.export_web", function)
    words = ["export", "a/model", "--web", "site", "--runtime", "npm", "--int8"]
    assert cli.main(words) == 0
    function.assert_called_once_with(
        "a/model",
        "site",
        runtime="npm",
        int8=True,
        clips=None,
        revision=None,
        trust_remote_code=False,
        label_names=None,
    )
    printed = capsys.readouterr().out
    assert "a page with a model of 3.10 MB" in printed
    assert "python3 -m http.server --directory site" in printed
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == 3_100_000


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--runtime", "npm"], "--runtime: only a page needs it"),
        (["--web", "site", "--output", "m.onnx"], "--output: contradicts --web"),
        (["--web", "site", "--fp16"], "--fp16: contradicts --web"),
    ],
)
def test_options_that_contradict_a_page_are_refused(exports, options, key, capsys):
    assert cli.main(["export", "a/model", *options]) == 2
    assert key in capsys.readouterr().err
    exports.assert_not_called()

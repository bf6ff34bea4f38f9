"""Folders that others made: every command refuses a wrong value in one line, and takes nothing but
its meaning.
"""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from support.commands import complaint
from support.fuzz_folders import SCRIPT, fuzz

from ser_hf.experiment import reproduce, saved_runs
from ser_hf.report.card import cell, plain
from ser_hf.utils.errors import UserError
from ser_hf.utils.files import read_json
from ser_hf.utils.yaml import dump_yaml, read_yaml

BOUNDED_MESSAGES = True

FOLDERS = Path(__file__).parents[1] / "contracts" / "fixtures" / "folders.tar.xz"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A published model and a finished run."""
    folder = tmp_path_factory.mktemp("originals")
    shutil.unpack_archive(FOLDERS, folder, filter="data")
    return folder


@pytest.fixture
def folder(originals, tmp_path, monkeypatch):
    """A working folder with copies of both, and a recording."""
    shutil.copytree(originals / "models" / "crnn", tmp_path / "model")
    shutil.copytree(originals / "runs" / "single", tmp_path / "run")
    soundfile.write(tmp_path / "clip.wav", [0.0, 0.1] * 4000, 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path, key, value):
    """Set a value by its dotted key in a JSON or YAML file."""
    values = root = read_yaml(path) if path.suffix == ".yaml" else json.loads(path.read_text())
    *parents, last = key.split(".")
    for name in parents:
        values = values[name]
    values[last] = value
    path.write_text(dump_yaml(root) if path.suffix == ".yaml" else json.dumps(root))


def refusal(capsys, *arguments):
    """The line of a mistake."""
    line = complaint(capsys, *arguments)
    assert len(line) <= 307
    assert line.isprintable()
    return line


VERBS = {
    "predict": ("predict", "model", "clip.wav"),
    "evaluate": ("evaluate", "model", "--corpus", "synthetic", "speakers=3", "takes=1"),
    "export": ("export", "model", "--output", "model.onnx"),
    "verify": ("verify", "model"),
}
CONFIGURATIONS = [
    ("config.json", "id2label", ["angry", "sad"]),
    ("config.json", "id2label", {"0": 0, "1": 1}),
    ("config.json", "id2label", {"0": "angry", "2": "sad"}),
    ("config.json", "id2label", {"0": "angry", "1": "s\x1b[31mad\n"}),
    ("config.json", "sampling_rate", float("nan")),
    ("config.json", "deep", [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]),
    *(
        ("preprocessor_config.json", "sampling_rate", rate)
        for rate in (0, -1, 10**12, "16000", None)
    ),
    ("preprocessor_config.json", "fixed_duration", 1e300),
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_reads_the_same_configuration(verb, folder, capsys):
    change(folder / "model" / "config.json", "id2label", {"0": "angry", "1": 7})
    assert "config.json: id2label.1: " in refusal(capsys, *VERBS[verb])


@pytest.mark.parametrize(("name", "key", "value"), CONFIGURATIONS)
def test_a_wrong_configuration(name, key, value, folder, capsys):
    change(folder / "model" / name, key, value)
    line = refusal(capsys, *VERBS["predict"])
    assert line.startswith("error: model")
    assert key in line or name in line


REPORTS = {
    "labels": [1, 2, 3],
    "confusion": [[1]],
    "metrics.uar": None,
    "metrics.wa": 10**400,
    "protocol.parts": [],
    "protocol.folds": {"1": {"metrics": {}}},
    "environment.threads": "many",
    "class_distribution.test": {"angry": 1},
    "model.base_model": "x](javascript:y)",
    "history": [{"epoch": "first"}],
    "chosen_fold": 3,
    "gaps": {"speaker": {"metric": "uar", "best": "nobody", "worst": "nobody", "gap": 0.0}},
}


@pytest.mark.parametrize("key", REPORTS)
def test_a_wrong_report(key, folder, capsys):
    change(folder / "run" / "report" / "report.json", key, REPORTS[key])
    for verb in (("compare", "run", "model"), ("reproduce", "run")):
        assert "run/report/report.json: " in refusal(capsys, *verb)


def test_predictions_with_other_labels(folder, capsys):
    change(folder / "run" / "report" / "report.json", "name", SCRIPT)
    report = folder / "run" / "report" / "report.json"
    report.write_text(report.read_text().replace('"sad"', '"glad"'))
    assert (
        "predictions.parquet: not a table of predictions of ser_hf (unknown label sad)"
        in refusal(capsys, "compare", "run", "model")
    )


@pytest.mark.parametrize("content", ["", "[" * 10**5, '{"a": 1e999}', "\xff", '"' + "x" * 99 + '"'])
def test_a_file_that_is_no_plain_json(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.json: cannot be read as JSON: "):
        read_json(tmp_path / "x.json", most=10**6 if len(content) > 200 else 50)


def test_markdown_of_others_has_no_tags_and_no_links():
    odd = f"{SCRIPT} [a](javascript:b) ![](http://c) `d`\x1b[31m"
    for part in (plain(odd), cell(odd)):
        unescaped = part.replace("\\<", "").replace("\\[", "")
        assert not any(active in unescaped for active in ("<script", "[a](", "![](", "\x1b"))


def test_a_rerun_takes_no_places_from_the_recipe(folder, monkeypatch, capsys):
    own = {
        "name": "../../x",
        "output_dir": "/tmp/x",
        "audio.cache_dir": "/tmp/x",
        "corpus.download": True,
    }
    own |= {"training.report_to": "wandb", "training.run_name": "x", "hub": {"repo": "someone/x"}}
    for key, value in own.items():
        change(folder / "model" / "recipe.yaml", key, value)
    (folder / "model" / "report.json").write_bytes(
        (folder / "run" / "report" / "report.json").read_bytes()
    )
    taken = []

    def stop(recipe, _):
        taken.append(recipe)
        raise UserError("stopped")

    monkeypatch.setattr(reproduce, "_report_before_training", stop)
    for source, output in (("model", folder.name), ("../" + folder.name + "/model", folder.name)):
        assert "stopped" in refusal(capsys, "reproduce", source)
        assert taken[-1].output_dir == f"runs/{output}-reproduced"
    assert (taken[0].name, taken[0].audio.cache_dir, taken[0].corpus.download) == ("x", None, False)
    assert (taken[0].hub.repo, taken[0].training.arguments["report_to"]) == (None, "none")


@pytest.mark.parametrize("root", ["/x/data", "../data", "~/data", "x/../../data", "~", "..", "/"])
def test_a_rerun_reads_only_below_the_working_folder(root, folder):
    change(folder / "run" / "recipe.yaml", "corpus.root", root)
    assert saved_runs.find_saved_run("run").recipe["corpus"]["root"] == (
        "data" if "data" in root else ""
    )


def test_damaged_folders(originals, tmp_path):
    """`benchmarks/fuzz.py` runs the same for an hour."""
    seeds = [*range(12), 864]  # the last one takes the training split from a report
    outcomes = fuzz(
        originals / "models" / "crnn", originals / "runs" / "single", tmp_path / "copies", seeds
    )
    assert outcomes.total() == 13
    assert outcomes[0] < 12

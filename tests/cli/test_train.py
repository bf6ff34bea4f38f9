"""ser-hf train, recipes and schema: overrides, dry runs, the folder of a run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.commands import complaint

from ser_hf import cli
from ser_hf.utils.executor import Jobs

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = [
    "corpus.speakers=4",
    "corpus.takes=1",
    "training.num_train_epochs=1",
    "evaluation.bootstrap=20",
    "model.channels=[4, 4, 4]",
    "model.lstm_hidden=8",
]


@pytest.mark.parametrize(
    "recipe",
    [
        "audio: {sampling_rat: 8000}",
        "training: {learnig_rate: 1}",
        "model: {architecture: crnn, n_melz: 80}",
    ],
)
def test_a_mistake_in_a_recipe_is_reported_before_packages_that_take_seconds_are_loaded(
    recipe, tmp_path
):
    model = "" if recipe.startswith("model") else "model: {architecture: crnn}"
    (tmp_path / "a.yaml").write_text(f"{recipe}\ncorpus: {{name: synthetic}}\n{model}\n")
    code = (
        "import sys\n"
        "from ser_hf.cli import main\n"
        "assert main(['train', 'a.yaml']) == 2\n"
        "slow = {'scipy.signal', 'sklearn', 'torch', 'transformers'}\n"
        "assert not slow & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert [line[:7] for line in done.stderr.splitlines()] == ["a.yaml:", "error: "]


OVERRIDES = ["training.learning_rate=3e-4", "b.c=[1, -2]"]


@pytest.mark.parametrize(
    "words",
    [
        ["a.yaml", OVERRIDES[0], "--resume", OVERRIDES[1]],
        ["--resume", "a.yaml", *OVERRIDES],
    ],
)
def test_overrides_and_options_of_a_training_mix(words, monkeypatch, capsys):
    run_recipe = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    assert cli.main(["train", *words]) == 130
    run_recipe.assert_called_once_with("a.yaml", OVERRIDES, resume=True, overwrite=False, jobs=None)
    assert capsys.readouterr().err == "interrupted; --resume continues from the last checkpoint\n"


def test_jobs_and_their_options_reach_the_training(monkeypatch):
    run_recipe = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    words = ["train", "a.yaml", "--jobs", "slurm", "--cpus-per-job", "4", "--gpus-per-job", "1"]
    assert cli.main([*words, "--slurm", "partition=gpu", "--slurm", "time=60"]) == 130
    assert run_recipe.call_args.kwargs["jobs"] == Jobs(
        where="slurm", cpus=4, gpus=1.0, slurm={"partition": "gpu", "time": "60"}
    )


@pytest.mark.parametrize(
    "options", [["--jobs", "0"], ["--cpus-per-job", "2"], ["--jobs", "2", "--slurm", "a=b"]]
)
def test_wrong_options_of_jobs_are_a_mistake(options, capsys):
    assert cli.main(["train", "a.yaml", *options]) == 2
    assert capsys.readouterr().err.startswith("error: --")


def test_the_schema_describes_recipes(capsys):
    import jsonschema
    import yaml

    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"corpus", "protocol", "model", "training"} <= set(schema["properties"])
    recipe = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    jsonschema.validate({"name": "quickstart", "output_dir": "runs/quickstart", **recipe}, schema)


def test_schema_prints_the_schema_of_recipes(capsys):
    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"corpus", "model", "training"} <= set(schema["properties"])


def test_recipes_are_listed_within_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if line[0] != " "]
    assert names == sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert cli.main(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == (RECIPES / "quickstart.yaml").read_text()


def tiny_training(folder):
    """Words of `ser-hf train` for one epoch of a tiny network on a tiny corpus."""
    return ["train", str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={folder}"]


def test_a_dry_run_describes_the_training_and_writes_nothing(tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.main([*tiny_training(run), "training.num_train_epochs=3", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "trainings: 1 (folds: 1, seeds: 1)" in printed
    steps = re.search(r"steps: (\d+) an epoch of \d+ clips each, (\d+) in all", printed)
    assert int(steps[2]) == 3 * int(steps[1])
    sizes = [float(size) for size in re.findall(r"clips +([\d.]+) GiB", printed)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert "(the recipe)" in printed
    assert not run.exists()


def test_an_output_dir_is_overwritten_on_request_only(tmp_path, capsys):
    run = tmp_path / "run"
    report_file = run / "report" / "report.json"
    words = tiny_training(run)
    assert cli.main(words) == 0
    report = report_file.read_bytes()
    summary = capsys.readouterr().out
    assert "UAR" in summary
    assert f'model="{run}/model"' in summary

    remedy = "contains a run already; continue it with --resume, replace it with --overwrite"
    assert remedy in complaint(capsys, *words)
    line = complaint(capsys, *words, "training.learning_rate=0.5", "--resume")
    assert "training.learning_rate: 0.5 here, 0.003 in the run" in line
    capsys.readouterr()
    assert cli.main([*words, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).items() <= json.loads(report).items()
    assert report_file.read_bytes() == report

    (run / "my_notes.txt").write_text("keep me")
    assert cli.main([*words, "training.seeds=[7]", "--overwrite"]) == 0
    assert report_file.read_bytes() != report
    assert (run / "my_notes.txt").read_text() == "keep me"

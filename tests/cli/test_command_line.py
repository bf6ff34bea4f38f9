"""The command line: help, parsing, exit codes, and one clear line for each mistake."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import soundfile
import typer
from support.commands import complaint
from support.testing import write_corpus

from ser_hf import cli

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = [
    "corpus.speakers=4",
    "corpus.takes=1",
    "training.num_train_epochs=1",
    "evaluation.bootstrap=20",
]
TINY += ["model.channels=[4, 4, 4]", "model.lstm_hidden=8"]
VERBS = list(typer.main.get_command(cli.app).commands)


# Parsing


def test_help_and_version_load_no_torch():
    commands = [["--help"], ["-h"], ["-V"], *([verb, "--help"] for verb in VERBS)]
    code = f"""
import sys
from ser_hf.cli import main
for arguments in {commands!r}:
    print("=====", flush=True)
    assert main(arguments) == 0
    heavy = {{"torch", "transformers", "datasets", "pandas", "matplotlib", "sklearn", "pyarrow", "optuna", "gradio"}}
    assert not heavy & set(sys.modules), (arguments, heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    _, *printed = done.stdout.split("=====")
    assert len(printed) == len(commands)
    assert all("ser-hf" in text for text in printed)
    assert all(
        f"Example: ser-hf {verb}" in text for verb, text in zip(VERBS, printed[3:], strict=True)
    )
    assert [line for line in printed[0].splitlines() if line[:-1] in cli.VERBS] == [
        f"{own}:" for own in cli.VERBS
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
    code = "import sys; from ser_hf.cli import main; assert main(['train', 'a.yaml']) == 2; "
    code += "assert not {'scipy.signal', 'sklearn', 'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert [line[:7] for line in done.stderr.splitlines()] == ["a.yaml:", "error: "]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'?"),
        ("train", "Missing argument 'RECIPE'"),
        ("train a.yaml --continue", "No such option: --continue (see ser-hf train --help)"),
        ("train a.yaml --resume --overwrite", "--resume: contradicts --overwrite"),
        ("train a.yaml --json --dry-run", "--json: contradicts --dry-run"),
        ("train quickstrat", "no built-in recipe (ser-hf recipes); the nearest is quickstart"),
        ("predict model a.wav --format xml", "'xml' is not one of 'table', 'jsonl', 'csv'"),
        ("predict model a.wav --window long", "Invalid value for '--window'"),
    ],
)
def test_a_command_that_does_not_parse_prints_one_line(words, expected, capsys):
    assert expected in complaint(capsys, *words.split())


def test_overrides_and_options_of_a_training_mix(monkeypatch, capsys):
    run_recipe = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    overrides = ["training.learning_rate=3e-4", "b.c=[1, -2]"]
    for words in (
        ["a.yaml", overrides[0], "--resume", overrides[1]],
        ["--resume", "a.yaml", *overrides],
    ):
        assert cli.main(["train", *words]) == 130
        assert run_recipe.call_args == (("a.yaml", overrides), {"resume": True, "overwrite": False})
        assert (
            capsys.readouterr().err == "interrupted; --resume continues from the last checkpoint\n"
        )


def test_the_schema_describes_recipes(capsys):
    import jsonschema
    import yaml

    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"corpus", "protocol", "model", "training"} <= set(schema["properties"])
    recipe = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    jsonschema.validate({"name": "quickstart", "output_dir": "runs/quickstart", **recipe}, schema)


def test_recipes_name_the_schema_beside_them_and_it_is_that_of_this_version(capsys):
    """Editors read it. Titles and the like may differ by the version of pydantic, keys not."""
    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    saved = json.loads((RECIPES / "recipe.schema.json").read_text())

    def keys(schema):
        return {
            name: sorted(part.get("properties", ()))
            for name, part in {"": schema, **schema["$defs"]}.items()
        }

    assert keys(saved) == keys(schema), "ser-hf schema > recipes/recipe.schema.json"
    for path in RECIPES.glob("*.yaml"):
        assert "# yaml-language-server: $schema=recipe.schema.json\n" in path.read_text(), path


def test_recipes_are_listed_within_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if line[0] != " "]
    assert names == sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert cli.main(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == (RECIPES / "quickstart.yaml").read_text()


# The output


def say_happy(flush=False):
    """A program whose verb `say` prints one word after standard input is closed."""
    return (
        "import sys, ser_hf.cli\n"
        f"ser_hf.cli.app.command('say')(lambda: print('happy', flush={flush}))\n"
        "sys.stdin.read()\n"
        "sys.exit(ser_hf.cli.main(['say']))"
    )


@pytest.mark.parametrize("flush", [True, False])
def test_a_closed_output_ends_the_command_without_a_message(flush):
    """As in `ser-hf predict ... | head`: writing a line fails, or the flush at exit."""
    command = [sys.executable, "-c", say_happy(flush)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_an_output_that_cannot_be_written_prints_one_line(flags, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, *flags, "-c", say_happy()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, input="", stdout=full, stderr=-1, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "fault", [BrokenPipeError("a worker's"), OSError(errno.EINVAL, "Invalid argument")]
)
def test_other_faults_of_the_system_are_raised(fault, monkeypatch):
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=fault))
    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(type(fault)) as raised:
            cli.main(["train", "a.yaml"])
    assert raised.value is fault


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left", "run/x.partial"),
            "run/x.partial: No space left on .*make room",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", b"run"),
            "run: Read-only file system; change its rights",
        ),
        (OSError(errno.EMFILE, "Too many open files", "x"), r"x: Too many open files; .*ulimit -n"),
        (
            OSError(errno.ENOENT, "No such file or directory", "run/checkpoints"),
            "run/checkpoints: No such file",
        ),
        (
            MemoryError("Unable to allocate 9 GiB"),
            "out of memory .Unable to allocate 9 GiB.; use smaller batches",
        ),
        (
            RuntimeError("CUDA out of memory. Tried\nto allocate 2 GiB"),
            "out of memory .CUDA out of memory. Tried to",
        ),
        (
            RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. "),
            "dataloader_num_workers",
        ),
    ],
)
def test_a_fault_of_the_machine_is_one_line_with_a_remedy(fault, expected, monkeypatch, capsys):
    monkeypatch.setattr("ser_hf.cli.train.run_recipe", Mock(side_effect=fault))
    line = complaint(capsys, "train", "a.yaml")
    assert re.search(expected, line)
    assert line.endswith("; --resume continues from the last checkpoint")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """What a library prints would be written into that file."""
    code = "import ser_hf.cli; ser_hf.cli.main(['--version']); open('x', 'w').write(str(open('y', 'w').fileno()))"
    closing = '"$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closing, sys.executable, code], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert int((tmp_path / "x").read_text()) > 2


# Trainings


@pytest.fixture
def table(tmp_path):
    """Arguments for a table of six speakers; a take of one is also a cut and quieter clip of
    another.
    """
    write_corpus("csv", tmp_path / "corpus", speakers=6, takes=1)
    clips = tmp_path / "corpus" / "clips"
    samples, rate = soundfile.read(clips / "s01_angry_0.wav", dtype="float32")
    soundfile.write(clips / "s05_angry_0.wav", 0.4 * samples[1600:], rate, subtype="PCM_16")
    return [
        str(RECIPES / "quickstart.yaml"),
        f"corpus={{name: csv, root: {tmp_path / 'corpus' / 'clips.csv'}}}",
        "protocol={train: [s00, s01, s02, s03], validation: [s04], test: [s05]}",
        f"output_dir={tmp_path / 'run'}",
    ]


def test_a_take_in_two_splits_is_counted_or_excluded_by_the_recipe(table):
    from ser_hf.experiment.data import load_experiment_data
    from ser_hf.experiment.recipe_checks import read_recipe

    recipe, *overrides = table
    counted = load_experiment_data(
        read_recipe(recipe, [*overrides, "protocol.near_duplicates=tell"])
    )
    shared = counted.folds[0].audit.shared
    found = {pair: own["near_duplicates"] for pair, own in shared.items()}
    assert found == {"train/validation": 0, "train/test": 1, "validation/test": 0}
    assert "near_duplicates" not in counted.folds[0].audit.apart["train/test"]
    excluded = load_experiment_data(
        read_recipe(recipe, [*overrides, "corpus.exclude=[csv/clips/s01_angry_0]"])
    )
    assert excluded.folds[0].audit.shared["train/test"]["near_duplicates"] == 0
    assert len(excluded.dataset) == len(counted.dataset) - 1


def test_a_dry_run_describes_the_training_and_writes_nothing(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = [
        str(RECIPES / "quickstart.yaml"),
        *TINY,
        f"output_dir={run}",
        "training.num_train_epochs=3",
    ]
    assert cli.main(["train", *arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "trainings: 1 (folds: 1, seeds: 1)" in printed
    an_epoch, total = re.search(
        r"steps: (\d+) an epoch of \d+ clips each, (\d+) in all", printed
    ).groups()
    assert int(total) == 3 * int(an_epoch)
    sizes = [float(size) for size in re.findall(r"clips +([\d.]+) GiB", printed)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert "(the recipe)" in printed
    assert not run.exists()


def test_an_output_dir_is_overwritten_on_request_only(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = [str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={run}"]
    assert cli.main(["train", *arguments]) == 0
    report = (run / "report" / "report.json").read_bytes()
    summary = capsys.readouterr().out
    assert "UAR" in summary
    assert f'model="{run}/model"' in summary

    remedy = "contains a run already; continue it with --resume, replace it with --overwrite"
    assert remedy in complaint(capsys, "train", *arguments)
    line = complaint(capsys, "train", *arguments, "training.learning_rate=0.5", "--resume")
    assert "training.learning_rate: 0.5 here, 0.003 in the run" in line
    capsys.readouterr()
    assert cli.main(["train", *arguments, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).items() <= json.loads(report).items()
    assert (run / "report" / "report.json").read_bytes() == report

    (run / "my_notes.txt").write_text("keep me")
    assert cli.main(["train", *arguments, "training.seeds=[7]", "--overwrite"]) == 0
    assert (run / "report" / "report.json").read_bytes() != report
    assert (run / "my_notes.txt").read_text() == "keep me"

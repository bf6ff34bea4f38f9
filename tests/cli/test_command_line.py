"""The command line: help, parsing, exit codes, and one clear line for each mistake."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import typer

from ser_hf import cli
from ser_hf.testing import write_corpus
from ser_hf.utils.run_folder import RunFolder
from ser_hf.utils.yaml import read_yaml

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = ["corpus.speakers=4", "corpus.takes=1", "training.num_train_epochs=1", "evaluation.bootstrap=20"]
TINY += ["model.channels=[4, 4, 4]", "model.lstm_hidden=8"]
VERBS = list(typer.main.get_command(cli.app).commands)


def complaint(capsys, *arguments) -> str:
    """The one line that a refused command prints."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


# Parsing


def test_help_and_version_load_no_torch():
    commands = [["--help"], ["-h"], ["--version"], *([verb, "--help"] for verb in VERBS)]
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
    assert all(f"Example: ser-hf {verb}" in text for verb, text in zip(VERBS, printed[3:], strict=True))


@pytest.mark.parametrize(
    ("recipe", "unloaded"),
    [
        ("a: [", "scipy.signal sklearn datasets pandas torch transformers"),
        ("audio: {sampling_rat: 8000}", "scipy.signal sklearn torch transformers"),
    ],
)
def test_a_mistake_in_a_recipe_is_reported_before_packages_that_take_seconds_are_loaded(recipe, unloaded, tmp_path):
    (tmp_path / "a.yaml").write_text(f"{recipe}\ncorpus: {{name: synthetic}}\nmodel: {{architecture: crnn}}\n")
    code = "import sys; from ser_hf.cli import main; assert main(['train', 'a.yaml']) == 2; "
    code += f"assert not set({unloaded.split()}) & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1


def test_no_verb_shows_help(capsys):
    assert cli.main([]) == 2
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'?"),
        ("train", "Missing argument 'RECIPE'"),
        ("train a.yaml --continue", "No such option: --continue (see ser-hf train --help)"),
        ("train a.yaml --resume --overwrite", "--resume: contradicts --overwrite"),
        ("predict model a.wav --format xml", "'xml' is not one of 'table', 'jsonl', 'csv'"),
        ("predict model a.wav --window long", "Invalid value for '--window'"),
        ("inspect ravdess --examples -1", "Invalid value for '--examples'"),
        ("cache --remove-older-than nan", "Invalid value for '--remove-older-than'"),
    ],
)
def test_a_command_that_does_not_parse_prints_one_line(words, expected, capsys):
    assert expected in complaint(capsys, *words.split())


@pytest.fixture
def received(monkeypatch):
    """The arguments that the functions behind some verbs receive."""
    calls = []

    class Verdict:
        good = True

    def receive(*args, **kwargs):
        calls.append((args, kwargs))
        return Verdict()

    monkeypatch.setattr("ser_hf.hub.verify.verify", receive)
    monkeypatch.setattr("ser_hf.hub.publish.publish", receive)
    return calls


def test_options_and_arguments_mix(received):
    assert cli.main(["verify", "model", "--clips", "a.wav", "--clips", "b.wav", "--revision=v1"]) == 0
    assert cli.main(["verify", "--revision", "v1", "--clips=a.wav", "--clips", "b.wav", "model"]) == 0
    assert received[0] == received[1]
    assert received[0][1]["clips"] == ["a.wav", "b.wav"]
    assert cli.main(["publish", "run", "--space", "--repo", "me/a", "--benchmark", "me/c:task"]) == 0
    _, given = received[-1]
    assert (given["space"], given["benchmark"], given["benchmark_task"]) == (True, "me/c", "task")


def test_overrides_and_options_of_a_training_mix(monkeypatch):
    calls = []

    def run_recipe(*args, **kwargs):
        calls.append((*args, kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    expected = ("a.yaml", ["training.learning_rate=3e-4", "b.c=[1, -2]"], {"resume": True, "overwrite": False})
    for words in (
        ["a.yaml", "training.learning_rate=3e-4", "--resume", "b.c=[1, -2]"],
        ["--resume", "a.yaml", "training.learning_rate=3e-4", "b.c=[1, -2]"],
    ):
        assert cli.main(["train", *words]) == 130
        assert calls.pop() == expected


def test_an_interrupted_command_names_how_it_continues(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ser_hf.cli.train.run_recipe", interrupt)
    assert cli.main(["train", "a.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted; --resume continues from the last checkpoint\n"


def test_the_shell_completes_verbs():
    environment = os.environ | {"_SER_HF_COMPLETE": "complete_bash", "COMP_WORDS": "ser-hf pub", "COMP_CWORD": "1"}
    code = "import sys; from ser_hf.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=900)
    assert done.stdout.split() == ["publish"]


def test_the_schema_describes_recipes(capsys):
    import jsonschema
    import yaml

    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"corpus", "protocol", "model", "training"} <= set(schema["properties"])
    recipe = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    jsonschema.validate({"name": "quickstart", "output_dir": "runs/quickstart", **recipe}, schema)


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
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("fault", [BrokenPipeError("a worker's"), OSError(errno.EINVAL, "Invalid argument")])
def test_other_faults_of_the_system_are_raised(fault, monkeypatch):
    def run_recipe(*_, **__):
        raise fault

    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(type(fault)) as raised:
            cli.main(["train", "a.yaml"])
    assert raised.value is fault


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left", "run/split.partial"),
            "run/split.partial: No space left on .*make room",
        ),
        (OSError(errno.EROFS, "Read-only file system", b"run"), "run: Read-only file system; change its rights"),
        (OSError(errno.EMFILE, "Too many open files", "x"), r"x: Too many open files; .*ulimit -n"),
        (OSError(errno.ENOENT, "No such file or directory", "run/checkpoints"), "run/checkpoints: No such file"),
        (MemoryError("Unable to allocate 9 GiB"), "out of memory .Unable to allocate 9 GiB.; use smaller batches"),
        (RuntimeError("CUDA out of memory. Tried\nto allocate 2 GiB"), "out of memory .CUDA out of memory. Tried to"),
        (RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. "), "dataloader_num_workers"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_with_a_remedy(fault, expected, monkeypatch, capsys):
    def run_recipe(*_, **__):
        raise fault

    monkeypatch.setattr("ser_hf.cli.train.run_recipe", run_recipe)
    line = complaint(capsys, "train", "a.yaml")
    assert re.search(expected, line)
    assert line.endswith("; --resume continues from the last checkpoint")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed, tmp_path):
    """What a library prints would be written into that file."""
    code = "import ser_hf.cli; ser_hf.cli.main(['--version']); open('x', 'w').write(str(open('y', 'w').fileno()))"
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert int((tmp_path / "x").read_text()) > 2


# Trainings


@pytest.fixture
def ravdess(ravdess_root, tmp_path):
    """Arguments that train the shipped RAVDESS recipe on a corpus of six synthetic actors."""
    return [
        "train",
        RECIPES / "ravdess_crnn.yaml",
        f"corpus.root={ravdess_root}",
        "protocol.train=[1-4]",
        "protocol.validation=[5]",
        "protocol.test=[6]",
        f"output_dir={tmp_path / 'run'}",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("corpus.labels=[angry, happy]", "is not listed; list it, or name it in corpus.merge or corpus.drop"),
        ("protocol.test=[23]", "protocol.test: no speaker 23; the corpus has ravdess:01"),
        ("model.chanels=[8]", "model.chanels: unknown key; the nearest known key is model.channels"),
        ("corpus.songs=true", "corpus.songs: unknown key; the nearest known key is corpus.song"),
        ("training.learning_rate=fast", "training.learning_rate: expected a number, got the word 'fast'"),
    ],
)
def test_a_mistake_in_the_recipe_prints_one_line(override, expected, ravdess, tmp_path, capsys):
    assert expected in complaint(capsys, *ravdess, override)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "truncated"),
        (lambda path: path.rename(path.with_name("03-01-09-01-01-01-01.wav")), "not a file name of RAVDESS"),
    ],
)
def test_a_bad_file_is_named_in_one_line(spoil, expected, tmp_path, capsys):
    paths = write_corpus("ravdess", tmp_path / "RAVDESS", speakers=3, takes=1)
    spoil(paths[0])
    line = complaint(
        capsys,
        "train",
        RECIPES / "ravdess_crnn.yaml",
        f"corpus.root={tmp_path / 'RAVDESS'}",
        "protocol={train: [1], validation: [2], test: [3]}",
        f"output_dir={tmp_path / 'run'}",
    )
    assert expected in line
    assert "Actor_01" in line
    assert not (tmp_path / "run").exists()


@pytest.fixture
def table(tmp_path):
    """Arguments for a table of six speakers; a take of one is also a cut and quieter clip of another."""
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


def test_a_take_in_two_splits_is_refused_by_name_before_anything_is_written(table, tmp_path, capsys):
    line = complaint(capsys, "train", *table)
    assert "are the same take, cut, re-encoded or changed in level" in line
    assert "csv/clips/s01_angry_0 (train) and csv/clips/s05_angry_0 (test); list one" in line
    assert "corpus.exclude" in line
    assert not (tmp_path / "run").exists()


def test_a_take_in_two_splits_is_counted_or_excluded_by_the_recipe(table):
    from ser_hf.experiment.data import load_experiment_data
    from ser_hf.experiment.recipe_checks import read_recipe

    recipe, *overrides = table
    counted = load_experiment_data(read_recipe(recipe, [*overrides, "protocol.near_duplicates=tell"]))
    shared = counted.folds[0].audit["shared"]
    assert {pair: own["near_duplicates"] for pair, own in shared.items()} == {
        "train/validation": 0,
        "train/test": 1,
        "validation/test": 0,
    }
    assert "near_duplicates" not in counted.folds[0].audit["apart"]["train/test"]
    excluded = load_experiment_data(read_recipe(recipe, [*overrides, "corpus.exclude=[csv/clips/s01_angry_0]"]))
    assert excluded.folds[0].audit["shared"]["train/test"]["near_duplicates"] == 0
    assert len(excluded.dataset) == len(counted.dataset) - 1


def test_an_output_dir_is_overwritten_on_request_only(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    arguments = [str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={run}"]
    assert cli.main(["train", *arguments]) == 0
    report = (run / "report" / "report.json").read_bytes()
    summary = capsys.readouterr().out
    assert "UAR" in summary
    assert f'model="{run}/model"' in summary

    assert "contains a run already; continue it with --resume, replace it with --overwrite" in complaint(
        capsys, "train", *arguments
    )
    assert "training.learning_rate: 0.5 here, 0.003 in the run" in complaint(
        capsys, "train", *arguments, "training.learning_rate=0.5", "--resume"
    )
    monkeypatch.setattr("ser_hf.utils.files._PATIENCE", 0)
    for option in ("--resume", "--overwrite"):  # another process runs there
        (run / "report").rename(run / "hidden")
        with RunFolder(run).taken(read_yaml(run / "recipe.yaml"), True, False):
            assert f"output_dir: {run} is in use by process " in complaint(capsys, "train", *arguments, option)
        (run / "hidden").rename(run / "report")
    assert cli.main(["train", *arguments, "--resume"]) == 0
    assert (run / "report" / "report.json").read_bytes() == report

    (run / "my_notes.txt").write_text("keep me")
    assert cli.main(["train", *arguments, "training.seeds=[7]", "--overwrite"]) == 0
    assert (run / "report" / "report.json").read_bytes() != report
    assert (run / "my_notes.txt").read_text() == "keep me"

    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.tex").write_text("precious")
    assert "contains files that no run wrote" in complaint(
        capsys, "train", *arguments[:-1], f"output_dir={foreign}", "--overwrite"
    )
    assert (foreign / "chapter1.tex").read_text() == "precious"

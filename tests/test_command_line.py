"""The commands: what they print, and one clear line with exit code 2 for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf import cli, train
from ser_hf.cli import VERBS

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = ["corpus.speakers=4", "corpus.takes=1", "training.num_train_epochs=1", "evaluation.bootstrap=20"]
TINY += ["model.channels=[4, 4, 4]", "model.lstm_hidden=8"]


def complaint(capsys, *arguments: str) -> str:
    """The one line that a refused command prints."""
    assert train.main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def ravdess(ravdess_root, tmp_path):
    """Arguments that point the shipped RAVDESS recipe at a corpus of six synthetic actors."""
    return [
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
        ("corpus.root=/nowhere/RAVDESS", "corpus.root: /nowhere/RAVDESS is not a folder"),
        (
            "corpus.labels=[angry, bored]",
            "corpus.labels: 'bored' is not a canonical emotion; the nearest is 'boredom'",
        ),
        ("corpus.labels=[angry, happy]", "is not listed; list it, merge it (corpus.merge) or drop it (corpus.drop)"),
        ("protocol.test=[5]", "protocol.test: speaker ravdess:05 stands in validation as well"),
        ("protocol.test=[23]", "protocol.test: no speaker 23; the corpus has ravdess:01"),
        (
            "training.lerning_rate=1",
            "training.lerning_rate: unknown key; the nearest known key is training.learning_rate",
        ),
        ("model.chanels=[8]", "model.chanels: unknown key; the nearest known key is model.channels"),
        ("corpus.songs=true", "corpus.songs: unknown key; the nearest known key is corpus.song"),
        ("training.learning_rate=fast", "training.learning_rate: expected a number, got the word 'fast'"),
        ("training.seeds=1", "training.seeds: expected a list"),
        ("model.channels=[8, 8]", "model: channels, time_pooling and band_pooling need one entry per block"),
        ("model.architecture=crn", "model.architecture: 'crn' is none of crnn, se_resnet, separable_resnet, "),
        (
            "corpus.name=ravdes",
            "corpus.name: 'ravdes' is none of audformat, audiofolder, cremad, csv, emobox, emodb, esd, hub, iemocap, "
            "meld, mixture, ravdess, savee, synthetic, tess",
        ),
        ("protocol.name=spaker_independent", "protocol.name: 'spaker_independent' is none of speaker_independent, "),
        ("protocol.k=3", "protocol.k: unknown key"),
        ("protocol.folds=[2]", "protocol.folds: speaker_independent has folds 1 to 1 here, got 2"),
        ("protocol.foil=kfold", "protocol.foil: expected one of random, random_stratified or null"),
        ("corpus.exclude=[ravdess/x]", "corpus.exclude: no clip 'ravdess/x' (ids look like ravdess/03-01-01-"),
        ("model.architecture=encoder", "model.checkpoint: missing"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line(override, expected, ravdess, tmp_path, capsys):
    assert expected in complaint(capsys, *ravdess, override)
    assert not (tmp_path / "run").exists()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def _nan(path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="float32")
    samples[100] = np.nan
    soundfile.write(path, samples, rate, subtype="FLOAT")


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.write_bytes(b""), "an empty file (0 bytes)"),
        (_truncate, "truncated"),
        (lambda path: path.write_text("not audio"), "not readable as audio"),
        (_nan, "holds NaN or infinite samples"),
        (lambda path: path.write_text(LFS_POINTER), "a Git LFS pointer, not audio (1 of"),
        (lambda path: path.rename(path.with_name("03-01-09-01-01-01-01.wav")), "not a file name of RAVDESS"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(spoil, expected, tmp_path, capsys):
    from ser_hf.testing import write_corpus

    paths = write_corpus("ravdess", tmp_path / "RAVDESS", speakers=3, takes=1)
    spoil(paths[0])
    line = complaint(
        capsys,
        RECIPES / "ravdess_crnn.yaml",
        f"corpus.root={tmp_path / 'RAVDESS'}",
        "protocol.train=[1]",
        "protocol.validation=[2]",
        "protocol.test=[3]",
        f"output_dir={tmp_path / 'run'}",
    )
    assert expected in line
    assert "Actor_01" in line
    assert not (tmp_path / "run").exists()


def test_unknown_names_are_skipped_on_request_and_listed(ravdess_root, tmp_path, capsys, caplog):
    from ser_hf import load_corpus
    from ser_hf.testing import write_corpus

    paths = write_corpus("ravdess", tmp_path, speakers=1, takes=1)
    paths[0].rename(paths[0].with_name("notes.wav"))
    dataset = load_corpus("ravdess", tmp_path, on_unknown="skip")
    assert len(dataset) == len(paths) - 1
    assert "left out, not a file name of RAVDESS: 1" in caplog.text
    assert "notes.wav" in caplog.text


def _exact(samples: np.ndarray) -> np.ndarray:
    return samples


def _cut_and_quieter(samples: np.ndarray) -> np.ndarray:
    return 0.4 * samples[1600:]


@pytest.fixture
def table(tmp_path):
    """Arguments for a table of six speakers, and a function that plants a take of one speaker as another's."""
    from ser_hf.testing import write_corpus

    write_corpus("csv", tmp_path / "corpus", speakers=6, takes=1)
    clips = tmp_path / "corpus" / "clips"

    def plant(treat, source, target):
        samples, rate = soundfile.read(clips / f"{source}.wav", dtype="float32")
        soundfile.write(clips / f"{target}.wav", treat(samples), rate, subtype="PCM_16")

    arguments = [
        RECIPES / "quickstart.yaml",
        f"corpus={{name: csv, root: {tmp_path / 'corpus' / 'clips.csv'}}}",
        "protocol={train: [s00, s01, s02, s03], validation: [s04], test: [s05]}",
        f"output_dir={tmp_path / 'run'}",
    ]
    return arguments, plant


@pytest.mark.parametrize(
    ("treat", "told"),
    [(_exact, "are the same recording"), (_cut_and_quieter, "are the same take, cut, re-encoded or re-levelled")],
)
def test_a_take_in_two_parts_is_refused_by_name_before_anything_is_written(treat, told, table, tmp_path, capsys):
    arguments, plant = table
    plant(treat, "s01_angry_0", "s05_angry_0")
    line = complaint(capsys, *arguments)
    assert told in line
    assert "csv/clips/s01_angry_0 (train) and csv/clips/s05_angry_0 (test); list one" in line
    assert "corpus.exclude" in line
    assert not (tmp_path / "run").exists()


def test_a_planted_take_is_told_or_excluded_as_the_recipe_asks(table, tmp_path):
    from ser_hf.experiment.data import gather
    from ser_hf.experiment.recipe_checks import read_recipe

    arguments, plant = table
    plant(_cut_and_quieter, "s01_angry_0", "s05_sad_0")
    recipe, *overrides = arguments
    told = gather(read_recipe(recipe, [*overrides, "protocol.near_duplicates=tell"]))
    counts = told.folds[0].audit["shared"]
    assert {pair: own["near_duplicates"] for pair, own in counts.items()} == {
        "train/validation": 0,
        "train/test": 1,
        "validation/test": 0,
    }
    assert "near_duplicates" not in told.folds[0].audit["apart"]["train/test"]
    excluded = gather(read_recipe(recipe, [*overrides, "corpus.exclude=[csv/clips/s01_angry_0]"]))
    assert excluded.folds[0].audit["shared"]["train/test"]["near_duplicates"] == 0
    assert len(excluded.dataset) == len(told.dataset) - 1


def test_an_output_dir_is_never_overwritten_unasked(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = [str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={run}"]
    assert train.main(arguments) == 0
    report = (run / "report" / "report.json").read_bytes()
    summary = capsys.readouterr().out
    assert "UAR" in summary
    assert f'model="{run}/model"' in summary

    assert "holds a run already; continue it with --resume, replace it with --overwrite" in complaint(
        capsys, *arguments
    )
    assert "training.learning_rate: 0.5 here, 0.003 in the run" in complaint(
        capsys, *arguments, "training.learning_rate=0.5", "--resume"
    )
    assert train.main([*arguments, "--resume"]) == 0
    assert (run / "report" / "report.json").read_bytes() == report

    (run / "my_notes.txt").write_text("keep me")
    assert train.main([*arguments, "training.seeds=[7]", "--overwrite"]) == 0
    assert (run / "report" / "report.json").read_bytes() != report
    assert (run / "my_notes.txt").read_text() == "keep me"

    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.tex").write_text("precious")
    assert "holds files that are no run's" in complaint(
        capsys, *arguments[:-1], f"output_dir={foreign}", "--overwrite"
    )
    assert (foreign / "chapter1.tex").read_text() == "precious"


def test_a_killed_run_resumes_from_its_checkpoint(tmp_path, monkeypatch):
    import ser_hf
    from ser_hf.training.callbacks import EpochLines

    recipe, overrides = RECIPES / "quickstart.yaml", [*TINY, "training.num_train_epochs=3"]
    whole = ser_hf.run_recipe(recipe, [*overrides, f"output_dir={tmp_path / 'whole'}"])

    class Killed(BaseException):
        pass

    def die(self, args, state, control, **kwargs):
        if state.epoch >= 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(EpochLines, "on_epoch_begin", lambda *_, **__: None)
        patched.setattr(EpochLines, "on_epoch_end", lambda *_, **__: None)
        patched.setattr(EpochLines, "on_step_begin", die, raising=False)
        with pytest.raises(Killed):
            ser_hf.run_recipe(recipe, [*overrides, f"output_dir={tmp_path / 'killed'}"])
    resumed = ser_hf.run_recipe(recipe, [*overrides, f"output_dir={tmp_path / 'killed'}"], resume=True)
    assert resumed["metrics"] == whole["metrics"]
    assert [entry["epoch"] for entry in resumed["history"]] == [1, 2, 3]
    assert resumed["history"][-1]["validation"]["loss"] == whole["history"][-1]["validation"]["loss"]


def test_help_loads_no_torch():
    asked = [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]
    code = f"""
import sys
from ser_hf.cli import main
for arguments in {asked!r}:
    print("asked", flush=True)
    try:
        main(arguments)
    except SystemExit:
        pass
    assert not {{"torch", "transformers", "datasets"}} & set(sys.modules), f"heavy imports for {{arguments}}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    _, *answers = done.stdout.split("asked")
    assert len(answers) == len(asked)
    assert all("ser-hf" in answer for answer in answers)


def test_the_verb_without_arguments_shows_help_and_an_unknown_verb_is_refused(capsys):
    assert cli.main([]) == 2
    assert "train" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        cli.main(["trian"])
    assert stopped.value.code == 2


@pytest.mark.parametrize("flushed", [True, False])
def test_answers_that_nobody_reads_any_more_end_the_command_without_a_traceback(flushed):
    """As in `ser-hf predict ... | head`, whether a line cannot be written or what the interpreter holds at its end."""
    code = f"""
import sys, ser_hf.train
sys.stdin.read()
sys.exit(ser_hf.train.guarded(lambda _: print("happy", flush={flushed}), None))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_broken_pipe_elsewhere_is_no_reader_gone(monkeypatch):
    def command(_):
        raise BrokenPipeError("a worker's")

    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError, match="a worker's"):
            train.guarded(command, None)

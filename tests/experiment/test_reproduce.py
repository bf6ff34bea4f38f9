"""Rerunning a saved recipe, of a run and of a published model: the comparison and its verdict."""

import contextlib
import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import soundfile
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.commands import complaint
from support.testing import write_corpus

import ser_hf
from ser_hf import cli
from ser_hf.experiment.reproduce import reproduce
from ser_hf.experiment.saved_runs import find_saved_run
from ser_hf.utils.yaml import dump_yaml, read_yaml

RECIPE = {
    "name": "tiny",
    "corpus": {"name": "csv", "drop": ["disgust", "fear", "happy"]},
    "protocol": {"train": ["s00", "s01", "s02", "s03"], "validation": ["s04"], "test": ["s05"]},
    "audio": {"max_duration": 0.8},
    "model": {
        **{
            "architecture": "crnn",
            "channels": [8, 8],
            "time_pooling": [2, 4],
            "band_pooling": [4, 4],
        },
        **{
            "lstm_hidden": 8,
            "hop_length": 320,
            "conv_dropout": 0.0,
            "dropout": 0.1,
            "time_masks": 0,
            "band_masks": 0,
        },
    },
    "training": {"num_train_epochs": 6, "learning_rate": 1e-2, "per_device_train_batch_size": 4},
    "evaluation": {"bootstrap": 20},
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A table of six speakers; the recipe uses three of the emotions."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus("csv", folder, speakers=6, takes=3)
    with contextlib.chdir(folder):  # a rerun finds it at the same relative path
        yield folder / "clips.csv"


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """A complete run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    ser_hf.run_recipe(RECIPE, [f"corpus.root={corpus.name}", f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def rerun(run):
    """Its rerun by the command, with the output and the exit code."""
    before = contents(run)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = cli.main(["reproduce", str(run)])
    assert contents(run) == before, "the saved run stays as it is"
    return run.with_name("tiny-reproduced"), code, comparison_lines(printed.getvalue())


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run, to be altered."""
    return shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints"))


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def alter(path, change):
    """Edits a JSON file in place."""
    values = read(path)
    change(values)
    path.write_text(json.dumps(values))


def comparison_lines(printed):
    """The lines of the comparison, after those of the run."""
    lines = printed.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.endswith(" rerun")) :]


def again(source, rerun, *overrides, **options):
    """The comparison with the existing rerun: nothing is trained."""
    return reproduce(source, overrides, output=rerun[0], resume=True, **options)


def refusal(capsys, *arguments):
    return complaint(capsys, "reproduce", *arguments)


def test_a_run_is_reproduced_exactly_in_a_new_folder(run, rerun):
    folder, code, printed = rerun
    assert code == 0
    saved = read(run / "report" / "report.json")
    now = read(folder / "report" / "report.json")
    assert now["metrics"] == saved["metrics"]
    losses = [epoch["train_loss"] for epoch in saved["history"]]
    assert losses[-1] < losses[0], "a trained model, so that equal figures are evidence"
    comparison = read(folder / "report" / "reproduction.json")
    assert comparison["verdict"] == printed[-1] == "reproduced to the last digit"
    assert comparison["reproduced"]
    sha256 = saved["protocol"]["sha256"]
    assert comparison["protocol"]["sha256"] == {"saved": sha256, "now": sha256, "equal": True}
    assert comparison["protocol"]["clips"]["equal"]
    assert comparison["recipe"] == {}
    assert comparison["missing"] == comparison["incomparable"] == []
    figures = {(row["of"], row["metric"]): row for row in comparison["figures"]}
    assert {of for of, _ in figures} == {"test", "train", "validation"}
    assert figures["validation", "wa"]["saved"] == saved["parts"]["validation"]["wa"]
    assert all(row["saved"] == row["now"] and row["difference"] == 0 for row in figures.values())
    assert comparison["predictions"] == 1.0
    assert not list(folder.rglob("*.partial"))


def test_the_model_folder_alone_is_enough(run, corpus, tmp_path, monkeypatch, capsys):
    shutil.copytree(run / "model", tmp_path / "downloaded")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "downloaded", f"corpus.root={corpus}"]) == 0
    comparison = read(tmp_path / "runs" / "downloaded-reproduced" / "report" / "reproduction.json")
    assert capsys.readouterr().out.splitlines()[-1] == comparison["verdict"]
    assert all(row["difference"] == 0 for row in comparison["figures"])
    assert comparison["protocol"]["clips"]["equal"]
    assert comparison["recipe"] == {}, "the place of the corpus is no change of the recipe"
    assert comparison["predictions"] is None


@pytest.fixture
def published(run, tmp_path, monkeypatch):
    """The model in the Hub's cache, as a download of its files leaves it, and an empty folder to
    work in.
    """
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(run / "model", repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return repository / "snapshots" / ("a" * 40)


def test_a_hub_id_is_read_from_the_cache(published, run):
    by_id = find_saved_run("someone/tiny")
    by_folder = find_saved_run(run / "model")
    assert by_id.rerun_in == Path("runs/tiny-reproduced")
    assert by_id.recipe == by_folder.recipe
    assert by_id.report == by_folder.report
    assert by_id.report.metrics == read(run / "report" / "report.json")["metrics"]


def test_a_published_model_names_no_path_and_its_corpus_is_an_override(
    published, run, corpus, capsys
):
    recipe = read_yaml(published / "recipe.yaml")
    report = read(published / "report.json")
    whole = read(run / "report" / "report.json")
    assert recipe["corpus"]["root"] == "clips.csv"
    assert recipe["provenance"] == {
        key: whole["environment"][key] for key in ("versions", "git_revision")
    }
    of_the_page = ("output_dir", "$schema")
    assert report == {key: value for key, value in whole.items() if key not in of_the_page} | {
        "hardest": [{**clip, "path": None} for clip in whole["hardest"]]
    }
    for name in ("recipe.yaml", "report.json"):
        assert str(run.parent) not in (published / name).read_text()
        assert str(corpus.parent) not in (published / name).read_text()
    line = refusal(capsys, "someone/tiny")
    assert line.startswith("error: corpus.root: clips.csv")
    assert "corpus.root=DIR" in line
    assert not Path("runs").exists()


def test_altered_figures_are_not_reproduced(copy, rerun, capsys):
    def worse(report):
        report["metrics"]["wa"] -= 0.1
        report["environment"]["versions"]["torch"] = "1.0"
        report["parts"]["validation"]["note"] = 1.0

    alter(copy / "report" / "report.json", worse)
    assert cli.main(["reproduce", str(copy), "--output", str(rerun[0]), "--resume"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "NOT reproduced"
    assert any(line.split()[:2] == ["test", "wa"] and line.endswith(" 0.1000") for line in lines)
    assert any("versions.torch 1.0 -> " in line for line in lines)
    assert any(line.endswith(": validation note") for line in lines)
    comparison = read(rerun[0] / "report" / "reproduction.json")
    assert comparison["verdict"] == "NOT reproduced"
    assert not comparison["reproduced"]


@pytest.mark.parametrize("metric", ["uar", "macro_f1", "wa"])
def test_the_tolerance_applies_to_each_headline_figure(metric, copy, rerun):
    def change(report):
        report["metrics"][metric] += 0.004

    alter(copy / "report" / "report.json", change)
    assert again(copy, rerun)["verdict"] == "reproduced within 0.005"
    assert again(copy, rerun, tolerance=0.0041)["verdict"] == "reproduced within 0.0041"
    narrow = again(copy, rerun, tolerance=0.001)
    assert narrow["verdict"] == "NOT reproduced"
    assert not narrow["reproduced"]


def test_a_missing_clip_is_reported_before_training(run, corpus, tmp_path, capsys):
    smaller = shutil.copytree(corpus.parent, tmp_path / "smaller") / "clips.csv"
    with smaller.open(newline="") as file:
        rows = [row for row in csv.reader(file) if "s02_sad_1" not in row[0]]
    with smaller.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    output = tmp_path / "again"
    assert cli.main(["reproduce", str(run), f"corpus.root={smaller}", "--output", str(output)]) == 1
    lines = comparison_lines(capsys.readouterr().out)
    assert "speaker_independent: ANOTHER SPLIT" in lines[1]
    assert "another release of the corpus" in lines[2]
    assert lines[-1] == "NOT reproduced"
    assert not output.exists()


def test_overrides_that_change_the_split_or_the_classes_are_its_cause(run, tmp_path):
    output = tmp_path / "again"
    split = reproduce(run, ["protocol.train=[s00, s01, s02]"], output=output)
    assert split["incomparable"] == [
        "the splits have other clips; the likely cause: protocol.train"
    ]
    assert split["recipe"] == {
        "protocol.train": {"saved": ["s00", "s01", "s02", "s03"], "now": ["s00", "s01", "s02"]}
    }
    merged = reproduce(
        run, ["corpus.drop=[disgust, happy]", "corpus.merge={fear: sad}"], output=output
    )
    assert not merged["protocol"]["sha256"]["equal"]
    validated = reproduce(run, ["evaluation.part=validation"], output=output)
    assert validated["incomparable"] == ["evaluated on validation, the saved run on test"]
    renamed = reproduce(run, ["corpus.drop=[disgust, fear, sad]"], output=output)
    assert "angry, happy, neutral" in renamed["incomparable"][0]
    assert "angry, neutral, sad" in renamed["incomparable"][0]
    assert not any(comparison["reproduced"] for comparison in (split, merged, validated, renamed))
    assert not output.exists()


def test_other_initial_weights_are_reported_before_training(corpus, encoder_folder, tmp_path):
    checkpoint = shutil.copytree(encoder_folder("wav2vec2"), tmp_path / "checkpoint")
    model = {"architecture": "encoder", "checkpoint": str(checkpoint)}
    own = {"model": model, "training": {"num_train_epochs": 1, "seeds": [1]}}
    first = ser_hf.run_recipe(
        RECIPE | own, [f"corpus.root={corpus}", f"output_dir={tmp_path / 'run'}"]
    )
    assert first.model.revision.startswith("sha256:")
    weights = checkpoint / "model.safetensors"
    save_file(
        {name: tensor + 0.01 for name, tensor in load_file(weights).items()},
        weights,
        {"format": "pt"},
    )
    again = reproduce(
        tmp_path / "run", [f"model.checkpoint={checkpoint}"], output=tmp_path / "again"
    )
    (reason,) = again["incomparable"]
    assert reason.startswith("the weights that training starts from are sha256:")
    assert not (tmp_path / "again").exists()


def test_other_samples_and_another_training_are_reported(run, corpus, tmp_path, capsys):
    altered = shutil.copytree(corpus.parent, tmp_path / "altered") / "clips.csv"
    clip = altered.parent / "clips" / "s00_angry_0.wav"
    samples, rate = soundfile.read(clip, dtype="float32")
    soundfile.write(clip, 0.5 * samples, rate, subtype="PCM_16")
    output = tmp_path / "again"
    arguments = [
        str(run),
        f"corpus.root={altered}",
        "training.num_train_epochs=1",
        "--output",
        str(output),
    ]
    assert cli.main(["reproduce", *arguments, "--tolerance", "0"]) == 1
    lines = comparison_lines(capsys.readouterr().out)
    assert "OTHER SAMPLES" in lines[1]
    assert any("training.num_train_epochs 6.0 -> 1.0" in line for line in lines)
    comparison = read(output / "report" / "reproduction.json")
    assert comparison["protocol"]["clips"]["equal"] is False
    assert comparison["trained"]
    assert refusal(capsys, *arguments).startswith(f"error: output_dir: {output} ")
    assert reproduce(run, arguments[1:3], output=output, overwrite=True, tolerance=1)["reproduced"]


@pytest.mark.slow
def test_folds_are_compared_one_by_one(corpus, tmp_path):
    folder = tmp_path / "folds"
    own = {
        "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "foil": "random"},
        "name": "folds",
    }
    overrides = [
        f"corpus.root={corpus.name}",
        "training.num_train_epochs=1",
        f"output_dir={folder}",
    ]
    ser_hf.run_recipe(RECIPE | own, overrides)
    comparison = reproduce(folder)
    assert comparison["verdict"] == "reproduced to the last digit"
    of = {row["of"] for row in comparison["figures"]}
    assert of == {"test", "train", "validation", "fold 1, test", "fold 2, test"}
    assert comparison["predictions"] == 1.0
    assert len(comparison["protocol"]["clips"]["now"]) == 2
    # The model is one fold's; the published report is that of all folds.
    published = find_saved_run(folder / "model")
    assert published.recipe["protocol"]["folds"] is None
    assert set(published.report.protocol.folds) == {"1", "2"}
    assert find_saved_run(folder / "fold-2" / "model").recipe["protocol"]["folds"] == [2]
    assert (
        "protocol.k"
        in reproduce(folder, ["protocol.k=3"], output=tmp_path / "again")["incomparable"][0]
    )


def test_an_unknown_saved_key_names_the_version_that_saved_it(copy, capsys):
    path = copy / "recipe.yaml"
    values = read_yaml(path)
    values["training"]["sorcery"] = 3
    path.write_text(dump_yaml(values))
    for saved_by, version in (("0.0.7", "0.0.7"), (None, "of an unknown version")):
        versions = {"environment": {"versions": {"ser_hf": saved_by}}}
        alter(copy / "report" / "report.json", lambda report, own=versions: report.update(own))
        line = refusal(capsys, copy)
        assert "training.sorcery: " in line
        assert f"{copy} was saved by ser_hf {version}" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["training.lerning_rate=1"], "error: training.lerning_rate: "),
        (["protocol.test=[s77]", "--output", "{run}-2"], "error: protocol.test: no speaker s77"),
        (["--tolerance", "-1"], "error: --tolerance: "),
        (["--output", "{run}", "--overwrite"], "overlap; choose another folder"),
        (["--output", "{run}/model", "--overwrite"], "overlap"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_the_run_as_it_is(arguments, expected, run, capsys):
    before = contents(run)
    line = refusal(capsys, run, *(argument.format(run=run) for argument in arguments))
    assert expected in line
    assert "saved by" not in line
    assert contents(run) == before


def test_a_folder_without_a_finished_run_is_refused(copy, tmp_path, capsys):
    assert "recipe.yaml: has no recipe.yaml" in refusal(capsys, copy / "recipe.yaml")
    assert "not a report of ser_hf" not in refusal(capsys, tmp_path)
    assert refusal(capsys, tmp_path).startswith(
        f"error: {tmp_path}: has no recipe.yaml with a report; name a finished run"
    )
    report = copy / "report" / "report.json"
    alter(report, lambda report: report["metrics"].pop("uar"))
    assert f"{report}: not a report of ser_hf: metrics: " in refusal(capsys, copy)
    report.write_text('{"metrics": ')
    assert f"{report}: cannot be read" in refusal(capsys, copy)
    report.unlink()
    assert refusal(capsys, copy).startswith(f"error: {copy}: ")


def test_an_unknown_id_offline_and_a_missing_path_are_refused(capsys):
    assert "and no recipe.yaml and report.json on the Hub" in refusal(capsys, "nobody/nothing")
    assert "runs/none/here: no such file or folder" in refusal(capsys, "runs/none/here")

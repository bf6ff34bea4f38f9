"""Training on several corpora: the clips of an epoch, report and card by corpus."""

import json

import numpy as np
import pytest
from support.testing import write_corpus

import ser_hf
import ser_hf.report.write
from ser_hf.experiment.clips import evaluation_clips, train_clips, train_labels
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.run import check_runs
from ser_hf.utils.errors import UserError
from ser_hf.utils.run_folder import RunFolder

pytestmark = pytest.mark.slow  # whole runs

SPEAKERS = {"ravdess": 6, "cremad": 6, "tess": 2, "savee": 4}
FOUR = ("ravdess", "cremad", "tess", "savee")


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """The items of four small corpora with different voices."""
    folder = tmp_path_factory.mktemp("mixed")
    for seed, name in enumerate(FOUR):
        write_corpus(
            name,
            folder / name,
            speakers=SPEAKERS[name],
            takes=4 if name == "tess" else 1,
            seed=seed,
        )
    items = {name: {"name": name, "root": str(folder / name)} for name in FOUR}
    items["tess"] |= {"cap": 28}
    items["cremad"] |= {"weight": 0.5}
    return items


@pytest.fixture
def recipe(items, tmp_path):
    """A function from overrides to the recipe, over all four corpora or those named."""

    def read(*overrides, names=FOUR, corpus=None):
        source = {
            "name": "mixed",
            "output_dir": str(tmp_path / "run"),
            "corpus": {"name": "mixture", "corpora": [items[name] for name in names]}
            | (corpus or {}),
            "protocol": {"validation": 0.2, "test": 0.2, "near_duplicates": "skip"},
            "audio": {"max_duration": 0.5},
            "model": {"architecture": "mfcc_mlp", "hidden": [8]},
            "training": {"num_train_epochs": 2, "seeds": [1], "use_cpu": True},
            "evaluation": {"bootstrap": 20},
        }
        return read_recipe(source, overrides)

    return read


@pytest.fixture
def run(monkeypatch, rendered):
    """A function that runs a recipe and gives its report and the figures that it drew."""
    drawn = {}

    def save(figure, path):
        drawn[path.name] = figure
        path.write_bytes(b"a picture")

    def run(recipe):
        drawn.clear()
        return ser_hf.run_recipe(recipe.to_dict()), drawn

    with rendered():
        monkeypatch.setattr(ser_hf.report.write, "save_figure", save)
        yield run


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_four_corpora_are_trained_on_together_and_evaluated_one_by_one(recipe, run, tmp_path):
    report, drawn = run(recipe())
    assert report.labels == [
        "angry",
        "disgust",
        "fear",
        "happy",
        "neutral",
        "sad",
        "surprise",
        "calm",
    ]
    assert list(report.corpora) == ["cremad", "ravdess", "savee", "tess"]
    assert "No clip of tess in validation." in report.protocol.notes
    total = np.sum([own.confusion for own in report.corpora.values()], axis=0)
    assert total.tolist() == report.confusion
    assert set(report.slices["corpus"]) == set(FOUR)
    # The labels of the files.
    capped = [
        source for source in report.sources if source.left_out == "over corpus.corpora[2].cap"
    ]
    assert sum(source.clips for source in capped) == 2 * 7 * 4 - 28
    log = [
        " ".join(line.split()[2:])
        for line in text_of(tmp_path / "run" / "logs" / "run.log").splitlines()
    ]
    assert any(line.startswith("corpus emotion clips class") for line in log)
    # An epoch has half of CREMA-D's training clips, and all of the others.
    train = report.protocol.parts["train"].speakers
    clips = {"ravdess": 8, "cremad": 6, "savee": 7}
    expected = {name: clips[name] * sum(own.startswith(name) for own in train) for name in clips}
    found = report.training.clips_per_epoch
    assert {name: found[name] for name in clips} == expected | {"cremad": expected["cremad"] // 2}
    assert found["tess"] == 14
    assert report.training.balance is None
    assert "confusion_by_corpus.png" in drawn
    # Lines of the card may break at any space.
    card = " ".join(text_of(tmp_path / "run" / "model" / "README.md").split())
    assert "Each corpus, over its own classes" in card
    assert "| tess | surprise (ps) |" in card
    assert "An epoch has " in card
    kept = json.loads(text_of(tmp_path / "run" / "report" / "report.json"))
    assert kept["sources"] == report.to_dict()["sources"]


def test_each_corpus_is_left_out_in_turn(recipe, run, tmp_path):
    merged = recipe(
        "protocol={name: leave_one_corpus_out, near_duplicates: skip, validation: 2.0e-1}"
    )
    with pytest.raises(UserError, match="fold ravdess: no clip of calm in train; drop or merge it"):
        run(merged)
    overrides = ["protocol.name=leave_one_corpus_out", *fold_overrides()]
    assert {fold.split.fold for fold in load_experiment_data(recipe(*overrides)).folds} == set(FOUR)
    report, drawn = run(recipe(*overrides, "protocol.folds=[1, 4]"))
    assert list(report.corpora) == ["cremad", "tess"]
    assert [own.tested for own in report.protocol.folds.values()] == ["cremad", "tess"]
    assert report.corpora["cremad"].clips == 36, "all of it, when it was left out"
    assert "confusion_by_corpus.png" in drawn
    fold = json.loads(text_of(tmp_path / "run" / "fold-1" / "report" / "report.json"))
    assert (fold["protocol"]["fold"], fold["corpora"]) == ("cremad", {})
    assert set(fold["training"]["clips_per_epoch"]) == set(FOUR) - {"cremad"}
    head, _, body = text_of(tmp_path / "run" / "fold-1" / "model" / "README.md").partition(
        "## Training data"
    )
    assert "name: CREMA-D, leave_one_corpus_out" in head, "the test corpus"
    training_data = body.partition("| part |")[0]
    assert "RAVDESS, TESS and SAVEE" in training_data
    assert "CREMA-D" not in training_data


def fold_overrides():
    protocol = "protocol={name: leave_one_corpus_out, near_duplicates: skip, validation: 2.0e-1}"
    return [protocol, "corpus.merge={calm: neutral}", "training.num_train_epochs=1"]


def test_an_epoch_has_the_classes_of_each_corpus_equally_often(recipe):
    balanced = recipe("training.balance=corpus_and_class", names=("ravdess", "tess", "savee"))
    context = context_of(balanced)
    fold = context.fold
    labels = np.bincount(train_labels(context, train_clips(context)), minlength=8)
    assert labels.sum() == len(fold.split.rows["train"])
    assert labels[:7].max() - labels[:7].min() <= 4
    assert 0 < labels[7] < labels[:7].min(), "calm is RAVDESS's alone"
    check_runs(context, context.arguments())
    evaluated = sorted(evaluation_clips(context, "validation")["row"][:])
    assert evaluated == fold.split.rows["validation"], "evaluation uses each clip once"


def context_of(recipe):
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


@pytest.mark.parametrize(
    ("overrides", "names", "expected"),
    [
        (
            ["training.balance=corpus"],
            ("cremad",),
            "corpus.corpora[0].weight: training.balance makes corpora equally",
        ),
        (
            ["training.balance=class", "training.loss.class_weights=balanced"],
            ("savee",),
            "training.loss.class_weights: training.balance: class balances classes too",
        ),
        (
            ["training.solver=sklearn"],
            ("cremad",),
            "corpus.corpora[0].weight: has no effect with scikit-learn",
        ),
    ],
)
def test_contradictory_rules_are_refused(recipe, overrides, names, expected):
    with pytest.raises(UserError) as error:
        recipe(
            "model={architecture: mfcc_linear}", "audio.max_duration=null", *overrides, names=names
        )
    assert str(error.value).startswith(expected)

"""Runs with folds, seeds and a foil: files, reports, how they are resumed and replaced."""

import contextlib
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.experiment import run as training
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.protocols import fingerprint

pytestmark = pytest.mark.slow  # whole runs

RECIPE = {
    "name": "folds",
    "corpus": {
        "name": "synthetic",
        "speakers": 6,
        "takes": 2,
        "drop": ["disgust", "fear", "happy"],
    },
    "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "seed": 1},
    "audio": {"max_duration": 0.6},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 3e-3, "seeds": [1]},
    "evaluation": {"bootstrap": 20},
}
METRICS = {"uar", "wa", "macro_f1", "weighted_f1"}


def run(folder, *overrides, **how):
    return ser_hf.run_recipe(RECIPE, [*overrides, f"output_dir={folder}"], **how)


def read(folder):
    return json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two folds of two seeds each, and the foil, in one run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder, "protocol.foil=random", "training.seeds=[1, 2]")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two folds of one seed, uninterrupted."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    run(folder)
    return folder


CHILDREN = {
    *("fold-1", "fold-1/seed-1", "fold-1/seed-2", "fold-2", "fold-2/seed-1", "fold-2/seed-2"),
    *("foil", "foil/seed-1", "foil/seed-2"),
}


def test_every_child_is_a_run_folder_and_the_aggregate_is_above(whole):
    found = {path.parent.relative_to(whole).as_posix() for path in whole.rglob("split.json")}
    assert found == CHILDREN | {"."}
    for child in found:
        names = {path.name for path in (whole / child).iterdir()} - {"logs"}
        trained = {"checkpoints"} if "seed" in child else set()
        below = {
            path.rpartition("/")[2]
            for path in CHILDREN
            if (path.rpartition("/")[0] or ".") == child
        }
        assert (
            names
            == {"recipe.yaml", "split.json", "model", "reference.npz", "report"} | trained | below
        )
        for name in (
            "report/report.json",
            "report/predictions.parquet",
            "model/README.md",
            "model/report.json",
        ):
            assert (whole / child / name).stat().st_size > 0
        assert (whole / child / "report" / "training_curves.png").exists() == ("seed" in child)
    assert (whole / "logs" / "run.log").stat().st_size > 0
    assert not list(whole.rglob("*.partial"))


@pytest.mark.parametrize("child", sorted(CHILDREN))
def test_the_recipe_of_a_child_gives_its_split_only(whole, child):
    recipe = read_recipe(whole / child / "recipe.yaml")
    assert recipe.output_dir == str(whole / child)
    assert recipe.protocol.foil is None
    if "seed" in child:
        assert recipe.training.seeds == [int(child[-1])]
    if child.startswith("fold"):
        assert recipe.protocol.folds == [int(child[5])]
    data = load_experiment_data(recipe)
    assert not data.foil
    split = json.loads((whole / child / "split.json").read_text())
    assert fingerprint([fold.split for fold in data.folds]) == split["sha256"]
    assert read(whole / child)["protocol"]["sha256"] == split["sha256"]


def test_the_gap_is_the_figure_of_the_foil_minus_ours(whole):
    report = read(whole)
    foil = read(whole / "foil")
    assert report["foil"]["protocol"] == foil["protocol"]["name"] == "random"
    assert report["foil"]["sha256"] == foil["protocol"]["sha256"]
    assert report["foil"]["metrics"] == foil["metrics"]
    gap = {name: foil["metrics"][name] - report["metrics"][name] for name in METRICS}
    assert {name: report["foil"]["gap"][name] for name in METRICS} == pytest.approx(gap)
    assert None not in report["foil"]["gap"].values()
    assert report["foil"]["audit"]["shared"]["train/test"]["speakers"] > 0
    # The splits of the foil are as large as those of the first fold.
    ours = report["protocol"]["folds"]["1"]["parts"]
    sizes = {part: own["clips"] for part, own in ours.items()}
    assert {part: own["clips"] for part, own in foil["protocol"]["parts"].items()} == sizes


def test_predictions_of_all_folds_and_seeds_are_in_one_table(whole):
    clips = pq.read_table(whole / "report" / "predictions.parquet").to_pylist()
    for fold in (1, 2):
        split = json.loads((whole / f"fold-{fold}" / "split.json").read_text())
        for seed in (1, 2):
            own = [clip for clip in clips if (clip["fold"], clip["seed"]) == (fold, seed)]
            for part in ("validation", "test"):
                assert sorted(clip["id"] for clip in own if clip["part"] == part) == sorted(
                    split["ids"][part]
                )
    assert all(f"_{clip['label']}_" in clip["id"] for clip in clips)
    right = [clip["label"] == clip["predicted"] for clip in clips if clip["part"] == "test"]
    assert read(whole)["pooled"]["metrics"]["wa"] == pytest.approx(np.mean(right))


def test_the_model_on_top_is_the_preferred_run_s_and_the_pipeline_loads_it(whole, private_cache):
    from transformers import pipeline
    from transformers.audio_utils import load_audio

    report = read(whole)
    validated = {number: read(whole / f"fold-{number}")["validated"] for number in (1, 2)}
    fold = report["chosen_fold"]
    assert validated[fold] == max(validated.values()) == report["validated"]
    seed = read(whole / f"fold-{fold}")["chosen_seed"]
    chosen = whole / f"fold-{fold}" / f"seed-{seed}"
    weights = "model/model.safetensors"
    assert (whole / weights).read_bytes() == (chosen / weights).read_bytes()
    classifier = pipeline(
        "audio-classification", model=str(whole / "model"), trust_remote_code=True
    )
    clip = pq.read_table(chosen / "report" / "predictions.parquet").to_pylist()[0]
    wav = min(private_cache.rglob(f"{clip['id'].partition('/')[2]}.wav"))
    scores = classifier(load_audio(str(wav), sampling_rate=16000), top_k=None)
    for item in scores:
        assert item["score"] == pytest.approx(clip[f"p_{item['label']}"], abs=1e-5)


class _Stopped(BaseException):
    pass


@contextlib.contextmanager
def counting(die_at=None):
    """The numbers of the folds that are trained meanwhile; the one that comes as number `die_at`
    stops the run.
    """
    trained = []
    train = training.train

    def counted(run, arguments):
        trained.append(run.fold.number)
        if len(trained) == die_at:
            raise _Stopped
        return train(run, arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "train", counted)
        yield trained


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two folds that stopped in the second one's training."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    with counting(die_at=2) as trained, pytest.raises(_Stopped):
        run(folder)
    assert trained == [1, 2]
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path):
    """A copy of it."""
    return shutil.copytree(stopped, tmp_path / "run")


def test_a_run_is_resumed_fold_by_fold(interrupted, plain):
    folder = interrupted
    assert not (folder / "report").exists()
    first = {path: path.stat().st_mtime_ns for path in (folder / "fold-1").rglob("*")}
    with counting() as trained:
        report = run(folder, resume=True)
        assert trained == [2]
    assert {path: path.stat().st_mtime_ns for path in (folder / "fold-1").rglob("*")} == first
    whole = read(plain)
    for key in (
        "metrics",
        "deviations",
        "pooled",
        "intervals",
        "protocol",
        "parts",
        "confusion",
        "chosen_fold",
    ):
        assert json.loads(json.dumps(report.to_dict()[key])) == whole[key], key
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (plain / weights).read_bytes()
    with counting() as trained:
        assert run(folder, resume=True).metrics == report.metrics
    assert not trained, "a complete run is read, not run again"


def test_a_changed_corpus_or_protocol_is_not_resumed(interrupted):
    folder = interrupted
    with pytest.raises(ser_hf.UserError, match=r"protocol\.k: 3 here, 2 in the run at"):
        run(folder, "protocol.k=3", resume=True)
    listed = json.loads((folder / "split.json").read_text())
    listed["sha256"] = "0" * 64  # as other clips would have given
    (folder / "split.json").write_text(json.dumps(listed))
    message = r"split\.json: .* labels or split of this run have changed"
    with counting() as trained, pytest.raises(ser_hf.UserError, match=message):
        run(folder, resume=True)
    assert not trained


def test_overwriting_clears_folds_and_foil(interrupted):
    folder = interrupted
    (folder / "foil").mkdir()
    (folder / "foil" / "recipe.yaml").write_text("name: old\n")
    (folder / "fold-7").mkdir()
    (folder / "fold-notes").mkdir()
    (folder / "fold-notes" / "mine.txt").write_text("mine")
    report = run(folder, "protocol.folds=[2]", overwrite=True)
    assert {path.name for path in folder.iterdir()} == {
        *("recipe.yaml", "split.json", "model", "reference.npz", "report", "checkpoints", "logs"),
        "fold-notes",
    }
    assert report.protocol.folds is None, "one fold alone is a run without folds"
    assert report.protocol.fold == read(folder)["protocol"]["fold"]


def test_some_folds_are_run_under_their_own_numbers_and_evaluated_on_validation(tmp_path):
    folder = tmp_path / "run"
    overrides = ("protocol.k=3", "protocol.folds=[3, 1]", "evaluation.part=validation")
    report = run(folder, *overrides)
    assert sorted(path.name for path in folder.glob("fold-*")) == ["fold-1", "fold-3"]
    assert list(report.protocol.folds) == ["3", "1"]
    all_folds = [
        fold.split for fold in load_experiment_data(read_recipe(RECIPE, ["protocol.k=3"])).folds
    ]
    for number in (1, 3):
        split = json.loads((folder / f"fold-{number}" / "split.json").read_text())
        assert split["sha256"] == all_folds[number - 1].sha256
        assert report.protocol.folds[str(number)].tested == all_folds[number - 1].fold
    assert report.evaluated_split == "validation"
    assert report.metrics == pytest.approx(report.parts["validation"])
    assert set(report.protocol.parts) == {"validation"}
    table = pq.read_table(folder / "report" / "predictions.parquet")
    assert set(table["part"].to_pylist()) == {"validation"}
    assert set(table["fold"].to_pylist()) == {1, 3}
    assert "on the validation speakers" in (folder / "report" / "index.html").read_text()

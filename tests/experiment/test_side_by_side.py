"""Folds and seeds side by side: the tasks, equal figures, failures, and what is resumed."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from support.recipes import TINY_CRNN
from support.tasks import InProcess

import ser_hf
from ser_hf.experiment import run as training
from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import TasksFailed

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
    "evaluation": {"bootstrap": 20, "map": None},
}
# What differs between two equal runs.
TIMES = ("seconds", "environment", "created", "output_dir")


def run(folder, *overrides, **how):
    return ser_hf.run_recipe(RECIPE, [*overrides, f"output_dir={folder}"], **how)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def assert_equal_runs(first, second):
    """Reports, predictions and weights of all runs in two folders are equal."""
    paths = sorted(path.relative_to(first) for path in first.rglob("report/report.json"))
    assert paths == sorted(path.relative_to(second) for path in second.rglob("report/report.json"))
    for path in paths:
        reports = [json.loads((folder / path).read_text()) for folder in (first, second)]
        assert without_times(reports[0]) == without_times(reports[1])
        tables = [
            pq.read_table(folder / path.with_name("predictions.parquet"))
            for folder in (first, second)
        ]
        assert tables[0].equals(tables[1])
        weights = [
            (folder / path.parents[1] / "model" / "model.safetensors").read_bytes()
            for folder in (first, second)
        ]
        assert weights[0] == weights[1]


def stub_of_training(monkeypatch):
    """Let every training fail, so that only the tasks of a run are seen."""

    def fail(run):
        raise UserError("training: not in this test")

    monkeypatch.setattr(training, "_run_child", fail)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], {"fold-1", "fold-2"}),
        (
            ["training.seeds=[1, 2]", "protocol.foil=random"],
            {
                *("fold-1/seed-1", "fold-1/seed-2", "fold-2/seed-1", "fold-2/seed-2"),
                *("foil/seed-1", "foil/seed-2"),
            },
        ),
        (["protocol.folds=[2]", "training.seeds=[3, 5]"], {"seed-3", "seed-5"}),
    ],
)
def test_each_fold_and_seed_is_a_task(tmp_path, monkeypatch, overrides, names):
    stub_of_training(monkeypatch)
    jobs = InProcess()
    with pytest.raises(
        TasksFailed, match=f"^{len(names)} of {len(names)} trainings failed"
    ) as error:
        training.run(
            ser_hf.read_recipe(RECIPE, [*overrides, f"output_dir={tmp_path / 'run'}"]), jobs=jobs
        )
    assert set(jobs.names) == names
    assert error.value.exit_code == 2
    for name in names:
        assert (tmp_path / "run" / name / "logs" / "run.log").is_file()


class Watch:
    def __call__(self, *_):
        pass


def test_a_watch_that_cannot_be_sent_is_refused(tmp_path):
    def watch(*_):
        pass

    with pytest.raises(UserError, match=r"^watch: cannot be sent"):
        run(tmp_path / "run", jobs=2, watch=watch)


def test_jobs_are_checked_before_the_recipe(tmp_path):
    with pytest.raises(UserError, match=r"^--jobs:"):
        run(tmp_path / "run", jobs="many")


@pytest.mark.slow
def test_figures_are_those_of_one_after_another(tmp_path):
    """Both in processes of their own: the tests' process may have other threads."""
    run(tmp_path / "one", jobs=1)
    folder = tmp_path / "side"
    report = run(folder, jobs=2)
    assert report.metrics == json.loads((folder / "report" / "report.json").read_text())["metrics"]
    assert_equal_runs(tmp_path / "one", folder)
    for fold in ("fold-1", "fold-2"):
        assert "epoch" in (folder / fold / "logs" / "run.log").read_text()
    assert not list(folder.rglob("*.lock"))


@pytest.fixture(scope="module")
def in_this_process(tmp_path_factory):
    """Two equal runs in the tests' process, one after another and as tasks."""
    folder = tmp_path_factory.mktemp("runs")
    run(folder / "one")
    jobs = InProcess()
    run_tasks(folder / "side", jobs)
    assert set(jobs.names) == {"fold-1", "fold-2"}
    return folder


def run_tasks(folder, jobs, resume=False):
    recipe = ser_hf.read_recipe(RECIPE, [f"output_dir={folder}"])
    return training.run(recipe, jobs=jobs, resume=resume)


@pytest.fixture
def two_runs(in_this_process, tmp_path):
    """Copies of the two runs: one after another, and as tasks."""
    shutil.copytree(in_this_process, tmp_path / "runs")
    return tmp_path / "runs" / "one", tmp_path / "runs" / "side"


@pytest.mark.slow
def test_a_run_side_by_side_is_resumed_one_after_another(two_runs):
    first, second = two_runs
    assert_equal_runs(first, second)

    unchanged = (second / "fold-2" / "report" / "report.json").stat().st_mtime_ns
    (second / "report" / "report.json").unlink()
    (second / "fold-1" / "report" / "report.json").unlink()
    run(second, resume=True)
    assert_equal_runs(first, second)
    assert (second / "fold-2" / "report" / "report.json").stat().st_mtime_ns == unchanged


@pytest.mark.slow
def test_a_fold_that_fails_ends_no_other_and_is_run_again(two_runs):
    first, second = two_runs
    split = second / "fold-2" / "split.json"
    content = split.read_text()
    split.write_text("{}")
    for fold in (".", "fold-1", "fold-2"):
        (second / fold / "report" / "report.json").unlink()
    with pytest.raises(TasksFailed, match="^1 of 2 trainings failed"):
        run_tasks(second, InProcess(), resume=True)
    assert (second / "fold-1" / "report" / "report.json").is_file()
    assert not (second / "report" / "report.json").exists()
    assert "split.json" in (second / "fold-2" / "logs" / "run.log").read_text()

    split.write_text(content)
    run_tasks(second, InProcess(), resume=True)
    assert_equal_runs(first, second)

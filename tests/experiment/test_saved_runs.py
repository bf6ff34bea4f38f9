"""Saved runs and published models: recipe, report and predictions of any origin."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.saved_runs import (
    find_saved_run,
    read_finished_report,
    read_predictions,
    rerunnable,
)
from ser_hf.utils.errors import UserError

FOLDERS = Path(__file__).parents[1] / "contracts" / "fixtures" / "folders.tar.xz"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    shutil.unpack_archive(FOLDERS, folder, filter="data")
    return folder / "runs" / "single"


@pytest.fixture
def run(unpacked, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(unpacked, tmp_path / "first"))


@pytest.fixture
def table(run):
    """A function from a changed table of predictions to what is read of it."""
    path = run / "report" / "predictions.parquet"
    report = read_finished_report(run / "report" / "report.json")

    def read(change=lambda table: table):
        pq.write_table(change(pq.read_table(path)), path)
        return read_predictions(path, report)

    return read


def test_a_run_has_its_predictions_and_is_rerun_beside_it(run):
    saved = find_saved_run(run)
    assert saved.source == str(run)
    assert saved.rerun_in == run.with_name("first-reproduced")
    assert saved.predictions == run / "report" / "predictions.parquet"
    assert saved.report == read_finished_report(run / "report" / "report.json")
    assert read_recipe(saved.recipe).corpus.name == "synthetic"


def test_a_run_may_be_named_by_a_dot(run, monkeypatch):
    monkeypatch.chdir(run)
    assert find_saved_run(".").rerun_in == run.with_name("first-reproduced")


def test_a_model_has_no_predictions_and_is_rerun_in_runs(run):
    shutil.copy(run / "recipe.yaml", run / "model")
    shutil.copy(run / "report" / "report.json", run / "model")
    saved = find_saved_run(run / "model")
    assert saved.predictions is None
    assert saved.rerun_in == Path("runs", "first-reproduced")
    assert saved.report.name == find_saved_run(run).report.name


def test_a_folder_without_a_finished_run_is_refused(run):
    (run / "report" / "report.json").unlink()
    with pytest.raises(UserError) as error:
        find_saved_run(run)
    assert str(error.value) == (
        f"{run}: has no recipe.yaml with a report; name a finished run or a published model"
    )


def test_what_is_neither_a_folder_nor_on_the_hub_is_named():
    with pytest.raises(UserError, match=r"^someone/nothing: no such folder here, and "):
        find_saved_run("someone/nothing")


def test_a_rerun_takes_over_no_settings_of_the_user():
    recipe = {
        "name": "crnn",
        "output_dir": "/home/someone/runs/crnn",
        "hub": {"repo": "someone/model"},
        "provenance": {"created": "2024-01-31"},
        "corpus": {"name": "synthetic", "download": True, "takes": 2},
        "training": {"report_to": "wandb", "project": "secret", "learning_rate": 0.1},
    }
    assert rerunnable(recipe, "folder") == {
        "name": "crnn",
        "corpus": {"name": "synthetic", "takes": 2},
        "training": {"learning_rate": 0.1},
    }
    assert recipe["corpus"]["download"] is True


@pytest.mark.parametrize("name", ["a/b", "", ".", None, 7, "x" * 101])
def test_a_name_that_is_missing_or_could_be_a_path_is_replaced(name):
    assert rerunnable({"name": name}, "folder")["name"] == "folder"


def test_a_report_of_a_run_has_the_fingerprint_of_its_splits(run):
    path = run / "report" / "report.json"
    values = json.loads(path.read_text())
    values["protocol"]["sha256"] = None
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"report\.json: .*protocol\.sha256"):
        read_finished_report(path)


def test_predictions_have_a_row_for_each_clip(table):
    rows = table()
    assert set(rows.columns) == {"part", "id", "speaker", "label", "predicted"}
    assert not rows.duplicated(["part", "id"]).any()
    assert set(rows["part"]) <= {"validation", "test"}


def test_the_speaker_may_be_unknown(table):
    def without_speakers(rows):
        position = rows.column_names.index("speaker")
        return rows.set_column(position, "speaker", pa.nulls(len(rows), pa.string()))

    assert table(without_speakers)["speaker"].isna().all()


def _without_ids(rows):
    return rows.drop_columns("id")


def _with_numbers_as_labels(rows):
    position = rows.column_names.index("predicted")
    return rows.set_column(position, "predicted", pa.array(range(len(rows))))


def _with_a_row_twice(rows):
    return pa.concat_tables([rows, rows.slice(0, 1)])


def _with_an_empty_cell(rows):
    position = rows.column_names.index("label")
    labels = pc.if_else(pc.equal(rows["id"], rows["id"][0]), None, rows["label"])
    return rows.set_column(position, "label", labels)


def _with_an_unknown_label(rows):
    position = rows.column_names.index("predicted")
    return rows.set_column(position, "predicted", pa.array(["glad"] * len(rows)))


@pytest.mark.parametrize(
    "change",
    [
        _without_ids,
        _with_numbers_as_labels,
        _with_a_row_twice,
        _with_an_empty_cell,
        _with_an_unknown_label,
    ],
)
def test_a_damaged_table_is_named(table, change):
    table()  # it is readable before the change
    with pytest.raises(UserError, match=r"predictions\.parquet: not a table of predictions"):
        table(change)


def test_a_file_that_is_no_table_is_named(run):
    report = read_finished_report(run / "report" / "report.json")
    path = run / "recipe.yaml"
    with pytest.raises(UserError, match=r"recipe\.yaml: not a table of predictions"):
        read_predictions(path, report)

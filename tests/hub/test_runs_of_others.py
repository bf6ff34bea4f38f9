"""A run that another person made or changed is published as it is, or refused in one line."""

import json
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ser_hf.hub.publish import stage_report
from ser_hf.report.saved_recipe import read_saved_recipe
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import read_yaml

FOLDERS = Path(__file__).parents[1] / "contracts" / "fixtures" / "folders.tar.xz"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    with tarfile.open(FOLDERS) as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs" / "single"


@pytest.fixture
def run(finished_run, tmp_path):
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def rename_splits(run, names):
    path = run / "report" / "predictions.parquet"
    table = pq.read_table(path)
    position = table.column_names.index("part")
    splits = [names.get(name, name) for name in table["part"].to_pylist()]
    pq.write_table(table.set_column(position, "part", pa.array(splits)), path)


def stage(run, folder):
    stage_report(run, folder, repo_id="someone/report")


def test_each_split_becomes_a_file(run, tmp_path):
    stage(run, tmp_path / "staged")
    names = {path.name for path in (tmp_path / "staged" / "predictions").iterdir()}
    assert names == {"test.parquet", "validation.parquet"}


@pytest.mark.parametrize("name", ["{victim}", "../../victim/data", "Test", "test/../test", ""])
def test_a_split_is_never_a_path(run, tmp_path, name):
    victim = tmp_path / "victim" / "data.parquet"
    victim.parent.mkdir()
    victim.write_text("my only copy")
    rename_splits(run, {"test": name.format(victim=victim.with_suffix(""))})
    with pytest.raises(UserError, match=r"predictions\.parquet: part: expected a split"):
        stage(run, tmp_path / "staged")
    assert victim.read_text() == "my only copy"
    assert [*victim.parent.iterdir()] == [victim]


def test_a_missing_split_is_refused(run, tmp_path):
    rename_splits(run, {"test": None})
    with pytest.raises(UserError, match=r"predictions\.parquet: part: .*'None'"):
        stage(run, tmp_path / "staged")


@pytest.mark.parametrize(
    "columns", [{"part": [1]}, {"id": ["a"]}, {"part": ["test"], "path": [7]}, {"part": [["a"]]}]
)
def test_a_table_that_is_none_of_predictions_is_refused(run, tmp_path, columns):
    path = run / "report" / "predictions.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=r"predictions\.parquet: not a table of predictions"):
        stage(run, tmp_path / "staged")


MAP = {
    "id": ["a"],
    "speaker": ["s"],
    "label": ["happy"],
    "predicted": ["happy"],
    "x": pa.array([0.5], pa.float32()),
    "y": pa.array([0.5], pa.float32()),
}


def add_map(run, table):
    """Add a map of embeddings with this table to a run."""
    path = run / "report" / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["embeddings"] = {"method": "pca", "clips": 1, "of_clips": 1}
    path.write_text(json.dumps(report), encoding="utf-8")
    pq.write_table(pa.table(table), run / "report" / "embeddings.parquet")


def test_the_map_of_embeddings_is_published(run, tmp_path):
    add_map(run, MAP)
    stage(run, tmp_path / "staged")
    names = {path.name for path in (tmp_path / "staged").iterdir()}
    assert {"embeddings.parquet", "embeddings_by_emotion.png"} <= names
    assert 'href="embeddings.parquet"' in (tmp_path / "staged" / "index.html").read_text()


@pytest.mark.parametrize("change", [{"path": ["/a"]}, {"x": ["0"]}, {"predicted": [["happy"]]}])
def test_a_table_that_is_none_of_a_map_is_refused(run, tmp_path, change):
    add_map(run, MAP | change)
    with pytest.raises(UserError, match=r"embeddings\.parquet: not a map of embeddings"):
        stage(run, tmp_path / "staged")


# The change of the recipe, and the key that the message names.
WRONG_RECIPES = {
    "an unknown corpus": ({"corpus": {"name": "nonsense"}}, "corpus.name"),
    "a corpus without a name": ({"corpus": {}}, "corpus"),
    "a list as a name": ({"corpus": {"name": ["csv"]}}, "corpus.name"),
    "a text as the corpus": ({"corpus": "csv"}, "corpus"),
    "no model": ({"model": None}, "model"),
    "a number as the architecture": ({"model": {"architecture": 3}}, "model.architecture"),
    "a text as the rate": ({"audio": {"sampling_rate": "16000"}}, "audio.sampling_rate"),
    "an infinite window": ({"evaluation": {"window": float("inf")}}, "evaluation.window"),
}


@pytest.mark.parametrize("name", WRONG_RECIPES)
def test_a_recipe_that_is_none_of_a_run_is_refused(run, tmp_path, name):
    change, key = WRONG_RECIPES[name]
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe | change), encoding="utf-8")
    with pytest.raises(UserError, match=rf"recipe\.yaml: not the recipe .*: {key}"):
        stage(run, tmp_path / "staged")


def test_the_recipe_of_a_run_is_read_whole(finished_run):
    path = finished_run / "recipe.yaml"
    assert read_saved_recipe(path) == read_yaml(path)

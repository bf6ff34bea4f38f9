"""The files of a run: the clips that a resumed run must have, and links between reports."""

import json
from types import SimpleNamespace

import pytest
from support.recipes import TINY_CRNN
from support.reports import typed, whole_report

from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.outputs import open_folder, report_links, require_same_clips
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError
from ser_hf.utils.run_folder import RunFolder
from ser_hf.utils.yaml import read_yaml


@pytest.fixture
def run(tmp_path):
    """A run that has not begun."""
    values = {
        "name": "outputs",
        "output_dir": str(tmp_path / "run"),
        "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
        "protocol": {"validation": 0.3, "test": 0.3, "near_duplicates": "skip"},
        "model": TINY_CRNN,
    }
    recipe = read_recipe(values)
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def test_an_opened_folder_has_the_resolved_recipe_and_the_split(run):
    open_folder(run)
    saved = read_yaml(run.folder.recipe)
    assert saved["corpus"]["speakers"] == 6
    assert saved["provenance"].keys() == {"versions", "git_revision", "created"}
    split = json.loads(run.folder.split.read_text())
    assert split["sha256"] == run.fold.split.sha256
    assert split["clips"] == [run.fold.clips]
    require_same_clips(run)


@pytest.mark.parametrize("key", ["sha256", "clips"])
def test_other_clips_are_refused(run, key):
    open_folder(run)
    split = json.loads(run.folder.split.read_text())
    split[key] = "other"
    run.folder.split.write_text(json.dumps(split))
    with pytest.raises(UserError, match=r"split\.json: .* have changed"):
        require_same_clips(run)


def test_links_lead_to_the_reports_above_and_below():
    report = typed(whole_report())
    top = SimpleNamespace(path_in_run=())
    links = report_links(report, top)
    assert links.above is None
    kind = "fold" if report.protocol.folds else "seed"
    assert links.runs == {n: f"../{kind}-{n}/report/index.html" for n in report.runs}
    below = SimpleNamespace(path_in_run=("fold-1",))
    assert report_links(report, below).above == "../../report/index.html"

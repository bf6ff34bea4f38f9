"""The description of a run without training."""

import re

import pytest
from support.recipes import TINY_CRNN

from ser_hf.experiment.plan import plan_run
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError

RECIPE = {
    "name": "plan",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "near_duplicates": "skip"},
    "model": TINY_CRNN,
    "training": {"seeds": [1, 2, 3], "per_device_train_batch_size": 5, "num_train_epochs": 4},
}


def planned(tmp_path, *overrides):
    """The description, for a folder in which nothing may be written."""
    folder = tmp_path / "run"
    description = plan_run(read_recipe(RECIPE, [*overrides, f"output_dir={folder}"]))
    assert not folder.exists()
    return description


def memory(description):
    """{batch size: GiB}, and the batch size of the recipe."""
    rows = re.findall(r"^ +(\d+) clips +([\d.]+) GiB( \(the recipe\))?$", description, re.M)
    sizes = {int(clips): float(gib) for clips, gib, _ in rows}
    (of_recipe,) = [int(clips) for clips, _, mark in rows if mark]
    return sizes, of_recipe


def test_the_description_has_clips_trainings_parameters_steps_and_memory(tmp_path):
    description = planned(tmp_path)
    assert re.search(r"^store: 36 clips, ", description, re.M)
    assert "trainings: 6 (folds: 2, seeds: 3)" in description
    assert "parameters" in description
    steps = re.search(r"^steps: (\d+) an epoch of 5 clips each, (\d+) in all$", description, re.M)
    assert int(steps[2]) == 4 * int(steps[1])
    sizes, of_recipe = memory(description)
    assert of_recipe == 5
    assert list(sizes) == [1, 2, 4, 5, 8, 16, 32, 64]
    assert list(sizes.values()) == sorted(sizes.values())
    assert sizes[1] < sizes[64]


def test_the_number_of_steps_may_be_set_directly(tmp_path):
    assert re.search(r"^steps: .* 17 in all$", planned(tmp_path, "training.max_steps=17"), re.M)


def test_larger_layers_need_more_memory(tmp_path):
    small, _ = memory(planned(tmp_path))
    large, _ = memory(planned(tmp_path, "model.channels=[64]"))
    assert large[64] - large[1] > 2 * (small[64] - small[1]) > 0


def test_the_memory_of_a_process_includes_its_libraries(tmp_path):
    sizes, _ = memory(planned(tmp_path))
    assert sizes[1] > 0.1


def test_scikit_learn_has_no_steps(tmp_path):
    description = planned(tmp_path, "model={architecture: mfcc_svm}", "training={}")
    assert description.endswith("training: scikit-learn fits the classifier")
    assert "steps:" not in description
    assert "GiB memory" not in description


def test_a_fold_that_does_not_exist_is_refused_as_in_a_run(tmp_path):
    with pytest.raises(UserError, match=r"^protocol\.folds: "):
        planned(tmp_path, "protocol.folds=[3]")

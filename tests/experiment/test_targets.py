"""The targets of a recipe with several: layout, packed targets of clips, loss and metrics."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from support.recipes import TINY_CRNN

from ser_hf.evaluation.metrics import compute_metrics, set_metrics
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.targets import (
    auxiliary_classes,
    metrics_function,
    packed_targets,
    require_measurable,
    target_layout,
    targets_loss,
)
from ser_hf.training.targets import TargetMetrics
from ser_hf.utils.errors import UserError

NAN = float("nan")


def recipe_of(task="emotions+dimensions", corpus=None, **loss):
    ratings = {"targets": ["arousal"], "ranges": {"arousal": [1, 5]}}
    values = {"name": "csv", "root": "clips.csv", **(ratings if "dimensions" in task else {})}
    return read_recipe(
        {
            "task": task,
            "corpus": values | (corpus or {}),
            "model": TINY_CRNN,
            "training": {"loss": loss},
        }
    )


@pytest.fixture
def dataset():
    features = {
        "id": Value("string"),
        "label": ClassLabel(names=["angry", "sad"]),
        "sex": Value("string"),
        "age": Value("int32"),
        "targets": {"arousal": Value("float32")},
        "votes": List(Value("float32"), length=2),
    }
    columns = {
        "id": ["a", "b", "c"],
        "label": [1, -1, 0],
        "sex": ["male", "female", None],
        "age": [20, 22, 70],
        "targets": [{"arousal": 0.5}, {"arousal": 0.25}, {"arousal": None}],
        "votes": [[0.4, 0.6], None, [0.9, 0.1]],
    }
    return Dataset.from_dict(columns, features=Features(features))


def test_a_recipe_with_one_target_has_no_layout(dataset):
    assert target_layout(recipe_of("emotions"), dataset) is None
    assert target_layout(recipe_of("dimensions"), dataset) is None
    assert metrics_function(recipe_of("emotions"), None) is compute_metrics


def test_targets_are_packed_with_nan_where_a_clip_lacks_them(dataset):
    recipe = recipe_of(auxiliary={"sex": 0.1, "age_group": 0.2})
    layout = target_layout(recipe, dataset)
    assert [(block.name, block.width) for block in layout.blocks] == [
        ("emotions", 2),
        ("dimensions", 1),
        ("sex", 2),
        ("age_group", 2),
    ]
    assert auxiliary_classes(recipe, dataset)["sex"] == ["female", "male"]
    expected = [
        [0, 1, 0.5, 0, 1, 1, 0],
        [NAN, NAN, 0.25, 1, 0, 1, 0],
        [1, 0, NAN, NAN, NAN, 0, 1],
    ]
    np.testing.assert_array_equal(packed_targets(recipe, dataset), np.float32(expected))
    soft = packed_targets(recipe_of(soft_labels=True), dataset)
    np.testing.assert_allclose(soft[:, :2], [[0.4, 0.6], [NAN, NAN], [0.9, 0.1]])


def test_the_loss_has_a_term_for_each_target(dataset):
    recipe = recipe_of(
        auxiliary={"sex": 0.1}, task_weights={"dimensions": 0.5}, class_weights="balanced"
    )
    layout = target_layout(recipe, dataset)
    targets = packed_targets(recipe, dataset)
    loss = targets_loss(recipe, layout, ["angry", "sad"], targets)
    assert [term.weight for term in loss.terms] == [1.0, 0.5, 0.1]
    assert [term.share for term in loss.terms] == [pytest.approx(2 / 3)] * 3
    assert loss.terms[0].loss.class_weights.tolist() == [1.0, 1.0]
    assert isinstance(metrics_function(recipe, layout), TargetMetrics)


def test_splits_without_a_target_are_refused(dataset):
    recipe = recipe_of()
    layout = target_layout(recipe, dataset)
    targets = packed_targets(recipe, dataset)
    require_measurable(layout, targets, "test")
    with pytest.raises(UserError, match="^protocol: no clip of the test split .* emotions"):
        require_measurable(layout, targets[1:2], "test")
    with pytest.raises(UserError, match="^task: no training clip has a target for dimensions"):
        targets_loss(recipe, layout, ["angry", "sad"], targets[2:])


def test_an_auxiliary_target_needs_two_groups(dataset):
    recipe = recipe_of("emotions", auxiliary={"sex": 0.1})
    with pytest.raises(UserError, match=r"^training\.loss\.auxiliary\.sex: .*got male"):
        auxiliary_classes(recipe, dataset.select([0, 2]))


def test_sets_of_labels_are_measured_as_sets():
    corpus = {"name": "cremad", "target": "voice", "soft": True}
    recipe = read_recipe({"task": "multi_label", "corpus": corpus, "model": TINY_CRNN})
    assert metrics_function(recipe, None) is set_metrics

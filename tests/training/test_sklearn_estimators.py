"""Estimators of scikit-learn, and the modules with equal probabilities that they become."""

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from support.classification import problem
from support.close import assert_near
from torch import nn

from ser_hf.models.layers import KernelMachines, LinearMachines
from ser_hf.models.modeling_mfcc import Forest
from ser_hf.training.sklearn_estimators import (
    as_module,
    fit_estimator,
    not_above,
    require_same,
    scale_of,
    unfitted,
)
from ser_hf.training.sklearn_solver import (
    speaker_folds,
)

pytestmark = pytest.mark.slow  # fits of seconds

KINDS = {
    "linear": (nn.Linear(1, 1), {"C": 1.0}),
    "svm": (LinearMachines(1, 3), {"C": 0.1}),
    "rbf": (KernelMachines(1, 3, 1), {"C": 10.0, "gamma_scale": 0.5}),
    "forest": (Forest(3, 1, 3, 1), {"n_estimators": 20, "min_samples_leaf": 2}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def fitted(kind, classes, weights=None):
    vectors, labels, speakers = problem(classes)
    like, candidate = KINDS[kind]
    folds, _ = speaker_folds(labels, speakers, np.arange(len(labels)), classes)
    return (
        like,
        fit_estimator(unfitted(like, candidate, vectors, folds, seed=3), vectors, labels, weights),
        vectors,
    )


@kinds
@pytest.mark.parametrize("classes", [2, 4])
def test_the_module_s_probabilities_are_scikit_learn_s(kind, classes):
    like, estimator, vectors = fitted(kind, classes)
    elsewhere = np.concatenate(
        [vectors, 3 * np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)]
    )
    module = as_module(estimator, like)
    with torch.no_grad():
        own = module(torch.from_numpy(elsewhere)).softmax(dim=1).numpy()
    theirs = estimator.predict_proba(elsewhere)
    assert theirs.shape == own.shape == (210, classes)
    assert theirs.std(axis=0).min() > 0.05
    assert_near(own, theirs)
    require_same(module, estimator, elsewhere)


def test_a_module_with_other_probabilities_is_an_error():
    like, estimator, vectors = fitted("svm", 4)
    module = as_module(estimator, like)
    with torch.no_grad():
        module.bias[:1].add_(0.5)
    with pytest.raises(RuntimeError, match="differ from scikit-learn's by"):
        require_same(module, estimator, vectors)


def test_float32_thresholds_split_float32_values_as_float64_ones():
    values = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    neighbours = np.nextafter(values, np.float32(np.inf))
    thresholds = np.concatenate([values.astype(float), (values.astype(float) + neighbours) / 2])
    moved = not_above(thresholds)
    assert moved.dtype == np.float32
    for some in (np.tile(values, 2), np.tile(neighbours, 2)):
        np.testing.assert_array_equal(some <= moved, some.astype(float) <= thresholds)


def unlike(classes):
    """The problem with features of unlike scales and places, as embeddings have them."""
    vectors, labels, speakers = problem(classes)
    scales = np.float32([0.1, 0.3, 1, 10, 100, 3])
    places = np.float32([1, 0, -5, 100, 0, 40])
    return vectors * scales + places, labels, speakers


@pytest.mark.parametrize("kind", ["linear", "svm"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_linear_head_is_scikit_learn_s_on_standardized_embeddings(kind, classes):
    vectors, labels, speakers = unlike(classes)
    like, candidate = KINDS[kind]
    folds, _ = speaker_folds(labels, speakers, np.arange(len(labels)), classes)
    estimator = fit_estimator(
        unfitted(like, candidate, vectors, folds, seed=3), vectors, labels, None, scale_of(vectors)
    )
    module = as_module(estimator, like)
    wide = vectors.astype(np.float64)
    if kind == "linear":
        theirs = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=10000, random_state=3, **candidate)
        )
    else:
        # The scale of all training clips, in every fold.
        wide = StandardScaler().fit_transform(wide)
        machine = LinearSVC(max_iter=10000, random_state=3, **candidate)
        theirs = CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)
    expected = theirs.fit(wide, labels).predict_proba(wide)
    with torch.no_grad():
        own = module(torch.from_numpy(vectors)).softmax(dim=1).numpy()
    assert expected.std(axis=0).min() > 0.05
    assert_near(own, expected)
    require_same(module, estimator, vectors)


def test_constant_features_are_not_amplified():
    vectors = np.zeros((100, 4), dtype=np.float32)
    vectors[:, 0] = np.linspace(-1, 1, 100)
    vectors[0, 1] = 1e-3
    vectors[:, 2] = 1e4 + np.linspace(-1, 1, 100)  # small compared with its mean
    mean, deviation = scale_of(vectors)
    assert_near(mean, vectors.astype(float).mean(axis=0))
    np.testing.assert_allclose(deviation, [0.583, 0.00583, 10, 0.00583], rtol=2e-2)
    still = scale_of(np.ones((5, 2), dtype=np.float32))[1]
    np.testing.assert_allclose(still, 1e-3, rtol=1e-5)
    np.testing.assert_allclose(scale_of(np.zeros((5, 2), dtype=np.float32))[1], 1, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["functionals_linear", "functionals_svm"])
def test_more_features_than_clips_are_fitted_in_the_space_of_the_clips(architecture):
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 3
    vectors = generator.standard_normal((30, 200)) + 0.3 * labels[:, None]
    folds = [
        (np.delete(np.arange(30), range(i, i + 10)), np.arange(i, i + 10)) for i in (0, 10, 20)
    ]
    head = (
        torch.nn.Linear(200, 3) if architecture == "functionals_linear" else LinearMachines(200, 3)
    )
    fitted = unfitted(head, {"C": 0.01}, vectors, folds, 0)
    expected = unfitted(head, {"C": 0.01}, vectors, folds, 0).fit(vectors, labels)
    fit_estimator(fitted, vectors, labels, None)
    unseen = generator.standard_normal((8, 200))
    np.testing.assert_allclose(
        fitted.predict_proba(unseen), expected.predict_proba(unseen), atol=1e-3
    )

"""The temperature: found again if it is known, at a limit if clips do not determine one."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ser_hf.evaluation.calibration import (
    HIGHEST,
    LOWEST,
    at_limit,
    fit_temperature,
    temperature_effect,
)
from ser_hf.evaluation.metrics import all_metrics
from ser_hf.loading.batches import merge


def drawn(clips=6000, classes=5, seed=0):
    """Logits, and labels drawn from their softmax: the temperature is 1."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(clips, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > generator.random((clips, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("sharpened", [0.25, 1.0, 4.0])
def test_the_factor_of_sharpened_logits_is_found(sharpened):
    logits, labels = drawn()
    assert fit_temperature((sharpened * logits).astype(np.float32), labels) == pytest.approx(
        sharpened, rel=0.05
    )


def test_the_temperature_has_the_least_log_loss():
    logits, labels = drawn(clips=60)
    clips = np.arange(60)

    def loss(temperature):
        return -log_softmax(logits / temperature, axis=1)[clips, labels].mean()

    found = fit_temperature(logits, labels)
    assert all(loss(found) < loss(found * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_clips_that_determine_no_temperature_end_at_a_limit():
    labels = np.arange(12) % 3
    right = np.eye(3)[labels]
    for margin in (1e-3, 8, 1e30):
        assert fit_temperature(margin * right, labels) == LOWEST
    assert fit_temperature(-8 * right, labels) == HIGHEST
    assert fit_temperature(np.zeros((12, 3)), labels) == 1, "nothing depends on it"
    assert [at_limit(value) for value in (LOWEST, 1.0, HIGHEST)] == [True, False, True]


def test_windows_are_fitted_as_they_are_evaluated():
    """Two windows per clip: the loss is that of the mean probabilities of a clip, not of its
    windows.
    """
    logits, labels = drawn(clips=80)
    windows = np.concatenate([logits, logits[::-1]])
    rows = np.tile(np.arange(80), 2)
    lengths = np.repeat([3, 1], 80)
    found = fit_temperature(windows, labels, lambda own: merge(rows, lengths, own)[1])

    def loss(temperature):
        shares = 0.75 * softmax(windows[:80] / temperature, axis=1) + 0.25 * softmax(
            windows[80:] / temperature, 1
        )
        return -np.log(shares[np.arange(80), labels]).mean()

    assert all(loss(found) < loss(found * factor) for factor in (0.98, 1.02))
    assert found != pytest.approx(fit_temperature(windows, np.tile(labels, 2)), rel=0.02)


def test_the_effect_is_the_scores_without_and_with_the_temperature():
    logits, labels = drawn(clips=300)
    effect = temperature_effect(2.0, labels, 2 * logits, logits, stored=False)
    assert (effect.value, effect.fitted_on, effect.stored) == (2.0, "validation", False)
    for scores, scaled in ((effect.before, 2 * logits), (effect.after, logits)):
        measured = all_metrics(labels, softmax(scaled, axis=1))
        assert scores.to_dict() == pytest.approx(
            {name: measured[name] for name in ("log_loss", "ece", "brier")}
        )
    for name, before in effect.before.to_dict().items():
        assert getattr(effect.after, name) < before

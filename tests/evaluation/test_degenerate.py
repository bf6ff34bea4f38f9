"""Warnings about models whose figures are worth little."""

import dataclasses

import pytest

from ser_hf.evaluation.calibration import HIGHEST, LOWEST
from ser_hf.evaluation.degenerate import FAULTS, CheckedModel, degenerate, without_details

LABELS = ["angry", "happy", "sad"]

FINE = CheckedModel(
    LABELS, [[60, 10, 0], [10, 60, 1], [1, 1, 60]], 0.8, ["toy:1", "toy:2", "toy:3", "toy:4"], 1.3
)
CONSTANT = [[60, 0, 0], [59, 1, 0], [60, 0, 0]]
UNUSED = [[60, 2, 0], [1, 40, 0], [5, 6, 0]]


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, None),
        ({"train_score": None, "selecting": None, "temperature": None}, None),
        ({"confusion": CONSTANT}, "one class (angry): check"),
        # nearly all clips are angry
        ({"confusion": [[97, 0, 0], [2, 0, 0], [0, 1, 0]]}, "never predicted (sad)"),
        ({"confusion": UNUSED}, "never predicted (sad): train"),
        ({"confusion": [[60, 2, 0], [1, 40, 0], [0, 0, 0]]}, None),  # no clip is sad
        ({"train_score": 1 / 3}, "near chance (0.333, chance 0.333), so"),
        ({"train_score": 0.45}, None),
        ({"selecting": ["toy:1", "toy:2"]}, "selected the model (toy:1, toy:2), which"),
        ({"selecting": ["toy:unknown"]}, None),
        ({"temperature": LOWEST}, "(0.01 is the lowest value"),
        ({"temperature": HIGHEST}, "(100 is the highest value"),
    ],
)
def test_a_degenerate_model_has_one_warning_for_each_fault(changes, warned):
    warnings = degenerate(dataclasses.replace(FINE, **changes))
    assert len(warnings) == (warned is not None)
    assert all(warned in warning and len(warning) < 300 for warning in warnings)


def test_warnings_of_several_runs_have_no_details():
    facts = dataclasses.replace(
        FINE, confusion=UNUSED, train_score=0.2, selecting=["toy:1"], temperature=LOWEST
    )
    warnings = [*degenerate(facts), *degenerate(dataclasses.replace(facts, confusion=CONSTANT))]
    merged = {without_details(f"Seed 2: {warning}") for warning in warnings}
    assert merged == {fault.sentence.format("") for fault in FAULTS}
    assert without_details("Seed 2: 2 clips disagree.") == "Seed 2: 2 clips disagree."

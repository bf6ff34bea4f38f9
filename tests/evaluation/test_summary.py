"""All numbers of one evaluated split."""

import dataclasses

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.evaluation.calibration import HIGHEST, LOWEST
from ser_hf.evaluation.metrics import all_metrics
from ser_hf.evaluation.predictions import of_rows
from ser_hf.evaluation.summary import (
    DEGENERATE,
    ModelFacts,
    degenerate,
    evaluate_predictions,
    without_details,
)

LABELS = ["angry", "happy", "sad"]
CLIPS = 24


@pytest.fixture(scope="module")
def dataset():
    """Four speakers, six clips each, every emotion twice; the speakers' sex alternates, there is
    one sentence.
    """
    clips = range(CLIPS)
    columns = {
        name: [value] * CLIPS
        for name, value in (("intensity", None), ("corpus", "c"), ("sentence", "s1"))
    }
    columns |= {"id": [f"toy/{i:02d}" for i in clips], "speaker": [f"toy/{i // 6}" for i in clips]}
    columns |= {
        "label": [i % 3 for i in clips],
        "sex": ["female" if i // 6 % 2 else "male" for i in clips],
    }
    return Dataset.from_dict(columns).cast_column("label", ClassLabel(names=LABELS))


# The part, in the order of evaluation and not of the dataset; its first speaker is half right, its
# second all.
ROWS = np.array([17, 6, 8, 12, 7, 13, 9, 16, 10, 14, 11, 15])
TRUE = ROWS % 3
PREDICTED = np.where((ROWS < 9), (TRUE + 1) % 3, TRUE)


def _evaluate(dataset, predictions=PREDICTED):
    return evaluate_predictions(
        of_rows(dataset, ROWS, np.eye(3, dtype=np.float32)[predictions]), bootstrap=200
    )


def test_an_evaluation_is_of_the_given_rows(dataset):
    found = _evaluate(dataset)
    assert found.metrics == all_metrics(TRUE, np.eye(3)[PREDICTED])
    assert (found.clips, found.speakers) == (12, 2)
    assert found.metrics["wa"] == pytest.approx(9 / 12)
    assert found.confusion == [[3, 1, 0], [0, 3, 1], [1, 0, 3]]
    assert [row.support for row in found.per_class.values()] == [4, 4, 4]
    assert list(found.slices) == ["speaker", "sex"]
    assert found.slices["speaker"]["toy/1"].wa == pytest.approx(0.5)
    assert found.slices["speaker"]["toy/2"].wa == 1.0
    low, high = found.intervals["uar"]
    assert low < found.metrics["uar"] < high
    assert found.intervals != found.clip_intervals


@pytest.mark.parametrize(
    ("speakers", "warned"), [(1, "1 speaker:"), (9, "9 speakers:"), (10, None)]
)
def test_few_speakers_have_a_warning(dataset, speakers, warned):
    changed = dataset.remove_columns("speaker").add_column(
        "speaker", [str(i % speakers) for i in range(CLIPS)]
    )
    predicted = np.eye(3, dtype=np.float32)[np.arange(CLIPS) % 3]
    warnings = evaluate_predictions(
        of_rows(changed, np.arange(CLIPS), predicted), bootstrap=20
    ).warnings
    assert len(warnings) == (warned is not None)
    assert warned is None or warned in warnings[0]


def test_several_runs_give_the_mean_of_their_metrics(dataset):
    found = _evaluate(dataset, np.stack([PREDICTED, TRUE]))
    single, right = (all_metrics(TRUE, np.eye(3)[own]) for own in (PREDICTED, TRUE))
    assert found.metrics == pytest.approx(
        {name: (single[name] + right[name]) / 2 for name in single}
    )
    assert found.confusion == [[7, 1, 0], [0, 7, 1], [1, 0, 7]]
    assert found.slices["speaker"]["toy/1"].wa == pytest.approx(0.75)


def test_the_hardest_clips_come_first(dataset):
    first, second, third, fourth = _evaluate(dataset).hardest[:4]
    assert [clip.probability for clip in (first, second, third, fourth)] == [0, 0, 0, 1]
    assert (first.label, first.predicted, first.path) == ("angry", "happy", None)
    assert {clip.speaker for clip in (first, second, third)} == {"toy/1"}


def test_several_corpora_are_evaluated_each(dataset):
    corpora = ["a" if i < 12 else "b" for i in range(CLIPS)]
    found = _evaluate(dataset.remove_columns("corpus").add_column("corpus", corpora))
    assert {corpus: own.clips for corpus, own in found.corpora.items()} == {"a": 6, "b": 6}
    assert found.corpora["a"].metrics["wa"] == 0.5
    assert (
        np.sum([own.confusion for own in found.corpora.values()], axis=0).tolist()
        == found.confusion
    )
    assert _evaluate(dataset).corpora == {}


FINE = ModelFacts(
    LABELS, [[60, 10, 0], [10, 60, 1], [1, 1, 60]], 0.8, ["toy:1", "toy:2", "toy:3"], 1.3
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
        ({"temperature": LOWEST}, "no temperature (0.01, the sharper the better):"),
        ({"temperature": HIGHEST}, "no temperature (100, the flatter the better):"),
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
    assert merged == {sentence.format("") for sentence in DEGENERATE}
    assert without_details("Seed 2: 2 clips disagree.") == "Seed 2: 2 clips disagree."

"""All numbers of one evaluated split."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.evaluation.metrics import all_metrics
from ser_hf.evaluation.predictions import of_rows
from ser_hf.evaluation.summary import evaluate_predictions

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

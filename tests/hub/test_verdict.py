"""The verdict that follows from a response of the process without ser_hf."""

import copy
import json

import numpy as np
import pytest

from ser_hf.hub.response import Died, response_of
from ser_hf.hub.verdict import Inspected, verdict_of

CLIP = {"logits": [2.0, -2.0]}
REFUSED = {"error": "RuntimeError: too short"}
RESPONSE = {
    "versions": {"torch": "2.12"},
    "loads": True,
    "tensors": 10,
    "missing": [],
    "unexpected": [],
    "labels": ["calm", "angry"],
    "problem_type": None,
    "sampling_rate": 16000,
    "config_sampling_rate": None,
    "front_end": "Wav2Vec2FeatureExtractor",
    "model": "Wav2Vec2ForSequenceClassification",
    "predictions": [CLIP, CLIP],
    "alone": CLIP,
    "padded": CLIP,
}


def verdict(logits=None, **changes):
    code_from = changes.pop("code_from", ())
    response = response_of(copy.deepcopy(RESPONSE) | changes)
    return verdict_of(Inspected("a-model", response, code_from=code_from), logits)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"predictions": [CLIP, REFUSED]}, "Clip 2 of 2 is refused: RuntimeError: too short."),
        (
            {"predictions": [{"logits": [float("nan"), 0.0]}, CLIP]},
            "Clip 1 of 2 gets NaN or infinity.",
        ),
        ({"labels": ["calm"]}, "Clip 1 of 2 gets 2 logits for 1 label."),
        ({"labels": ["calm", None]}, "It predicts None instead of emotions"),
        ({"labels": ["calm", "LABEL_1"]}, "It predicts LABEL_1 instead of emotions"),
        ({"labels": ["calm", "calm"]}, "Several classes have the same label: calm."),
        (
            {"config_sampling_rate": 8000},
            "Its feature extractor uses 16000 Hz and its network 8000: every",
        ),
        (
            {"loads": False, "error": "OSError: no config"},
            "pipeline does not load it: OSError: no config.",
        ),
    ],
)
def test_problems(changes, problem):
    result = verdict(**changes)
    assert [line[: len(problem)] for line in result.problems] == [problem]
    assert result.notes == []
    assert problem in str(result)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"padded": {"logits": [2.1, -2.0]}},
            "A clip gets other predictions in a batch with a longer one than alone",
        ),
        (
            {"padded": REFUSED},
            "It refuses a batch of clips of different lengths: RuntimeError: too short.",
        ),
        (
            {"unexpected": ["quantizer.weight"]},
            "Its files contain tensors that the network does not use: quantizer",
        ),
        (
            {"problem_type": "regression"},
            "Its outputs are no distribution over labels (problem_type: regression).",
        ),
        (
            {"code_from": ["somebody/code"]},
            "Its code comes from somebody/code, where it may change.",
        ),
    ],
)
def test_notes(changes, note):
    result = verdict(**changes)
    assert result.good
    assert [line[: len(note)] for line in result.notes] == [note]


@pytest.mark.parametrize("missing", [[], ["wav2vec2.masked_spec_embed"]])
def test_a_good_model_has_no_notes(missing):
    result = verdict(missing=missing)
    assert result.good
    assert result.notes == []


def test_logits_are_compared_with_the_expected_ones():
    expected = np.array([[2.0, -2.0], [2.0, -2.0]], dtype=np.float32)
    assert verdict(expected + 1e-4).largest_difference == pytest.approx(1e-4, rel=0.01)
    assert verdict(expected + 1.9e-3).good, "a thousandth of the largest logit"
    assert not verdict(expected + 3e-3).good
    assert verdict(expected[:, :1]).problems == [
        "Its logits have the shape (2, 2), expected (2, 1)."
    ]


@pytest.mark.parametrize(
    ("code", "how"),
    [(7, "with exit code 7"), (-9, "of signal 9 (out of memory?)"), (-11, "of signal 11")],
)
def test_a_process_that_ends_without_a_response_is_a_problem(code, how):
    result = verdict_of(Inspected("a-model", Died(code, "farewell")))
    assert not result.loads
    assert result.problems == [f"The process that loads it dies {how}; its last line: farewell."]


def test_a_verdict_as_json_has_its_result_among_the_keys():
    values = json.loads(verdict(missing=["classifier.weight"]).to_json())
    assert values["good"] is False
    assert values["newly_initialized"] == ["classifier.weight"]
    assert values["largest_difference"] is None

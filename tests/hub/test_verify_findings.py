"""What is said of answers that no tiny model gives."""

import copy

import numpy as np
import pytest

from ser_hf.hub.verify import verdict_of

FINE = {"logits": [2.0, -2.0], "sum": 1.0, "finite": True}
ANSWER = {
    "versions": {"torch": "2.12"},
    "commit": None,
    "files": ["README.md", "config.json", "model.safetensors"],
    "readme": "---\npipeline_tag: audio-classification\n---\n",
    "task": None,
    "pointers": [],
    "adapter_of": None,
    "code": [],
    "code_absent": [],
    "code_imports": [],
    "code_unknown": [],
    "code_from": [],
    "plain_error": None,
    "remote_code": False,
    "loads": True,
    "tensors": 10,
    "missing": [],
    "unexpected": [],
    "mismatched": [],
    "not_finite": [],
    "labels": ["calm", "angry"],
    "problem_type": None,
    "sampling_rate": 16000,
    "config_sampling_rate": None,
    "front_end": "Wav2Vec2FeatureExtractor",
    "model": "Wav2Vec2ForSequenceClassification",
    "dtype": "float32",
    "answers": [FINE, FINE],
    "others": dict.fromkeys(("silence", "short", "long", "stereo"), FINE),
    "padding": {"difference": 0.0, "scale": 2.0},
}
REFUSED = {"error": "RuntimeError: too short"}


def verdict(logits=None, **changes):
    return verdict_of("a-model", copy.deepcopy(ANSWER) | changes, logits)


def others(**changes):
    return ANSWER["others"] | changes


def test_nothing_is_said_of_a_model_that_is_fine():
    found = verdict()
    assert found.good
    assert found.notes == []
    assert (found.clips, found.padding_safe, found.largest_difference) == (2, True, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"answers": [FINE, REFUSED]}, "Clip 2 of 2 is refused: RuntimeError: too short."),
        ({"others": others(silence=REFUSED)}, "A second of silence is refused: RuntimeError: too short."),
        ({"others": others(long=FINE | {"finite": False})}, "A clip of 30 s is answered with NaN or infinity."),
        ({"answers": [FINE | {"sum": 1.4}]}, "Clip 1 of 1 gets probabilities that add up to 1.400."),
        ({"labels": ["calm"]}, "Clip 1 of 2 is answered with 2 numbers, and has 1 label."),
        ({"labels": ["calm", None]}, "It answers None in place of emotions"),
        ({"config_sampling_rate": 8000}, "Its feature extractor takes 16000 Hz and its network 8000"),
        ({"mismatched": ["head.weight"]}, "Tensors of another shape than the network's are not loaded: head.weight."),
        ({"unaccounted": "KeyError: x"}, "What became of its tensors cannot be told: KeyError: x."),
        ({"needed": "ImportError: no torchaudio"}, "pipeline loads it only where more than torch and transformers"),
        (
            {"adapter_of": "facebook/wav2vec2-base", "files": [*ANSWER["files"], "adapter_config.json"]},
            "An adapter (adapter_config.json) lies beside the whole model: from the Hub, pipeline finds that first",
        ),
        (
            {"task": {"name": "text-classification"}},
            "pipeline(model=...) without a task takes it for text-classification",
        ),
        (
            {"loads": False, "error": "OSError: no preprocessor_config.json", "lacks": False, "shapes": []},
            "pipeline does not load it: OSError: no preprocessor_config.json.",
        ),
    ],
)
def test_a_problem_is_told_once(changes, told):
    found = verdict(**changes)
    (problem,) = found.problems
    assert problem.startswith(told)
    assert found.notes == []
    assert told in str(found)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"others": others(short=REFUSED)}, "A clip of 0.1 s is refused: RuntimeError: too short."),
        ({"padding": REFUSED}, "It takes no batch of clips of different lengths: RuntimeError: too short."),
        (
            {"unexpected": ["quantizer.weight"]},
            "Tensors in its files that the network has no place for: quantizer.weight.",
        ),
        (
            {"missing": ["wav2vec2.masked_spec_embed"]},
            "masked_spec_embed is not in its files, which only training uses.",
        ),
        ({"dtype": "bfloat16"}, "Its weights are bfloat16, and pipeline computes in that."),
        ({"problem_type": "regression", "answers": [FINE | {"sum": 0.3}]}, "It answers numbers, not labels"),
        (
            {"problem_type": "multi_label_classification", "answers": [FINE | {"sum": 1.3}]},
            "Each label has a probability of its own",
        ),
        (
            {"code_from": ["somebody/code"], "code": ["a.py"]},
            "Its code comes from somebody/code, where it may change.",
        ),
        ({"remote_code": True}, "Without trust_remote_code=True another network of transformers loads in its place"),
        ({"readme": "---\npipeline_tag: [\n---\n"}, "pipeline_tag in its card is missing"),
    ],
)
def test_what_is_no_fault_is_a_note(changes, told):
    found = verdict(**changes)
    assert found.problems == []
    (note,) = found.notes
    assert note.startswith(told)


def test_logits_are_held_against_those_that_are_known():
    known = np.array([[2.0, -2.0], [2.0, -2.0]], dtype=np.float32)
    assert verdict(known + 1e-4).largest_difference == pytest.approx(1e-4, rel=0.01)
    assert verdict(known + 1.9e-3).good, "of two, a thousandth is as much"
    assert not verdict(known + 3e-3).good
    assert verdict(known[:, ::-1]).problems[0].startswith("Its logits differ from those of the training process by up")
    assert verdict(known[:, :1]).problems == [
        "It answers with logits of shape (2, 2), where the training process had (2, 1)."
    ]

"""The loopback Hub's check of cards: what the real one refuses is refused, what our own cards hold is not."""

import json

import pytest
from support.hub.cards import check_card
from support.hub.front_matter import front_matter

RESULT = {
    "task": {"type": "audio-classification", "name": "Speech Emotion Recognition"},
    "dataset": {"name": "RAVDESS", "type": "tester/ravdess", "split": "test"},
    "metrics": [{"type": "recall", "name": "UAR", "value": 0.61}],
    "source": {"name": "ser_hf", "url": "https://example.org"},
}
MODEL = {
    "license": "cc-by-nc-sa-4.0",
    "language": ["en", "deu", "multilingual"],
    "tags": ["speech-emotion-recognition"],
    "library_name": "transformers",
    "pipeline_tag": "audio-classification",
    "datasets": ["tester/ravdess", "squad"],
    "metrics": ["recall", "accuracy"],
    "base_model": "facebook/wav2vec2-base",
    "base_model_relation": "finetune",
    "co2_eq_emissions": {"emissions": 12.5, "source": "measured", "training_type": "fine-tuning"},
    "widget": [{"src": "clip.wav", "example_title": "angry"}],
    "model-index": [{"name": "m", "results": [RESULT]}],
    "a_key_of_ours": {"anything": [1, None]},
}
DATASET = {
    "license": ["cc-by-4.0", "mit"],
    "task_categories": ["audio-classification"],
    "size_categories": ["1K<n<10K"],
    "pretty_name": "RAVDESS",
    "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
}
SPACE = {
    "title": "Emotions",
    "emoji": "🎭",
    "colorFrom": "blue",
    "colorTo": "gray",
    "sdk": "gradio",
    "sdk_version": "6.1.0",
    "app_file": "app.py",
    "short_description": "Which emotion is heard in a clip",
    "pinned": False,
    "models": ["tester/m"],
}
GOOD = {"model": MODEL, "dataset": DATASET, "space": SPACE}


def card(metadata):
    """JSON is YAML."""
    return f"---\n{json.dumps(metadata)}\n---\n# Text\n"


@pytest.mark.parametrize("repo_type", GOOD)
def test_whole_cards_are_good(repo_type):
    assert check_card(card(GOOD[repo_type]), repo_type) == ([], [])


def _result(**changed):
    return {"model-index": [{"name": "m", "results": [RESULT | changed]}]}


BAD = [
    ("model", {"license": "Apache 2.0"}, '"license" must be one of [apache-2.0, mit,'),
    ("model", {"license": ["mit", "cc-by-nc"]}, '"license[1]" must be one of'),
    ("model", {"license": None}, '"license" must be one of'),
    ("model", {"language": "english"}, '"language" with value "english" is not valid. It must be an ISO 639-1'),
    ("model", {"language": ["en", "EN"]}, '"language[1]" with value "EN" is not valid'),
    ("model", {"language": [None]}, '"language[0]" must be a string'),
    ("model", {"tags": "emotion"}, '"tags" must be an array'),
    ("model", {"tags": ["a", 1]}, '"tags[1]" must be a string'),
    ("model", {"datasets": [None]}, '"datasets[0]" must be a string'),
    ("model", {"datasets": "The RAVDESS"}, '"datasets" with value "The RAVDESS" is not valid. Use a dataset id'),
    ("model", {"pipeline_tag": ["audio-classification"]}, '"pipeline_tag" must be a string'),
    ("model", {"base_model": "runs/wav2vec2/model"}, '"base_model" with value "runs/wav2vec2/model" is not valid'),
    ("model", {"base_model_relation": "lora"}, '"base_model_relation" must be one of [adapter, merge, quantized,'),
    ("model", {"co2_eq_emissions": "12 g"}, '"co2_eq_emissions" must be a number of grams'),
    ("model", {"widget": {"src": "clip.wav"}}, '"widget" must be an array'),
    ("model", {"model-index": {}}, '"model-index" must be an array'),
    ("model", {"model-index": [{"results": []}]}, '"model-index[0].name" is required'),
    ("model", _result(task={}), '"model-index[0].results[0].task.type" is required'),
    ("model", _result(dataset={"name": "x"}), '"model-index[0].results[0].dataset.type" is required'),
    ("model", _result(dataset={"name": "x", "type": "a b"}), '.dataset.type" with value "a b" is not valid'),
    ("model", _result(metrics=[]), '.metrics" must be an array of at least one'),
    ("model", _result(metrics=[{"type": "recall"}]), '.metrics[0].value" is required'),
    ("model", _result(metrics=[{"type": "recall", "value": float("nan")}]), '.metrics[0].value" is required'),
    ("model", _result(metrics=[{"value": 0.5}]), '.metrics[0].type" is required'),
    ("model", _result(source={"name": "x"}), '.source.url" is required'),
    ("dataset", {"task_categories": "audio-classification"}, '"task_categories" must be an array'),
    ("dataset", {"size_categories": ["1000"]}, '"size_categories[0]" must be one of [n<1K'),
    ("dataset", {"configs": {"default": "data"}}, '"configs" must be an array'),
    ("dataset", {"configs": [{"data_files": "x"}]}, '"configs[0].config_name" is required'),
    ("space", {"sdk": "flask"}, '"sdk" must be one of [gradio,'),
    ("space", {"colorTo": "orange"}, '"colorTo" must be one of [red,'),
    ("space", {"emoji": ":mask:"}, '"emoji" must be an emoji'),
    ("space", {"short_description": "x" * 61}, '"short_description" length must be less than or equal to 60'),
    ("space", {"pinned": "no"}, '"pinned" must be a boolean'),
]


@pytest.mark.parametrize(("repo_type", "changed", "message"), BAD)
def test_one_wrong_value_is_one_error(repo_type, changed, message):
    text = card({**GOOD[repo_type], **changed}).replace("NaN", ".nan")
    errors, _ = check_card(text, repo_type)
    assert len(errors) == 1
    assert message in errors[0]


def test_what_only_warns():
    assert check_card("# No metadata\n", "model") == ([], ["empty or missing yaml metadata in repo card"])
    errors, (warning,) = check_card(card(MODEL | {"pipeline_tag": "emotion-recognition"}), "model")
    assert errors == []
    assert warning.startswith('The task "emotion-recognition" is not in the official list: ')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\nlicense: [mit\n---\n", "Invalid YAML"),
        ("---\nlicense: mit\nlicense: other\n---\n", "duplicated mapping key: license"),
        ("---\n- mit\n---\n", '"YAML" must be of type object'),
        ("---\ndate: 2020-13-45\n---\n", "Invalid YAML"),
    ],
)
def test_yaml_that_is_none(text, message):
    (error,), _ = check_card(text, "model")
    assert message in error


def test_yaml_is_read_as_the_hub_reads_it():
    """By YAML 1.2: Norwegian is a language, and a date is text when JSON carries it."""
    metadata, fault = front_matter("---\r\nlanguage: no\r\nviewer: true\r\ndate: 2026-01-02\r\n---\r\nText")
    assert (metadata, fault) == ({"language": "no", "viewer": True, "date": "2026-01-02"}, None)
    assert front_matter("---\nlicense: mit\n---not the end\n") == (None, None)

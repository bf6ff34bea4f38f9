"""Cards that the Hub would refuse, or read without what their authors meant."""

import pytest

from ser_hf.hub.card_check import check_card

GOOD = """---
language:
- en
- zho
license: cc-by-nc-sa-4.0
library_name: transformers
pipeline_tag: audio-classification
tags:
- speech-emotion-recognition
datasets:
- someone/voices
metrics:
- recall
base_model: facebook/wav2vec2-base
base_model_relation: finetune
co2_eq_emissions:
  emissions: 1.5
model-index:
- name: toy
  results:
  - task:
      type: audio-classification
    dataset:
      type: ravdess
      name: RAVDESS
      args:
        protocol: kfold
    metrics:
    - type: recall
      value: 0.5
      args:
        average: macro
    source:
      url: https://example.org
      name: Report
---

# Toy

![Confusion](confusion_matrix.png) ![Elsewhere](https://example.org/x.png)
"""


def test_a_good_card_has_no_problem():
    assert check_card(GOOD) == []
    assert check_card(GOOD, ["confusion_matrix.png", "README.md"]) == []
    assert check_card(GOOD, ["README.md"]) == ["it shows confusion_matrix.png, which does not stand beside it"]


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("license: cc", "licence: cc", "licence: no key that the Hub knows; license is meant?"),
        ("pipeline_tag", "pipeline-tag", "pipeline-tag: no key that the Hub knows; pipeline_tag is meant?"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-sa", "license: 'cc-by-nc-sa' is none that the Hub knows; cc-by-nc-sa"),
        ("license: cc-by-nc-sa-4.0", "license: other", "license: other needs a license_name"),
        ("license: cc-by-nc-sa-4.0", "license: mit\nlicense_name: own", "license_name and license_link are for"),
        ("license: cc-by-nc-sa-4.0", "license: other\nlicense_name: Our terms", "license_name: 'Our terms'; small"),
        (
            "license: cc-by-nc-sa-4.0",
            "license: other\nlicense_name: own\nlicense_link: here",
            "license_link: 'here' is neither an address nor LICENSE",
        ),
        ("- en", "- english", "language: 'english': no code of ISO 639"),
        ("- en", "- xx", "language: 'xx': no code of ISO 639"),
        ("- en", "- 1", "language: [1, 'zho']; words are asked for"),
        ("audio-classification\ntags", "text-classification\ntags", "pipeline_tag: 'text-classification'; `pipeline`"),
        ("library_name: transformers\n", "", "library_name: missing; `pipeline`"),
        ("metrics:\n- recall", "metrics: recall", "metrics: 'recall'; a list is asked for"),
        ("metrics:\n- recall", "metrics: []", "metrics: empty; leave it out"),
        ("someone/voices", "some one/voices", "datasets: 'some one/voices': no id on the Hub"),
        ("facebook/wav2vec2-base", "/home/me/wav2vec2", "base_model: '/home/me/wav2vec2': no id on the Hub"),
        ("finetune", "finetuned", "base_model_relation: 'finetuned' is none of adapter, finetune, merge, quantized"),
        ("base_model: facebook/wav2vec2-base\n", "", "base_model_relation: of no base_model"),
        ("emissions: 1.5", "emissions: much", "co2_eq_emissions: {'emissions': 'much'} tells no number of grams"),
        ("- name: toy", "- nome: toy", "model-index[0].name: missing"),
        ("value: 0.5", "value: .nan", "model-index[0].results[0].metrics[0].value: nan is no figure"),
        ("value: 0.5", "score: 0.5", "model-index[0].results[0].metrics[0].value: missing"),
        ("type: ravdess", "id: ravdess", "model-index[0].results[0].dataset.type: missing"),
        ("      url: https://example.org\n", "", "model-index[0].results[0].source.url: missing"),
        ("    metrics:\n", "    scores:\n", "model-index[0].results[0].metrics: missing"),
        ("model-index:", "model_index:", "model_index: no key that the Hub knows; model-index is meant?"),
        ("license: cc", "license: mit\nlicense: cc", "the key 'license' stands twice"),
        ("# Toy", "# {{ name }}", "the text was not filled: it has {{"),
        ("# Toy", "[More Information Needed]", "the text was not filled: it has [More Information Needed]"),
        ("---\nlanguage", "language", "no metadata: the card does not begin with YAML"),
        ("tags:", "tags: [", "not valid YAML"),
    ],
)
def test_each_defect_is_told_by_its_key(was, becomes, told):
    assert GOOD.count(was) >= 1
    problems = check_card(GOOD.replace(was, becomes, 1))
    assert any(told in problem for problem in problems), problems


def test_a_list_in_place_of_metadata():
    assert check_card("---\n- license\n---\ntext") == ["the metadata are no mapping of keys to values"]

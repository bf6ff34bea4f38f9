"""Codes and names of languages."""

import pytest

from ser_hf.corpora import corpus_settings
from ser_hf.corpora.languages import hub_languages, language_code
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" de ", "de"),
        ("en-US", "en-US"),
        ("pt_BR", "pt-BR"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("yue", "yue"),
        ("English", "en"),
        ("german", "de"),
        ("Mandarin", "zh"),
    ],
)
def test_codes_and_names_are_understood(text, code):
    assert language_code(text) == code


@pytest.mark.parametrize("text", ["", "e", "Klingon", "english, german", "en US", "en-", "12", "é"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="BCP 47"):
        language_code(text)


@pytest.mark.parametrize("name", ["csv", "hub", "audiofolder", "audformat"])
def test_every_described_corpus_checks_its_language(name):
    assert corpus_settings(name, "data", language="English").language == "en"
    with pytest.raises(UserError, match=r"^corpus\.language: .*'Klingon'"):
        corpus_settings(name, "data", language="Klingon")


@pytest.mark.parametrize(
    ("languages", "codes"),
    [(None, []), ("en-US", ["en"]), (["en-US", "en-GB", "de"], ["en", "de"])],
)
def test_a_card_has_codes_that_the_hub_accepts(languages, codes):
    assert hub_languages(languages) == codes

"""Corpora by name: classes of their settings, and their metadata."""

from pathlib import Path

import pytest

from ser_hf.corpora import CORPORA, CorpusSettings, corpus_facts, corpus_settings, settings_class
from ser_hf.corpora.mixture import MixtureSettings
from ser_hf.corpora.ravdess import RavdessSettings
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_has_the_facts_of_a_card(name):
    facts = corpus_facts(name, {})
    assert set(facts) == {
        "name",
        "title",
        "license",
        "language",
        "url",
        "citation",
        "acted",
        "non_commercial",
    }
    assert facts["name"] == name
    assert facts["title"]
    assert isinstance(facts["acted"], bool)
    described_by_users = ("annotations", "audformat", "audiofolder", "csv", "hub")
    if name not in (*described_by_users, "emobox", "mixture", "synthetic"):
        assert facts["url"].startswith("http")
        assert len(facts["citation"]) > 60
        assert facts["license"]
        assert isinstance(facts["non_commercial"], bool)


@pytest.mark.parametrize("name", ["emodb", "iemocap", "msp_podcast", "ravdess", "savee", "tess"])
def test_licenses_that_exclude_commercial_use(name):
    assert corpus_facts(name, {})["non_commercial"] is True
    assert corpus_facts("cremad", {})["non_commercial"] is False


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_option_of_a_corpus_has_a_default_and_a_type(name):
    for key, field in settings_class(name).model_fields.items():
        assert field.description
        if key in CorpusSettings.model_fields or (name, key) == ("mixture", "corpora"):
            continue
        assert field.default is None or isinstance(field.default, bool | int | float | str)


def test_a_name_has_its_class():
    assert settings_class("ravdess") is RavdessSettings
    assert settings_class("mixture") is MixtureSettings
    for name in CORPORA:
        assert settings_class(name).model_fields["name"].default == name


def test_an_unknown_corpus_is_named_with_the_others():
    with pytest.raises(UserError, match=r"^corpus\.name: unknown corpus 'ravdes'; .* ravdess"):
        settings_class("ravdes")


def test_settings_are_read_from_values():
    settings = corpus_settings("ravdess", Path("data"), song=True, drop=["calm"])
    assert settings == RavdessSettings(root="data", song=True, drop=["calm"])
    assert corpus_settings("ravdess").song is False


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("ravdess", {"songs": True}, "songs: unknown key; the nearest known key is corpus.song"),
        ("ravdess", {"song": "maybe"}, "song: "),
        ("ravdess", {"labels": "angry"}, "labels: "),
        ("cremad", {"agreement": 2}, "agreement: "),
        ("cremad", {"agreement": 0.5}, "agreement: needs votes"),
        ("cremad", {"soft": True}, "soft: needs votes"),
        ("synthetic", {"speakers": 100_000, "takes": 100}, "speakers: "),
        ("audformat", {"label": None}, "ratings: missing"),
        ("hub", {"root": "data", "dataset": "a/b"}, "dataset: "),
        ("mixture", {"root": "data", "corpora": [{"name": "savee"}]}, "root: "),
    ],
)
def test_a_wrong_value_is_named_by_its_key(name, values, key):
    with pytest.raises(UserError) as error:
        corpus_settings(name, **values)
    assert str(error.value).startswith(f"corpus.{key}")

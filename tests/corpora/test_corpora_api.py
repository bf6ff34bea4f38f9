"""From a corpus's name to rows: order, options, exclusions, log messages, and the facts for a card."""

import pytest
from support.blank import write_blank

from ser_hf.corpora import CORPORA, corpus_facts, corpus_options, load_corpus
from ser_hf.utils.errors import UserError


@pytest.fixture
def savee(tmp_path):
    """A function that writes SAVEE by name."""
    return lambda *names: write_blank(tmp_path, *names)


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
    if name not in ("audformat", "audiofolder", "csv", "emobox", "hub", "mixture", "synthetic"):
        assert facts["url"].startswith("http")
        assert len(facts["citation"]) > 60
        assert facts["license"]
        assert facts["non_commercial"] is (name != "cremad")


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_option_of_a_corpus_has_a_default_and_a_type(name):
    for hint, default in corpus_options(name).values():
        assert hint is not None
        assert default is None or isinstance(default, bool | int | float | str)


def test_excluded_clips_are_left_out_and_counted(savee, caplog):
    caplog.set_level("INFO", "ser_hf")
    root = savee("DC_a01.wav", "DC_a02.wav", "DC_h01.wav")
    dataset = load_corpus("savee", root, exclude=["savee/DC_a02", "savee/DC_a02"])
    assert dataset["id"][:] == ["savee/DC_a01", "savee/DC_h01"]
    assert "left out: corpus.exclude" in caplog.text


def test_an_unknown_excluded_id_is_named(savee):
    with pytest.raises(
        UserError, match=r"corpus.exclude: no clip 'DC_a02' \(ids look like savee/DC_a01\)"
    ):
        load_corpus("savee", savee("DC_a01.wav", "DC_h01.wav"), exclude=["DC_a02"])


def test_merged_and_dropped_emotions_without_effect_are_a_warning(savee, caplog):
    rules = {
        "merge": {"calm": "neutral", "happy": "happy", "angry": "disgust"},
        "drop": ["boredom", "sad"],
    }
    load_corpus("savee", savee("DC_a01.wav", "DC_h01.wav", "DC_sa01.wav"), **rules)
    assert "corpus.merge: calm, happy has no effect" in caplog.text
    assert "corpus.drop: boredom has no effect" in caplog.text
    assert caplog.text.count("no effect") == 2


def test_skipped_files_and_the_class_of_each_emotion_are_logged(savee, caplog):
    root = savee("DC_a01.wav", "DC_h01.wav", "DC_n01.wav", "DC_n02.wav", "stray0.wav", "stray1.wav")
    with caplog.at_level("INFO", "ser_hf"):
        load_corpus("savee", root, merge={"angry": "sad"}, drop=["neutral"], on_unknown="skip")
    assert f"left out, not a file name of SAVEE: 2 (first {root}/stray0.wav)" in caplog.text
    lines = [
        line.split(maxsplit=4) for record in caplog.records for line in record.message.splitlines()
    ]
    assert ["savee", "angry", "(a)", "1", "sad"] in lines
    assert ["savee", "happy", "(h)", "1", "happy"] in lines
    assert ["savee", "neutral", "(n)", "2", "left out: dropped"] in lines
    assert ["savee", "-", "2", "left", "out: not a file name of SAVEE"] in lines

"""From the settings of a corpus to rows: excluded clips, idle rules, and what is logged."""

import pytest
from support.blank import write_blank

from ser_hf.corpora import load_corpus
from ser_hf.utils.errors import UserError


@pytest.fixture
def savee(tmp_path):
    """A function that writes SAVEE by name."""
    return lambda *names: write_blank(tmp_path, *names)


def test_excluded_clips_are_left_out_and_counted(savee, caplog):
    caplog.set_level("INFO", "ser_hf")
    root = savee("DC_a01.wav", "DC_a02.wav", "DC_h01.wav")
    dataset = load_corpus("savee", root, exclude=["savee/DC_a02", "savee/DC_a02"])
    assert dataset["id"][:] == ["savee/DC_a01", "savee/DC_h01"]
    assert "left out: corpus.exclude" in caplog.text


def test_an_unknown_excluded_id_is_named(savee):
    message = r"corpus.exclude: no clip 'DC_a02' \(ids look like savee/DC_a01\)"
    with pytest.raises(UserError, match=message):
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


def test_a_corpus_without_clips_is_named(savee):
    root = savee("stray.wav")
    with pytest.raises(
        UserError, match=r"^corpus\.root: .* holds no clip of savee \(1 left out, not a file name"
    ):
        load_corpus("savee", root, on_unknown="skip")


def test_a_corpus_whose_clips_are_all_left_out_is_named(savee):
    root = savee("DC_a01.wav", "DC_h01.wav")
    with pytest.raises(UserError, match=r"^corpus\."):
        load_corpus("savee", root, drop=["angry", "happy"])

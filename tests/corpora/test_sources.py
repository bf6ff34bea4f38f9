"""What became of every label: counts, their order, and lines to print."""

from ser_hf.corpora.schema import Clip
from ser_hf.corpora.sources import LabelSource, Outcome, label_sources, sources_table


def outcome(emotion, label, left_out=None, word=None, corpus=None):
    clip = Clip("a.wav", emotion, speaker="x:1", id="x/a", corpus=corpus, original_label=word)
    return Outcome(clip, label, left_out)


def test_equal_outcomes_are_counted_together_in_the_order_of_the_emotions():
    outcomes = [
        outcome("sad", "sad"),
        outcome("angry", "angry"),
        outcome("calm", "neutral", word="02"),
        outcome("sad", "sad"),
        outcome("sad", "sad", left_out="dropped"),
    ]
    assert label_sources(outcomes, [("x", "no name"), ("x", "no name")], "x") == [
        LabelSource("x", "angry", None, "angry", None, 1),
        LabelSource("x", "sad", None, "sad", None, 2),
        LabelSource("x", "sad", None, None, "dropped", 1),
        LabelSource("x", "calm", "02", "neutral", None, 1),
        LabelSource("x", None, None, None, "no name", 2),
    ]


def test_corpora_of_a_mixture_and_custom_labels_are_sorted_after_each_other():
    outcomes = [
        outcome("zest", "zest", corpus="b"),
        outcome("other", "other", corpus="b"),
        outcome("sad", "sad", corpus="a"),
    ]
    sources = label_sources(outcomes, [], "mixture")
    assert [(source.corpus, source.emotion) for source in sources] == [
        ("a", "sad"),
        ("b", "other"),
        ("b", "zest"),
    ]


def test_the_table_has_the_word_of_the_files_and_the_reason():
    sources = [
        LabelSource("savee", "angry", "a", "angry", None, 60),
        LabelSource("savee", "sad", "sad", None, "dropped", 5),
        LabelSource("savee", None, None, None, "not a file name", 2),
    ]
    assert sources_table(sources).splitlines() == [
        "corpus  emotion    clips  class",
        "savee   angry (a)     60  angry",
        "savee   sad            5  left out: dropped",
        "savee   -              2  left out: not a file name",
    ]

"""From emotions to classes: listed, merged, dropped, and the message for each contradiction."""

import pytest

from ser_hf.corpora.labels import Rule, treat_labels
from ser_hf.corpora.schema import Clip
from ser_hf.utils.errors import UserError

SPOKEN = ["sad", "calm", "angry", "neutral", "calm", "happy"]
MERGED = ["neutral", "angry", "neutral", "neutral", "happy"]
CLIPS = [
    Clip(path=f"{i}.wav", emotion=emotion, speaker="x:1", id=f"x/{i}")
    for i, emotion in enumerate(SPOKEN)
]


@pytest.mark.parametrize(
    ("settings", "labels", "emotions"),
    [
        ({}, ["angry", "happy", "neutral", "sad", "calm"], SPOKEN),
        (
            {"merge": {"calm": "neutral"}},
            ["angry", "happy", "neutral", "sad"],
            ["sad", *MERGED],
        ),
        (
            {"drop": ["calm", "happy"]},
            ["angry", "neutral", "sad"],
            ["sad", None, "angry", "neutral", None, None],
        ),
        (
            {
                "labels": ["sad", "excited"],
                "merge": {"happy": "excited"},
                "drop": ["calm", "neutral", "angry"],
            },
            ["sad", "excited"],
            ["sad", None, None, None, None, "excited"],
        ),
    ],
)
def test_emotions_are_selected_merged_and_dropped(settings, labels, emotions):
    treatment = treat_labels(CLIPS, **settings)
    assert treatment.labels == labels
    assert treatment.emotions == emotions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"labels": ["angri", "sad"]},
            "labels: 'angri' is not a canonical emotion; the nearest is 'angry'",
        ),
        (
            {"labels": ["sad", "angry", "sad"]},
            "labels: expected each label once, got sad, angry, sad",
        ),
        (
            {"labels": ["sad", "calm"], "drop": ["calm"]},
            "labels: 'calm' is listed, but also merged or dropped",
        ),
        (
            {"labels": ["sad", "angry", "neutral", "happy"]},
            "labels: 'calm' (2 clips, the first 1.wav) is not listed",
        ),
        (
            {"labels": ["sad", "angry", "neutral"], "merge": {"calm": "happy"}},
            "merge: 'calm' is merged into 'happy', which is not in corpus.labels; ",
        ),
        (
            {"merge": {"calm": "sad", "sad": "angry"}},
            "merge: 'calm' is merged into 'sad', which is merged itself",
        ),
        (
            {"labels": ["sad", "fear"], "drop": ["calm", "angry", "neutral", "happy"]},
            "labels: no clip has the label 'fear'",
        ),
        (
            {"drop": ["calm", "angry", "neutral", "happy"]},
            "labels: at least two classes are needed, got sad",
        ),
        ({"drop": ["calmm"]}, "drop: 'calmm' is not a canonical emotion"),
        ({"merge": {"calm": "sad"}, "drop": ["sad"]}, "drop: 'sad' is also merged"),
    ],
)
def test_a_contradiction_is_named(settings, message):
    with pytest.raises(UserError) as error:
        treat_labels(CLIPS, **settings)
    assert str(error.value).startswith(f"corpus.{message}")


def rated(emotion, votes):
    return Clip(
        path=f"{emotion}.wav", emotion=emotion, speaker="x:1", id=f"x/{emotion}", votes=votes
    )


def test_votes_become_shares_in_the_order_of_the_classes():
    clips = [rated("sad", {"sad": 6, "angry": 2}), rated("angry", {"angry": 1})]
    treatment = treat_labels(clips, ["sad", "angry"])
    assert treatment.votes == [[0.75, 0.25], [0.0, 1.0]]


def test_votes_for_dropped_emotions_are_left_out():
    sad = {"sad": 3, "angry": 1, "fear": 6, "happy": 5}
    angry = {"angry": 2}
    fear = {"fear": 1, "sad": 1}
    treatment = treat_labels(
        [rated("sad", sad), rated("angry", angry), rated("fear", fear)], drop=["fear"]
    )
    assert treatment.labels == ["angry", "sad"]
    assert treatment.votes == [[0.25, 0.75], [1.0, 0.0], None]


def test_votes_decide_the_label_after_merging():
    """Fear and disgust together have more votes than anger, so the label must follow the column
    votes.
    """
    clips = [
        Clip("a.wav", "angry", "x:1", "x/a", votes={"angry": 4, "disgust": 3, "fear": 3}),
        Clip("b.wav", "fear", "x:1", "x/b", votes={"angry": 1, "disgust": 1, "fear": 3}),
        Clip("c.wav", "angry", "x:1", "x/c"),
    ]
    treated = treat_labels(clips, merge={"disgust": "fear"})
    assert treated.emotions == ["fear", "fear", "angry"]
    assert treated.votes[0] == pytest.approx([0.4, 0.6])
    assert treated.votes[2] is None


# ---------------------------------------------------------------------- several corpora together

MIXED = [
    Clip(
        path=f"{corpus}/{i}.wav",
        emotion=emotion,
        speaker=f"{corpus}:1",
        id=f"{corpus}/{i}",
        corpus=corpus,
    )
    for corpus in ("a", "b")
    for i, emotion in enumerate(["calm", "neutral", "surprise", "happy"])
]


def test_the_rule_of_one_corpus_takes_precedence():
    rules = {
        "a": Rule({"calm": "calm"}, key="corpus.corpora[0]"),
        "b": Rule({"surprise": "happy"}, ["calm"]),
    }
    treatment = treat_labels(MIXED, merge={"calm": "neutral"}, rule_of_corpus=rules)
    assert treatment.labels == ["happy", "neutral", "surprise", "calm"]
    assert treatment.emotions == [
        "calm",
        "neutral",
        "surprise",
        "happy",
        None,
        "neutral",
        "happy",
        "happy",
    ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"merge": {"surprise": "calm"}},
            "x.merge: 'surprise' is merged into 'calm', which is also in corpus.merge",
        ),
        ({"drop": ["neutral"]}, "corpus.merge: 'calm' is merged into 'neutral', which "),
    ],
)
def test_rules_of_one_corpus_that_contradict_each_other_are_named(rule, message):
    rules = {"a": Rule(**rule, key="x")}
    with pytest.raises(UserError) as error:
        treat_labels(MIXED, merge={"calm": "neutral"}, rule_of_corpus=rules)
    assert str(error.value).startswith(message)


def test_rules_without_a_common_clip_do_not_contradict_each_other():
    rules = {"a": Rule({"surprise": "calm", "calm": "calm"}), "b": Rule(drop=["neutral", "calm"])}
    treatment = treat_labels(
        MIXED, merge={"boredom": "neutral", "calm": "neutral"}, rule_of_corpus=rules
    )
    assert treatment.emotions == [
        "calm",
        "neutral",
        "calm",
        "happy",
        None,
        None,
        "surprise",
        "happy",
    ]

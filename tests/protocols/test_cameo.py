"""CAMEO by speaker: the speakers with the most clips of each language are for the test."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from ser_hf.protocols import split_corpus
from ser_hf.utils.errors import UserError

# {language: {speaker: clips}}
CLIPS = {
    "Polish": {"cameo:a": 10, "cameo:b": 6, "cameo:c": 5, "cameo:d": 5},
    "French": {"cameo:e": 4, "cameo:f": 4, "cameo:g": 4, "cameo:h": 4},
}


def corpus(clips):
    rows = []
    for language, speakers in clips.items():
        for speaker, count in speakers.items():
            for number in range(count):
                row = {
                    "id": f"{speaker}/{number}",
                    "label": number % 2,
                    "speaker": speaker,
                    "language": language,
                    "corpus": "cameo",
                    "sentence": None,
                    "sex": None,
                }
                rows.append(row)
    columns = dict.fromkeys(("id", "speaker", "language", "corpus", "sentence", "sex"))
    features = {name: Value("string") for name in columns}
    features["label"] = ClassLabel(names=["angry", "sad"])
    return Dataset.from_list(rows, features=Features(features))


def test_the_speakers_with_the_most_clips_are_tested_until_the_share_is_reached():
    (split,) = split_corpus(corpus(CLIPS), "mteb/cameo")
    # Polish: 10 of 26 clips; French: 4 are less than 35 % of 16, so that a second one is added.
    assert split.speakers["test"] == ["cameo:a", "cameo:e", "cameo:f"]
    assert split.leak is None
    trained = {*split.speakers["train"], *split.speakers["validation"]}
    assert trained == {"cameo:b", "cameo:c", "cameo:d", "cameo:g", "cameo:h"}


def test_a_language_of_one_speaker_cannot_be_split():
    clips = CLIPS | {"German": {"cameo:i": 9}}
    with pytest.raises(UserError, match=r"^protocol\.name: mteb/cameo .*German"):
        split_corpus(corpus(clips), "mteb/cameo")


def test_every_clip_needs_a_speaker_and_a_language():
    with pytest.raises(UserError, match=r"^protocol\.name: mteb/cameo needs the language"):
        split_corpus(corpus(CLIPS | {None: {"cameo:i": 9, "cameo:j": 3}}), "mteb/cameo")

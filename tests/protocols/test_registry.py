"""The table of protocols, and the Python functions that split a corpus by it."""

import inspect
import json
from pathlib import Path

import pytest

from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.corpora.synthesis import EMOTIONS, SENTENCES, voice
from ser_hf.protocols import (
    FOILS,
    PROTOCOLS,
    ProtocolSettings,
    speaker_independent,
    split_by,
    split_corpus,
)
from ser_hf.protocols.settings import KFoldSettings, SpeakerIndependentSettings
from ser_hf.utils.errors import UserError


def options_of(name):
    """The keys that only this protocol has."""
    return PROTOCOLS[name].settings.model_fields.keys() - ProtocolSettings.model_fields.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 1}, "protocol.k: expected a whole number from 2 to 1,000, got the number 1"),
        ({"k": "5"}, "protocol.k: "),
        ({"validation": 1.5}, "protocol.validation: "),
        ({"seed": -1}, "protocol.seed: "),
        ({"folds": [1, 1]}, "protocol.folds: expected each number once"),
        ({"n": 5}, "protocol.n: unknown key"),
    ],
)
def test_options_are_checked_as_in_a_recipe(make_corpus, options, message):
    with pytest.raises(UserError) as error:
        split_corpus(make_corpus(3), "kfold", **options)
    assert str(error.value).startswith(message)


def test_an_unknown_protocol_is_refused(make_corpus):
    with pytest.raises(UserError, match=r"^protocol\.name: unknown protocol 'kfolds'"):
        split_corpus(make_corpus(3), "kfolds")


def test_settings_and_options_give_the_same_splits(make_corpus):
    dataset = make_corpus(6)
    settings = KFoldSettings(k=3, validation=0.4, seed=1, folds=[2])
    options = {"k": 3, "validation": 0.4, "seed": 1}
    assert split_by(dataset, settings) == split_corpus(dataset, "kfold", [2], **options)
    assert split_by(dataset, settings) == [split_corpus(dataset, "kfold", **options)[1]]


def test_speaker_independent_is_the_protocol_of_its_name(make_corpus):
    dataset = make_corpus(8)
    options = {"validation": 0.25, "test": ["7-8"], "seed": 3}
    by_name = split_corpus(dataset, "speaker_independent", **options)
    assert [speaker_independent(dataset, **options)] == by_name

    parameters = dict(inspect.signature(speaker_independent).parameters)
    del parameters["dataset"]
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    settings = SpeakerIndependentSettings()
    assert defaults.keys() == options_of("speaker_independent")
    assert defaults == {name: getattr(settings, name) for name in defaults}


def test_foils_accept_the_options_of_a_run():
    for name in FOILS:
        assert options_of(name) == {"validation", "test", "seed"}


def test_folds_are_picked_by_number_from_1(make_corpus):
    dataset = make_corpus(5)
    folds = split_corpus(dataset, "leave_one_speaker_out")
    assert split_corpus(dataset, "leave_one_speaker_out", [4, 2]) == [folds[3], folds[1]]
    assert split_corpus(dataset, "speaker_independent", [1]) == split_corpus(
        dataset, "speaker_independent"
    )


@pytest.mark.parametrize(
    ("name", "number", "last"), [("kfold", 6, 5), ("speaker_independent", 2, 1)]
)
def test_a_fold_that_is_not_there_is_refused(make_corpus, name, number, last):
    with pytest.raises(
        UserError, match=rf"^protocol\.folds: {name} has folds 1 to {last} here, got {number}$"
    ):
        split_corpus(make_corpus(6), name, [1, number])


def test_the_quickstarts_split_is_the_one_that_was_measured():
    """The figures in benchmarks/results were measured on this split."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "quickstart.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["protocol"]
    clips = [
        Clip(
            path=f"s{speaker:02d}_{emotion}_{take:03d}.wav",
            emotion=emotion,
            speaker=f"synthetic:{speaker:02d}",
            id=f"synthetic/s{speaker:02d}_{emotion}_{take:03d}",
            sex=voice(speaker, 0).sex,
            sentence=f"sentence {take % len(SENTENCES) + 1}",
            take=take,
        )
        for speaker in range(150)
        for emotion in EMOTIONS
        for take in range(6)
    ]
    clips.sort(key=lambda clip: clip.id)
    dataset = to_dataset(
        Listing("synthetic", clips), [clip.emotion for clip in clips], sorted(EMOTIONS), 16000
    )
    (split,) = split_corpus(dataset, measured["name"])
    assert split.speakers == {
        part: content["speakers"] for part, content in measured["parts"].items()
    }
    assert split.sha256 == measured["sha256"]

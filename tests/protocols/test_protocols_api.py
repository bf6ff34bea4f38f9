"""The table of protocols, what options a recipe may give them, picking folds; a published figure's
split.
"""

import inspect
import json
from pathlib import Path

import pytest

from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.corpora.synthetic import EMOTIONS, SENTENCES, voice
from ser_hf.protocols import FOILS, PROTOCOLS, ProtocolSettings, split_corpus
from ser_hf.utils.errors import UserError


def defaults(name):
    """The options of a protocol with their defaults."""
    fields = PROTOCOLS[name].settings.model_fields
    return {key: fields[key].default for key in fields if key not in ProtocolSettings.model_fields}


def test_the_function_of_a_protocol_takes_its_options_with_the_same_defaults():
    for name, protocol in PROTOCOLS.items():
        parameters = inspect.signature(protocol.split).parameters
        assert list(parameters)[1:] == list(defaults(name))
        for option, default in defaults(name).items():
            required = parameters[option].default is inspect.Parameter.empty
            assert required or parameters[option].default in (default, "")


def test_each_protocol_has_its_options():
    assert defaults("kfold") == {"k": 5, "validation": 0.15, "seed": 0}
    assert defaults("audb/cremad") == {}
    assert defaults("emobox/tess") == {"validation": 0.2, "seed": 0}


def test_foils_accept_the_options_of_a_run():
    for name in FOILS:
        assert set(defaults(name)) == {"validation", "test", "seed"}


def test_folds_are_picked_by_number_from_1(make_corpus):
    dataset = make_corpus(5)
    folds = split_corpus(dataset, "leave_one_speaker_out")
    assert split_corpus(dataset, "leave_one_speaker_out", [4, 2]) == [folds[3], folds[1]]
    assert split_corpus(dataset, "speaker_independent", [1]) == split_corpus(
        dataset, "speaker_independent"
    )


@pytest.mark.parametrize(
    ("name", "number", "last"), [("kfold", 0, 5), ("kfold", 6, 5), ("speaker_independent", 2, 1)]
)
def test_a_fold_that_is_not_there_is_refused(make_corpus, name, number, last):
    with pytest.raises(
        UserError, match=f"^protocol.folds: {name} has folds 1 to {last} here, got {number}$"
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
    assert split.speakers == {part: own["speakers"] for part, own in measured["parts"].items()}
    assert split.sha256 == measured["sha256"]

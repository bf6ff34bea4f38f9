"""Test clips of an evaluation: labels that the model has, and new speakers."""

import dataclasses

import pytest
from datasets import ClassLabel, Dataset
from support.reports import typed, whole_report

from ser_hf.corpora import Corpus
from ser_hf.experiment.evaluated_clips import (
    EvaluationOptions,
    select_test_clips,
)
from ser_hf.experiment.provenance import TrainingProvenance, recognized_speakers
from ser_hf.experiment.training_clips import short_hash
from ser_hf.report.views import evaluated_speakers
from ser_hf.utils.errors import UserError

NAMES = ["angry", "happy", "sad", "boredom"]


@pytest.fixture(scope="module")
def corpus():
    """Three speakers of two clips of each emotion."""
    rows = [(speaker, label, take) for speaker in "abc" for label in range(4) for take in range(2)]
    columns = {
        "id": [f"toy/{speaker}{label}{take}" for speaker, label, take in rows],
        "speaker": [f"toy:{speaker}" for speaker, _, _ in rows],
        "label": [label for _, label, _ in rows],
        "corpus": ["toy"] * len(rows),
        **dict.fromkeys(("sex", "sentence"), [None] * len(rows)),
    }
    return Corpus(Dataset.from_dict(columns).cast_column("label", ClassLabel(names=NAMES)), [], {})


def trained_on(*speakers):
    return TrainingProvenance(frozenset(speakers), "speaker_independent", "0" * 64)


def test_unknown_labels_and_training_speakers_are_left_out(corpus):
    clips = select_test_clips(
        corpus, ["angry", "happy", "sad"], trained_on("toy:a", "other:b"), EvaluationOptions()
    )
    assert len(clips.dataset) == 2 * 3 * 2
    assert set(clips.dataset["speaker"]) == {"toy:b", "toy:c"}
    left_out = [note for note in clips.protocol.notes if note.startswith("6 clips ")]
    assert len(left_out) == 2  # those of the speaker, and those of the label
    assert clips.protocol.leak is None
    assert clips.protocol.to_dict()["parts"] == {
        "test": {"clips": 12, "speakers": ["toy:b", "toy:c"]}
    }
    assert "6 clips are not evaluated: the model has no label for boredom." in clips.protocol.notes
    assert clips.audit.shared == {"train/test": {"speakers": 0}}


def test_training_speakers_are_recognized_in_another_spelling(corpus):
    provenance = trained_on("TOY:A ", "toy:\uff42", "toy:d")
    clips = select_test_clips(corpus, NAMES, provenance, EvaluationOptions())
    assert set(clips.dataset["speaker"]) == {"toy:c"}
    options = EvaluationOptions(training_speakers=True)
    clips = select_test_clips(corpus, NAMES, provenance, options)
    assert clips.protocol.leak.startswith("2 of 3 test speakers ")


def test_training_speakers_are_recognized_by_their_recordings(corpus):
    count = len(corpus.dataset)
    hashes = [f"{row:032x}"[::-1] for row in range(count)]
    hashed = corpus.dataset.add_column("content_hash", hashes)
    provenance = dataclasses.replace(
        trained_on("other:1"), clips=frozenset({short_hash(hashes[0]), short_hash(hashes[-1])})
    )
    recognized = recognized_speakers(hashed, provenance)
    assert recognized == {"toy:a", "toy:c"}
    clips = select_test_clips(corpus, NAMES, provenance, EvaluationOptions(), recognized=recognized)
    assert set(clips.dataset["speaker"]) == {"toy:b"}
    assert any(note.startswith("16 clips are not evaluated: ") for note in clips.protocol.notes)
    assert recognized_speakers(hashed, trained_on("toy:a")) == frozenset()
    assert recognized_speakers(hashed, None) == frozenset()


def test_requested_training_speakers_are_a_leak(corpus):
    clips = select_test_clips(
        corpus, NAMES, trained_on("toy:a"), EvaluationOptions(training_speakers=True)
    )
    assert len(clips.dataset) == 24
    assert clips.protocol.leak.startswith("1 of 3 test speakers are in the model's training")
    report = typed(whole_report(protocol=clips.protocol.to_dict(), audit=clips.audit.to_dict()))
    assert evaluated_speakers(report) == "test clips of training speakers"


def test_unknown_speakers_may_be_in_the_training_data(corpus):
    clips = select_test_clips(corpus, NAMES, trained_on("toy:unknown"), EvaluationOptions())
    assert clips.protocol.leak.startswith("Clips of toy ")
    assert clips.audit.shared["train/test"]["speakers"] is None
    report = typed(
        whole_report(
            kind="evaluation",
            protocol=clips.protocol.to_dict() | {"leak": None},
            audit=clips.audit.to_dict(),
        )
    )
    assert evaluated_speakers(report) == "possibly known speakers"


def test_unknown_training_data_are_noted(corpus):
    clips = select_test_clips(corpus, NAMES, None, EvaluationOptions())
    assert clips.audit.shared["train/test"]["speakers"] is None
    assert any("training data of this model are unknown" in note for note in clips.protocol.notes)


def test_each_split_of_a_protocol_has_a_fingerprint(corpus):
    chosen = {
        "protocol": "speaker_independent",
        "protocol_options": {"test": 0.34, "validation": 0.34},
    }
    parts = {}
    for part in ("train", "validation", "test"):
        parts[part] = select_test_clips(corpus, NAMES, None, EvaluationOptions(part=part, **chosen))
    assert {part: len(own.dataset) for part, own in parts.items()} == dict.fromkeys(parts, 8)
    assert len({own.protocol.sha256 for own in parts.values()}) == 3
    assert parts["test"].protocol.name == "speaker_independent, its test part"


def test_a_selection_without_clips_is_an_error(corpus):
    with pytest.raises(UserError, match=r" 24 clips .*--training-speakers"):
        select_test_clips(corpus, NAMES, trained_on("toy:a", "toy:b", "toy:c"), EvaluationOptions())
    with pytest.raises(UserError, match="angry.*--label-map"):
        select_test_clips(corpus, ["fear", "disgust"], None, EvaluationOptions())
    with pytest.raises(UserError, match="^--fold: leave_one_speaker_out .* 1 to 3"):
        select_test_clips(corpus, NAMES, None, EvaluationOptions(protocol="leave_one_speaker_out"))

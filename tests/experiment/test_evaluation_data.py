"""Which clips judge: whose label the model has, and whose speaker it has not heard."""

import pytest
from datasets import ClassLabel, Dataset
from support.reports import typed, whole_report

from ser_hf.corpora import Corpus
from ser_hf.experiment.evaluation_data import TrainingProvenance, select_test_clips
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


def _learnt(*speakers):
    return TrainingProvenance(frozenset(speakers), "speaker_independent", "0" * 64)


def test_labels_that_the_model_lacks_and_speakers_that_it_heard_do_not_judge(corpus):
    clips = select_test_clips(corpus, ["angry", "happy", "sad"], _learnt("toy:a", "other:b"))
    assert len(clips.dataset) == 2 * 3 * 2
    assert set(clips.dataset["speaker"]) == {"toy:b", "toy:c"}
    assert clips.left_out == {
        "the model has no label for boredom": 6,
        "the model was trained with the speaker, or chosen by it": 6,
    }
    assert clips.protocol["leak"] is None
    assert clips.protocol["parts"] == {"test": {"clips": 12, "speakers": ["toy:b", "toy:c"]}}
    assert any(
        note.startswith("6 clips do not judge: the model has no label for boredom") for note in clips.protocol["notes"]
    )
    assert clips.audit["shared"] == {"train/test": {"speakers": 0}}


def test_heard_speakers_judge_only_if_asked_and_then_it_leaks(corpus):
    clips = select_test_clips(corpus, NAMES, _learnt("toy:a"), heard=True)
    assert len(clips.dataset) == 24
    assert clips.protocol["leak"].startswith("1 of 3 speakers who judge were heard in training")
    report = typed(whole_report(protocol=clips.protocol, audit=clips.audit))
    assert evaluated_speakers(report) == "test clips of training speakers"


def test_who_is_unnamed_may_have_been_heard(corpus):
    clips = select_test_clips(corpus, NAMES, _learnt("toy:unknown"))
    assert clips.protocol["leak"].startswith("Of clips of toy it is not told who speaks")
    assert clips.audit["shared"]["train/test"]["speakers"] is None
    report = typed(whole_report(kind="evaluation", protocol=clips.protocol | {"leak": None}, audit=clips.audit))
    assert evaluated_speakers(report) == "possibly known speakers"


def test_of_a_model_that_does_not_tell_that_is_said(corpus):
    clips = select_test_clips(corpus, NAMES, None)
    assert clips.audit["shared"]["train/test"]["speakers"] is None
    assert any("not known here" in note for note in clips.protocol["notes"])


def test_a_part_of_a_protocol_judges_and_its_fingerprint_is_its_own(corpus):
    options = {"test": 0.34, "validation": 0.34}
    chosen = {"protocol": "speaker_independent", "options": options}
    parts = {
        part: select_test_clips(corpus, NAMES, None, part=part, **chosen) for part in ("train", "validation", "test")
    }
    assert {part: len(own.dataset) for part, own in parts.items()} == dict.fromkeys(parts, 8)
    assert len({own.protocol["sha256"] for own in parts.values()}) == 3
    assert parts["test"].protocol["name"] == "speaker_independent, its test part"


def test_what_leaves_no_clip_is_told(corpus):
    with pytest.raises(UserError, match=r"no clip is left .* 24 clips: the model was trained .*--training-speakers"):
        select_test_clips(corpus, NAMES, _learnt("toy:a", "toy:b", "toy:c"))
    with pytest.raises(UserError, match="no label for angry.*--label-map"):
        select_test_clips(corpus, ["fear", "disgust"], None)
    with pytest.raises(UserError, match="--fold: leave_one_speaker_out has folds 1 to 3"):
        select_test_clips(corpus, NAMES, None, protocol="leave_one_speaker_out")

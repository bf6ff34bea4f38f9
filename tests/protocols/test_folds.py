"""Cross-validation: every clip is tested once, with its speaker, session or corpus held out."""

from collections import Counter

import pytest
from sklearn.model_selection import StratifiedGroupKFold

from ser_hf.protocols import audit, split_corpus
from ser_hf.utils.errors import UserError

quiet = pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
pytestmark = [pytest.mark.usefixtures("few_draws"), quiet]


def times_tested(splits):
    return Counter(row for split in splits for row in split.rows["test"])


def by_two(n, take):
    return f"session {n // 2}"


def test_folds_of_speakers(make_corpus):
    dataset = make_corpus(11)
    splits = split_corpus(dataset, "kfold", k=4, validation=0.3)
    assert times_tested(splits) == Counter(range(len(dataset)))
    assert sorted(len(split.speakers["test"]) for split in splits) == [2, 3, 3, 3]
    for split in splits:
        assert split.fold == ", ".join(split.speakers["test"])
        assert len(split.speakers["validation"]) == round(0.3 * (11 - len(split.speakers["test"])))
        speakers = [name for names in split.speakers.values() for name in names]
        assert sorted(speakers) == sorted(set(dataset["speaker"]))
        assert audit(split, dataset).shared["train/test"]["speakers"] == 0


def test_folds_have_labels_in_proportion(make_corpus):
    """Half of the speakers act angry mostly, the other half sad."""
    mostly_angry = ["angry"] * 6 + ["happy", "sad"]
    mostly_sad = ["sad"] * 6 + ["happy", "angry"]
    speakers = {f"x:{n:02d}": mostly_sad if n < 10 else mostly_angry for n in range(20)}
    dataset = make_corpus(speakers)
    for split in split_corpus(dataset, "kfold", k=5):
        labels = Counter(dataset[row]["label"] for row in split.rows["test"])
        assert labels == {0: 14, 1: 4, 2: 14}


def test_a_fold_that_stratifying_leaves_empty_is_filled_by_chance(make_corpus):
    """The speakers differ so much that scikit-learn puts two of five into one of five folds."""
    counts = {"x:0": (1, 0), "x:1": (7, 3), "x:2": (2, 0), "x:3": (0, 10), "x:4": (9, 1)}
    corpus = {
        speaker: ["angry"] * angry + ["sad"] * sad for speaker, (angry, sad) in counts.items()
    }
    dataset = make_corpus(corpus, labels=("angry", "sad"))
    speaker_of_row = dataset["speaker"][:]
    label_of_row = dataset["label"][:]
    drawing = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    folds = drawing.split(speaker_of_row, label_of_row, speaker_of_row)
    assert any(len(test_rows) == 0 for _, test_rows in folds)

    splits = split_corpus(dataset, "kfold", k=5)
    assert sorted(split.fold for split in splits) == sorted(counts)
    assert [split.fold for split in split_corpus(dataset, "kfold", k=5)] == [
        split.fold for split in splits
    ]
    assert times_tested(splits) == Counter(range(len(dataset)))


def test_as_many_folds_as_speakers_at_most(make_corpus):
    with pytest.raises(UserError, match=r"^protocol\.k: 4 speakers make 2 to 4 folds, got 5"):
        split_corpus(make_corpus(4), "kfold", k=5)


def test_each_session_is_left_out_once_and_another_validates(make_corpus):
    dataset = make_corpus(10, session=by_two)
    splits = split_corpus(dataset, "leave_one_session_out")
    assert [split.fold for split in splits] == [f"session {n}" for n in range(5)]
    assert times_tested(splits) == Counter(range(len(dataset)))
    for split in splits:
        assert split.apart == dict.fromkeys(split.apart, ("speaker", "session"))
        for shared in audit(split, dataset).shared.values():
            assert shared["sessions"] == 0
        validating = {dataset[row]["session"] for row in split.rows["validation"]}
        assert len(validating) == 1
        assert len(split.speakers["validation"]) == 2


def test_with_two_sessions_the_other_one_is_divided_by_sentence(make_corpus):
    dataset = make_corpus(4, session=by_two)
    for split in split_corpus(dataset, "leave_one_session_out"):
        assert split.apart["train/validation"] == ("sentence",)
        assert split.apart["train/test"] == ("speaker", "session")
        assert split.apart["validation/test"] == ("speaker", "session")
        assert "only one session is left" in split.notes[0]
        assert audit(split, dataset).shared["train/validation"]["sentences"] == 0


def test_a_speaker_in_two_sessions_is_refused(make_corpus):
    dataset = make_corpus(4, session=lambda n, take: f"session {take % 3}")
    message = r"^protocol\.name: .* x:01 is in session 0 and in session 1; .* kfold "
    with pytest.raises(UserError, match=message):
        split_corpus(dataset, "leave_one_session_out")


def no_session(n, take):
    return None


def unknown_for_one_clip(n, take):
    return None if (n, take) == (3, 5) else f"session {n}"


@pytest.mark.parametrize("session", [None, no_session, unknown_for_one_clip])
def test_sessions_must_be_known(make_corpus, session):
    with pytest.raises(UserError, match=r"^protocol\.name: .* needs a session for every clip"):
        split_corpus(make_corpus(4, session=session), "leave_one_session_out")


# Corpora left out


def corpora_of(make_corpus, with_column, emotions):
    """{corpus: [emotions of each speaker]} as rows."""
    speakers = {}
    for corpus, emotions_of_speakers in emotions.items():
        for number, emotions_of_speaker in enumerate(emotions_of_speakers):
            speakers[f"{corpus}:{number}"] = emotions_of_speaker
    dataset = make_corpus(speakers)
    corpus_of_row = [speaker.partition(":")[0] for speaker in dataset["speaker"][:]]
    return with_column(dataset, "corpus", corpus_of_row)


def speakers_by_corpus(speakers):
    return Counter(speaker.partition(":")[0] for speaker in speakers)


def test_each_corpus_is_left_out_once_and_speakers_of_all_others_validate(make_corpus, with_column):
    every = ["angry", "happy", "sad"]
    emotions = {"a": [every] * 8, "b": [every] * 4, "c": [every] * 2}
    dataset = corpora_of(make_corpus, with_column, emotions)
    splits = split_corpus(dataset, "leave_one_corpus_out", validation=0.2)
    assert [split.fold for split in splits] == ["a", "b", "c"]
    assert times_tested(splits) == Counter(range(len(dataset)))
    for split in splits:
        others = {"a", "b", "c"} - {split.fold}
        assert set(speakers_by_corpus(split.speakers["train"])) == others
        assert set(speakers_by_corpus(split.speakers["validation"])) == others
        assert set(speakers_by_corpus(split.speakers["test"])) == {split.fold}
        assert audit(split, dataset).shared["train/validation"]["speakers"] == 0
        assert split.leak is None
        assert split.notes == ()
    assert speakers_by_corpus(splits[2].speakers["validation"]) == {"a": 1, "b": 1}


def test_a_class_of_one_corpus_is_refused(make_corpus, with_column):
    emotions = {"a": [["angry", "happy", "sad"]] * 3, "b": [["angry", "happy"]] * 3}
    dataset = corpora_of(make_corpus, with_column, emotions)
    with pytest.raises(UserError, match=r"leave_one_corpus_out, fold a: no clip of sad in train"):
        split_corpus(dataset, "leave_one_corpus_out")


def test_labels_of_fewer_clips_than_folds_are_refused(make_corpus):
    dataset = make_corpus({f"x:{n}": [["angry", "happy", "sad"][n % 3]] for n in range(6)})
    with pytest.raises(UserError, match=r"^protocol\.k: every label has fewer than 5 clips"):
        split_corpus(dataset, "kfold", k=5)

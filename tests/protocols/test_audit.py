"""The leakage audit: every planted leak is an error if the protocol forbids it, and counted
otherwise.
"""

import dataclasses
from collections import namedtuple

import pytest

from ser_hf.protocols import (
    PAIRS,
    audit,
    contradictions,
    make_split,
    require_apart,
    split_corpus,
    worst_audit,
)
from ser_hf.protocols.split import rows_where
from ser_hf.utils.errors import UserError

Twins = namedtuple("Twins", ["first", "second"])  # what the audit uses of a near duplicate

SPEAKERS = {"train": ["x:01", "x:02"], "validation": ["x:03"], "test": ["x:04"]}
# A row of each part, by number: six clips a speaker, three labels twice.
TRAIN = 3
VALIDATION = 13
TEST = 20


def split_of(dataset, **options):
    rows = {part: rows_where(dataset, "speaker", names) for part, names in SPEAKERS.items()}
    return make_split("p", dataset, rows, **options)


@pytest.fixture
def with_copies(with_column):
    """A function: the dataset with row `copy` holding the recording of row `original`."""

    def copied(dataset, copies):
        hashes = dataset["content_hash"][:]
        for copy, original in copies.items():
            hashes[copy] = hashes[original]
        return with_column(dataset, "content_hash", hashes)

    return copied


def test_a_clean_split_shares_sentences_only(make_corpus):
    dataset = make_corpus(4)
    assert audit(split_of(dataset), dataset, []).to_dict() == {
        "shared": dict.fromkeys(
            PAIRS, {"speakers": 0, "sentences": 2, "recordings": 0, "near_duplicates": 0}
        ),
        "apart": dict.fromkeys(PAIRS, ["speakers", "recordings", "near_duplicates"]),
        "duplicates": 0,
    }


def test_sessions_are_counted_where_the_corpus_has_them(make_corpus):
    dataset = make_corpus(4, session=lambda n, take: f"session {n // 2}")
    shared = audit(split_of(dataset), dataset, []).shared
    assert list(shared["train/test"]) == [
        "speakers",
        "sessions",
        "sentences",
        "recordings",
        "near_duplicates",
    ]
    assert [shared[pair]["sessions"] for pair in PAIRS] == [0, 0, 1]


def test_unknown_values_are_unknown_and_not_zero(make_corpus, with_column):
    dataset = make_corpus(4)
    sentences = [None if speaker == "x:04" else "a sentence" for speaker in dataset["speaker"]]
    dataset = with_column(dataset, "sentence", sentences)
    shared = audit(split_of(dataset), dataset, []).shared
    assert [shared[pair]["sentences"] for pair in PAIRS] == [1, None, None]


@pytest.mark.parametrize(
    ("row", "part", "into"),
    [
        (TRAIN, "train", "test"),
        (TRAIN, "train", "validation"),
        (VALIDATION, "validation", "test"),
        (VALIDATION, "validation", "train"),
        (TEST, "test", "validation"),
    ],
)
def test_a_clip_of_a_speaker_in_another_part_is_refused(make_corpus, row, part, into):
    dataset = make_corpus(4)
    split = split_of(dataset)
    split.rows[part].remove(row)
    split.rows[into].append(row)
    one, other = sorted((part, into), key=["train", "validation", "test"].index)
    with pytest.raises(UserError) as error:
        audit(split, dataset, [])
    speaker = dataset[row]["speaker"]
    assert str(error.value) == f"protocol p: speaker {speaker!r} is in {one} and in {other}"


@pytest.mark.parametrize(
    ("one", "other"), [("train", "test"), ("validation", "test"), ("train", "validation")]
)
@pytest.mark.parametrize("column", ["session", "sentence"])
def test_a_value_in_two_parts_that_are_kept_apart_is_refused(
    make_corpus, with_column, column, one, other
):
    dataset = make_corpus(
        4, session=lambda n, take: f"session {n}", sentence=lambda n, take: f"sentence {n}"
    )
    split = split_of(
        dataset, test_apart=("speaker", column), validation_apart=("speaker", column), fold="1 of 3"
    )
    audit(split, dataset, [])  # as it is, the promise holds
    rows = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    values = dataset[column][:]
    values[rows[other]] = values[rows[one]]
    leaky = with_column(dataset, column, values)
    with pytest.raises(UserError) as error:
        audit(split, leaky, [])
    value = values[rows[one]]
    message = f"protocol p, fold 1 of 3: {column} {value!r} is in {one} and in {other}"
    assert str(error.value) == message
    unpromised = audit(split_of(leaky), leaky, [])
    assert unpromised.shared[f"{one}/{other}"][f"{column}s"] == 1


@pytest.mark.parametrize(
    ("copy", "original", "pair"),
    [
        (VALIDATION - 1, TRAIN, "train/validation"),
        (TEST, TRAIN, "train/test"),
        (TEST, VALIDATION, "validation/test"),
    ],
)
@pytest.mark.parametrize("apart", [("speaker",), ()])
def test_a_recording_in_two_parts_is_refused_naming_both(
    make_corpus, with_copies, copy, original, pair, apart
):
    one, other = pair.split("/")
    dataset = with_copies(make_corpus(4), {copy: original})
    split = split_of(dataset, test_apart=apart, validation_apart=apart)
    with pytest.raises(UserError) as error:
        audit(split, dataset, refuse_near_duplicates=False)
    ids = dataset["id"][:]
    assert str(error.value) == (
        "protocol p: these are the same recording in two parts: "
        f"{ids[original]} ({one}) and {ids[copy]} ({other}); list one of each in corpus.exclude"
    )


def test_copies_in_two_parts_of_any_fold_are_named_at_once(make_corpus, with_copies):
    """With one speaker left out per fold, copies by two speakers are in one part in most folds."""
    dataset = with_copies(make_corpus(6), {8: 1, 20: 13, 32: 26})
    folds = split_corpus(dataset, "leave_one_speaker_out")
    with pytest.raises(UserError) as error:
        require_apart(folds, dataset, [Twins(2, 9)])
    groups = str(error.value).split("two parts: ")[1].split("; ")
    named = [{word for word in group.split() if "/" in word} for group in groups[:-1]]
    assert named == [{"x:01/1", "x:02/2"}, {"x:03/1", "x:04/2"}, {"x:05/2", "x:06/2"}]
    assert all(group.split(" in fold ")[1].startswith("x:") for group in groups[:-1])
    apart = make_corpus(6)
    require_apart(folds, apart)
    message = (
        r"are the same take.*x:02/3 .* and x:01/2 .* in fold x:01; .*protocol.near_duplicates: tell"
    )
    with pytest.raises(UserError, match=message):
        require_apart(folds, apart, [Twins(2, 9)])


def test_a_recording_under_two_labels_is_named(make_corpus, with_copies):
    dataset = make_corpus(4)
    assert contradictions([split_of(dataset)], dataset) is None
    same_label = with_copies(dataset, {3: 0})
    assert contradictions([split_of(same_label)], same_label) is None
    two_labels = with_copies(dataset, {7: 0, 19: 18})
    assert contradictions([split_of(two_labels)], two_labels) == (
        "2 recordings have several labels, of which at most one is right: "
        "x:01/0 (angry) and x:02/1 (happy); x:04/0 (angry) and x:04/1 (happy)."
    )
    train_rows = {"train": [*range(12)], "validation": [], "test": []}
    only_train = dataclasses.replace(split_of(two_labels), rows=train_rows)
    assert contradictions([only_train], two_labels).startswith("1 recording ")


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        (Twins(TRAIN, TEST), "x:01/3 (train) and x:04/2 (test)"),
        (Twins(TEST, TRAIN), "x:01/3 (train) and x:04/2 (test)"),
        (Twins(VALIDATION, TEST), "x:03/1 (validation) and x:04/2 (test)"),
        (Twins(TRAIN, VALIDATION), "x:01/3 (train) and x:03/1 (validation)"),
    ],
)
def test_a_take_in_two_parts_is_refused_naming_both(make_corpus, twin, message):
    dataset = make_corpus(4)
    with pytest.raises(UserError) as error:
        audit(split_of(dataset, test_apart=()), dataset, [Twins(0, 1), twin])
    assert f": {message}; " in str(error.value)
    assert "protocol.near_duplicates: tell" in str(error.value)


def test_clips_without_a_hash_are_not_copies(make_corpus, with_column):
    """Hashes are unknown before decoding, which is neither a leak nor a clean result."""
    dataset = make_corpus(4)
    unknown = with_column(dataset, "content_hash", [None] * len(dataset))
    with pytest.raises(ValueError, match="content_hash|prepare"):
        audit(split_of(unknown), unknown, [])


def test_the_worst_audit_has_the_maximum_of_each_count(make_corpus, with_copies):
    dataset = with_copies(make_corpus(4), {1: 0})
    split = split_of(dataset)
    lax = dataclasses.replace(split, apart=split.apart | {"train/validation": ()})
    audits = [
        audit(split, dataset, [Twins(TRAIN, TEST)], refuse_near_duplicates=False),
        audit(lax, dataset, []),
    ]
    audits[0].shared["train/test"]["sentences"] = None
    audits[1].shared["validation/test"]["sentences"] = 5
    for audited in audits:
        audited.shared["train/validation"]["sentences"] = None
    worst = worst_audit(audits)
    assert [worst.shared[pair]["sentences"] for pair in PAIRS] == [None, 2, 5]
    assert [worst.shared[pair]["near_duplicates"] for pair in PAIRS] == [0, 1, 0]
    assert worst.apart == {
        "train/validation": ["recordings"],
        "train/test": ["speakers", "recordings"],
        "validation/test": ["speakers", "recordings"],
    }
    assert worst.duplicates == 1
    assert worst_audit(audits[:1]) == audits[0]


def test_the_table_marks_shared_values_that_are_not_forbidden(make_corpus):
    dataset = make_corpus(4)
    audited = audit(split_of(dataset), dataset, [Twins(TRAIN, TEST)], refuse_near_duplicates=False)
    audited.shared["train/validation"]["sentences"] = None
    lines = audited.table().splitlines()
    assert lines[0].split() == [
        "shared",
        "by",
        "speakers",
        "sentences",
        "recordings",
        "near",
        "duplicates",
    ]
    assert [line.split() for line in lines[1:]] == [
        ["train/validation", "0", "unknown", "0", "0"],
        ["train/test", "0", "2!", "0", "1!"],
        ["validation/test", "0", "2!", "0", "0"],
        ["!", "overlaps", "that", "this", "protocol", "allows"],
    ]
    assert len({len(line) for line in lines[:-1]}) == 1

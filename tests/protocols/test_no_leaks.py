"""For any corpus, a protocol gives splits without shared values of its columns, or one error.

Corpora are drawn at random, and the splits are checked by sets of row values, without the code
under test.
"""

import functools
import json
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset, DatasetInfo
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ser_hf.corpora import EMOTIONS
from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.protocols import PAIRS, PARTS, PROTOCOLS, audit, split_corpus
from ser_hf.utils.errors import UserError

# scikit-learn warns of labels with fewer clips than folds; the notes of the splits describe it.
quiet = pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
pytestmark = [pytest.mark.usefixtures("few_draws"), quiet]

# The protocols that split any corpus: no lists.
GENERAL = [name for name in PROTOCOLS if "/" not in name and name not in ("file", "column")]
BY_CLIP = {"random", "random_stratified", "emobox/cremad", "emobox/emodb", "emobox/tess"}
# By protocol, what the test split shares with no other split; speakers by default.
TEST_APART = {**dict.fromkeys(BY_CLIP, ()), "leave_one_session_out": ("speaker", "session")}
TESTED_ONCE = {"kfold", "leave_one_speaker_out", "leave_one_session_out", "leave_one_corpus_out"}
HELD_OUT_SENTENCES = "Validation is held-out sentences of the training speakers"


def _features(classes, session):
    clip = Clip("x.wav", EMOTIONS[0], "x:0", "x/0", extra={"session": "s"} if session else {})
    return to_dataset(Listing("x", [clip]), [clip.emotion], EMOTIONS[:classes], 16000)


TEMPLATES = {(n, session): _features(n, session) for n in range(2, 6) for session in (False, True)}


def rows_to_dataset(rows, classes, session):
    """As `to_dataset` makes it, in a tenth of the time: the features are taken from one that it
    made.
    """
    template = TEMPLATES[classes, session]
    columns = {name: [row.get(name) for row in rows] for name in template.column_names}
    columns["audio"] = [{"bytes": None, "path": f"{row['id']}.wav"} for row in rows]
    table = Dataset.from_dict(columns).data.table.cast(template.features.arrow_schema)
    return Dataset(table, info=DatasetInfo(features=template.features))


@st.composite
def corpora(draw, sessions=("none", "one each", "of two", "partly unknown")):
    """1 to 8 speakers and 2 to 5 labels, with complete, partial or no sexes, sentences and
    sessions.
    """
    speakers = draw(st.sampled_from([6, 4, 5, 6, 8, 7, 3, 2, 1]))
    classes = draw(st.integers(2, 5))
    sentences = draw(st.sampled_from([4, 3, 2, 0]))
    # Every speaker has every sentence in every label, or a random choice.
    crossed = draw(st.sampled_from([True, True, False]))
    sessions = draw(st.sampled_from(sessions))
    unknown = draw(st.sampled_from([0.0, 0.0, 0.0, 0.2]))
    copies = draw(st.sampled_from([0.0, 0.0, 0.1]))
    mixed = draw(st.sampled_from([1, 2, 3]))
    chance = np.random.default_rng(draw(st.integers(0, 2**16)))
    rows = []
    for speaker in range(speakers):
        sex = (None, "female", "male")[chance.integers(3)]
        if crossed:
            pairs = [(label, s) for label in range(classes) for s in range(max(sentences, 2))]
        else:
            uneven = chance.dirichlet(np.ones(classes))
            count = chance.integers(1, 3 * classes)
            pairs = [
                (chance.choice(classes, p=uneven), chance.integers(max(sentences, 1)))
                for _ in range(count)
            ]
        for take, (label, sentence) in enumerate(pairs):
            session = {
                "one each": speaker,
                "of two": speaker // 2,
                "across speakers": chance.integers(3),
                "partly unknown": None if chance.random() < 0.1 else speaker,
            }.get(sessions)
            known = sentences and chance.random() >= unknown
            same = rows and chance.random() < copies
            row = {
                "label": int(label),
                "speaker": f"x:{speaker}",
                "id": f"x/{speaker}_{take}",
                "take": take,
            }
            row |= {"sex": sex, "corpus": f"c{speaker % mixed}"}
            row["sentence"] = f"sentence {sentence}" if known else None
            row["content_hash"] = (
                rows[chance.integers(len(rows))]["content_hash"] if same else f"{speaker}_{take}"
            )
            rows.append(row | {"session": None if session is None else f"session {session}"})
    order = chance.permutation(len(rows))
    return rows_to_dataset([rows[i] for i in order], classes, sessions != "none")


def attempt(dataset, name, **options):
    """The protocol's splits, or None if it refuses; any other exception is a failure of the test."""
    splits = None
    refusal = ""
    try:
        splits = split_corpus(dataset, name, **options)
    except UserError as error:
        refusal = str(error)
    event(f"{name}: {'refused' if refusal else 'split'}")
    assert not refusal or refusal.startswith(("protocol.", "protocol ", "/"))
    assert "\n" not in refusal
    return splits


@functools.lru_cache(maxsize=32)
def column_of(dataset, column):
    """Reading one again costs milliseconds, thousands of times here."""
    return dataset[column][:]


def values(dataset, column, rows):
    own = column_of(dataset, column)
    return {own[row] for row in rows}


def require_whole(split, dataset):
    """Parts are disjoint, within the corpus, and ids and speakers are of the same rows."""
    assert list(split.rows) == list(split.ids) == list(split.speakers) == list(PARTS)
    taken = [row for part in PARTS for row in split.rows[part]]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(range(len(dataset)))
    ids = column_of(dataset, "id")
    for part in PARTS:
        assert split.rows[part]
        assert split.rows[part] == sorted(split.rows[part])
        assert split.ids[part] == [ids[row] for row in split.rows[part]]
        assert split.speakers[part] == sorted(values(dataset, "speaker", split.rows[part]))
    everything = set(range(len(dataset.features["label"].names)))
    assert values(dataset, "label", split.rows["train"]) == everything
    for part in ("validation", "test"):
        lacking = everything - values(dataset, "label", split.rows[part])
        assert bool(lacking) == any(
            f"in {part}: its scores are means" in note for note in split.notes
        )
        assert not lacking or split.fold is not None


def require_apart(split, dataset, test_apart):
    assert split.apart["train/test"] == split.apart["validation/test"] == tuple(test_apart)
    for pair, columns in split.apart.items():
        one, other = pair.split("/")
        for column in columns:
            inside, outside = (values(dataset, column, split.rows[part]) for part in (one, other))
            assert None not in inside | outside  # unknown values may be shared
            assert not inside & outside
    held_out = any(note.startswith(HELD_OUT_SENTENCES) for note in split.notes)
    shared_speakers = set(split.speakers["train"]) & set(split.speakers["validation"])
    if split.name not in BY_CLIP:
        assert split.apart["train/validation"]
        assert bool(shared_speakers) == held_out
    if held_out:
        assert split.apart["train/validation"] == ("sentence",)


def require_leak(split):
    """A leak is named exactly if a test speaker is in train or validation."""
    shared_speakers = set(split.speakers["test"]) & {
        *split.speakers["train"],
        *split.speakers["validation"],
    }
    assert (split.leak is not None) == bool(shared_speakers)
    if shared_speakers:
        assert split.name in BY_CLIP | {"file"}


def require_audit(split, dataset):
    """The audit passes, or finds a copy in two splits and nothing else."""
    hashes = [values(dataset, "content_hash", split.rows[part]) for part in PARTS]
    crossing = (hashes[0] & hashes[1]) | (hashes[0] & hashes[2]) | (hashes[1] & hashes[2])
    refusal = ""
    try:
        audited = audit(split, dataset)
    except UserError as error:
        refusal = str(error)
    assert bool(crossing) == ("are the same recording" in refusal) == bool(refusal)
    if not crossing:
        for pair in PAIRS:
            one, other = (set(split.speakers[part]) for part in pair.split("/"))
            assert audited.shared[pair]["speakers"] == len(one & other)


def require_sound(splits, dataset, name, test_apart=None):
    for split in splits:
        assert split.name == name
        require_whole(split, dataset)
        require_apart(
            split, dataset, TEST_APART.get(name, ("speaker",)) if test_apart is None else test_apart
        )
        require_leak(split)
        require_audit(split, dataset)
    if name in TESTED_ONCE:
        assert Counter(row for split in splits for row in split.rows["test"]) == Counter(
            range(len(dataset))
        )
        assert all(split.fold for split in splits)
        assert len({split.fold for split in splits}) == len(splits)
        for split in splits:
            assert sum(map(len, split.rows.values())) == len(dataset)
    else:
        assert len(splits) == 1 or all(split.fold for split in splits)


shares = st.sampled_from([0.15, 0.2, 0.25, 0.34, 0.5])


@pytest.mark.parametrize("name", GENERAL)
@settings(max_examples=12)
@given(data=st.data(), validation=shares, test=shares, seed=st.integers(0, 3), k=st.integers(1, 6))
def test_no_protocol_leaks_on_any_corpus(name, data, validation, test, seed, k):
    sessions = (
        {"sessions": ["of two", "one each", "across speakers"]}
        if name == "leave_one_session_out"
        else {}
    )
    dataset = data.draw(corpora(**sessions))
    options = {"validation": validation, "seed": seed}
    if name == "kfold":
        options["k"] = k
    elif name not in TESTED_ONCE:
        options["test"] = test
    splits = attempt(dataset, name, **options)
    if splits is not None:
        require_sound(splits, dataset, name)


COMPLETE = {"speakers": 6, "clips": [(label, s) for label in range(3) for s in range(4)]}


@pytest.mark.parametrize("name", GENERAL)
@settings(max_examples=2)
@given(seed=st.integers(0, 1000))
def test_every_protocol_splits_a_complete_corpus(name, seed):
    """No protocol refuses six speakers with four sentences in three emotions each, in three
    sessions or corpora.
    """
    rows = [
        {
            "label": label,
            "speaker": f"x:{speaker}",
            "corpus": f"c{speaker // 2}" if name == "leave_one_corpus_out" else "x",
            "id": f"x/{speaker}_{take}",
            "sex": ("female", "male")[speaker % 2],
            "sentence": f"sentence {sentence}",
            "content_hash": f"{speaker}_{take}",
            "session": f"session {speaker // 2}",
        }
        for speaker in range(COMPLETE["speakers"])
        for take, (label, sentence) in enumerate(COMPLETE["clips"])
    ]
    dataset = rows_to_dataset(rows, 3, True)
    options = {"validation": 0.3, "test": 0.3} if name.startswith("random") else {}
    splits = split_corpus(dataset, name, seed=seed, **options)
    require_sound(splits, dataset, name)
    assert split_corpus(dataset, name, seed=seed, **options) == splits
    folds = {
        "kfold": 5,
        "leave_one_speaker_out": 6,
        "leave_one_session_out": 3,
        "leave_one_corpus_out": 3,
    }
    assert len(splits) == folds.get(name, 1)
    for split in splits:
        if name not in BY_CLIP:
            assert split.apart["train/validation"][0] == "speaker"


@settings(max_examples=25)
@given(dataset=corpora(), data=st.data())
def test_no_list_leaks_unless_it_is_allowed(tmp_path_factory, dataset, data):
    ids = column_of(dataset, "id")
    speakers = column_of(dataset, "speaker")
    pool = sorted(
        {*ids, *speakers} if data.draw(st.sampled_from([False, False, True])) else {*speakers}
    )
    words = st.sampled_from(["train", *PARTS, "dev", None])
    part_of = data.draw(st.lists(words, min_size=len(pool), max_size=len(pool)))
    listed = {
        part: [e for e, own in zip(pool, part_of, strict=True) if own == part]
        for part in (*PARTS, "dev")
    }
    path = tmp_path_factory.mktemp("list") / "list.json"
    path.write_text(json.dumps(listed))
    allowed = data.draw(st.booleans())
    splits = attempt(dataset, "file", path=str(path), shared_speakers=allowed, validation=0.3)
    if splits is None:
        return
    split = splits[0]
    require_whole(split, dataset)
    require_leak(split)
    require_audit(split, dataset)
    if not allowed:
        shared_speakers = {*split.speakers["train"], *split.speakers["validation"]}
        assert not shared_speakers & set(split.speakers["test"])
        assert split.leak is None
    if set(split.speakers["train"]) & set(split.speakers["validation"]):
        assert split.notes
        assert "speaker" not in split.apart["train/validation"]

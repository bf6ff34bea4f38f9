"""For any corpus, a protocol gives splits without shared values of its columns, or one error.

Corpora are drawn at random, and the splits are checked by sets of row values, without the code
under test.
"""

import functools
import itertools
import json

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
SHARED_SPEAKERS = BY_CLIP | {"sentence_disjoint"}
TESTED_ONCE = {"kfold", "leave_one_speaker_out", "leave_one_session_out", "leave_one_corpus_out"}
HELD_OUT_SENTENCES = "Validation is held-out sentences of the training speakers"


def columns_apart_from_test(protocol):
    """The columns whose values the test split shares with no other split."""
    if protocol in BY_CLIP:
        return ()
    if protocol == "leave_one_session_out":
        return ("speaker", "session")
    if protocol == "sentence_disjoint":
        return ("sentence",)
    if protocol == "speaker_and_sentence_disjoint":
        return ("speaker", "sentence")
    return ("speaker",)


@functools.cache
def template_of(classes, session):
    """A dataset of one clip, with or without a column `session`."""
    extra = {"session": "s"} if session else {}
    clip = Clip("x.wav", EMOTIONS[0], "x:0", "x/0", extra=extra)
    return to_dataset(Listing("x", [clip]), [clip.emotion], EMOTIONS[:classes], 16000)


def rows_to_dataset(rows, classes, session):
    """As `to_dataset` makes it, in a tenth of the time: the features are taken from one that it
    made.
    """
    template = template_of(classes, session)
    columns = {name: [row.get(name) for row in rows] for name in template.column_names}
    columns["audio"] = [{"bytes": None, "path": f"{row['id']}.wav"} for row in rows]
    table = Dataset.from_dict(columns).data.table.cast(template.features.arrow_schema)
    return Dataset(table, info=DatasetInfo(features=template.features))


def session_of(speaker, kind, chance):
    """The session of one clip of a speaker; None if it is unknown."""
    if kind == "one each":
        return f"session {speaker}"
    if kind == "of two":
        return f"session {speaker // 2}"
    if kind == "across speakers":
        return f"session {chance.integers(3)}"
    if kind == "partly unknown" and chance.random() >= 0.1:
        return f"session {speaker}"
    return None


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
            pairs = list(itertools.product(range(classes), range(max(sentences, 2))))
        else:
            uneven = chance.dirichlet(np.ones(classes))
            count = chance.integers(1, 3 * classes)
            pairs = []
            for _ in range(count):
                label = chance.choice(classes, p=uneven)
                pairs.append((label, chance.integers(max(sentences, 1))))
        for take, (label, sentence) in enumerate(pairs):
            sentence_is_known = sentences > 0 and chance.random() >= unknown
            content_hash = f"{speaker}_{take}"
            if rows and chance.random() < copies:
                content_hash = rows[chance.integers(len(rows))]["content_hash"]
            row = {
                "label": int(label),
                "speaker": f"x:{speaker}",
                "id": f"x/{speaker}_{take}",
                "take": take,
                "sex": sex,
                "corpus": f"c{speaker % mixed}",
                "sentence": f"sentence {sentence}" if sentence_is_known else None,
                "content_hash": content_hash,
                "session": session_of(speaker, sessions, chance),
            }
            rows.append(row)
    order = chance.permutation(len(rows))
    return rows_to_dataset([rows[i] for i in order], classes, sessions != "none")


def attempt(dataset, name, **options):
    """The protocol's splits, or None if it refuses. Any other exception fails the test."""
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
    value_of_row = column_of(dataset, column)
    return {value_of_row[row] for row in rows}


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
            values_of_one = values(dataset, column, split.rows[one])
            values_of_other = values(dataset, column, split.rows[other])
            # Unknown values may be shared.
            assert None not in values_of_one | values_of_other
            assert not values_of_one & values_of_other
    held_out = any(note.startswith(HELD_OUT_SENTENCES) for note in split.notes)
    shared_speakers = set(split.speakers["train"]) & set(split.speakers["validation"])
    if split.name not in BY_CLIP:
        assert split.apart["train/validation"]
    if split.name not in SHARED_SPEAKERS:
        assert bool(shared_speakers) == held_out
    if held_out:
        assert split.apart["train/validation"] == ("sentence",)


def require_leak(split):
    """A leak is named exactly if a test speaker is in train or validation."""
    others = {*split.speakers["train"], *split.speakers["validation"]}
    shared_speakers = others & set(split.speakers["test"])
    assert (split.leak is not None) == bool(shared_speakers)
    if shared_speakers:
        assert split.name in SHARED_SPEAKERS | {"file"}


def require_audit(split, dataset):
    """The audit passes, or finds a copy in two splits and nothing else."""
    train, validation, test = (values(dataset, "content_hash", split.rows[part]) for part in PARTS)
    crossing = (train & validation) | (train & test) | (validation & test)
    refusal = ""
    try:
        audited = audit(split, dataset)
    except UserError as error:
        refusal = str(error)
    if crossing:
        assert "are the same recording" in refusal
        return
    assert refusal == ""
    for pair in PAIRS:
        one, other = pair.split("/")
        shared_speakers = set(split.speakers[one]) & set(split.speakers[other])
        assert audited.shared[pair]["speakers"] == len(shared_speakers)


def require_sound(splits, dataset, name):
    for split in splits:
        assert split.name == name
        require_whole(split, dataset)
        require_apart(split, dataset, columns_apart_from_test(name))
        require_leak(split)
        require_audit(split, dataset)
    if name in TESTED_ONCE:
        tested = [row for split in splits for row in split.rows["test"]]
        assert sorted(tested) == list(range(len(dataset)))
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
    if name == "leave_one_session_out":
        dataset = data.draw(corpora(sessions=("of two", "one each", "across speakers")))
    else:
        dataset = data.draw(corpora())
    options = {"validation": validation, "seed": seed}
    if name == "kfold":
        options["k"] = k
    elif name not in TESTED_ONCE:
        options["test"] = test
    splits = attempt(dataset, name, **options)
    if splits is not None:
        require_sound(splits, dataset, name)


@pytest.mark.parametrize("name", GENERAL)
@settings(max_examples=2)
@given(seed=st.integers(0, 1000))
def test_every_protocol_splits_a_complete_corpus(name, seed):
    """No protocol refuses six speakers with four sentences in three emotions each, in three
    sessions or corpora.
    """
    rows = []
    for speaker, label, sentence in itertools.product(range(6), range(3), range(4)):
        clip = f"{speaker}_{label}_{sentence}"
        row = {
            "label": label,
            "speaker": f"x:{speaker}",
            "corpus": f"c{speaker // 2}" if name == "leave_one_corpus_out" else "x",
            "id": f"x/{clip}",
            "sex": ("female", "male")[speaker % 2],
            "sentence": f"sentence {sentence}",
            "content_hash": clip,
            "session": f"session {speaker // 2}",
        }
        rows.append(row)
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
        if name not in SHARED_SPEAKERS:
            assert split.apart["train/validation"][0] == "speaker"


@settings(max_examples=25)
@given(dataset=corpora(), data=st.data())
def test_no_list_leaks_unless_it_is_allowed(tmp_path_factory, dataset, data):
    ids = column_of(dataset, "id")
    speakers = column_of(dataset, "speaker")
    entries = set(speakers)
    if data.draw(st.sampled_from([False, False, True])):
        entries.update(ids)
    words = st.sampled_from(["train", *PARTS, "dev", None])
    part_of_entry = data.draw(st.lists(words, min_size=len(entries), max_size=len(entries)))
    listed = {part: [] for part in (*PARTS, "dev")}
    for entry, part in zip(sorted(entries), part_of_entry, strict=True):
        if part is not None:
            listed[part].append(entry)
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

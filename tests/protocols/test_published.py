"""Published lists: their facts, and their splits of the official corpora, by file names alone."""

import json
from collections import Counter
from importlib import resources

import pytest

from ser_hf.corpora.verify import manifest, release_of
from ser_hf.protocols import PARTS, PROTOCOLS, audit, contradictions, split_corpus
from ser_hf.protocols.published import matching_protocol, published_protocols
from ser_hf.protocols.settings import PublishedFoldsSettings, PublishedSpeakersSettings
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_draws")

PUBLISHED = [
    name
    for name, protocol in PROTOCOLS.items()
    if protocol.settings in (PublishedFoldsSettings, PublishedSpeakersSettings)
    and not name.endswith("/iemocap")  # has no manifest of its release
]
SPEAKER_DEPENDENT = ("emobox/cremad", "emobox/emodb", "emobox/tess")
LISTS = published_protocols()
EMOBOX = {
    protocol.corpus: protocol
    for name, protocol in LISTS.items()
    if name.startswith("emobox/") and protocol.corpus != "iemocap"
}


def sizes(split):
    return [len(split.rows[part]) for part in PARTS]


# Contents of the lists


def test_emobox_has_as_many_folds_and_test_clips_as_published():
    assert [len(fold.split()) for fold in EMOBOX["cremad"].folds] == [1856]
    assert [len(fold.split()) for fold in EMOBOX["emodb"].folds] == [107] * 5
    assert [len(fold.split()) for fold in EMOBOX["tess"].folds] == [700]
    assert [len(fold) for fold in EMOBOX["ravdess"].folds] == [4] * 6
    assert [len(fold) for fold in EMOBOX["savee"].folds] == [1] * 4
    assert {corpus: published.unit for corpus, published in EMOBOX.items()} == {
        "cremad": "utterance",
        "emodb": "utterance",
        "tess": "utterance",
        "ravdess": "speaker",
        "savee": "speaker",
    }


def test_the_folds_of_emosuperb_divide_the_speakers_twice():
    published = LISTS["emosuperb/cremad"]
    assert len(published.folds) == 5
    assert sorted(published.folds) == sorted(published.validation)
    for validation, test in zip(published.validation, published.folds, strict=True):
        assert validation != test


def test_each_list_has_the_fingerprint_that_its_file_states():
    for path in sorted((resources.files("ser_hf.protocols") / "lists").iterdir(), key=str):
        stated = json.loads(path.read_text(encoding="utf-8"))["protocols"]
        for name, listed in stated.items():
            assert LISTS[name].fingerprint == listed["fingerprint"]
    fingerprints = [protocol.fingerprint for protocol in LISTS.values()]
    assert len(set(fingerprints)) == len(fingerprints)


def test_published_figures_are_scores_with_a_source():
    for protocol in LISTS.values():
        assert not protocol.figures or protocol.figures_source.startswith("https://")
        for figure in protocol.figures:
            assert figure.metrics
            assert all(0 < score < 1 for score in figure.metrics.values())


# Splits of the complete corpora


def corpus_of(name):
    return next(word for word in name.split("/") if release_of(word).files)


@pytest.fixture(scope="module")
def split_official(official):
    """A function from a published protocol to its splits of the official corpus, drawn once."""
    drawn = {}

    def split(name):
        if name not in drawn:
            drawn[name] = split_corpus(official(corpus_of(name)), name)
        return drawn[name]

    return split


SIZES = {
    "ravdess/actors-1-16-17-20-21-24": [[960, 240, 240]],
    "audb/cremad": [[4573, 1476, 1393]],
    "emosuperb/cremad": [
        [4509, 1470, 1463],
        [4496, 1476, 1470],
        [4490, 1476, 1476],
        [4409, 1557, 1476],
        [4422, 1463, 1557],
    ],
    "emobox/cremad": [[4468, 1118, 1856]],
    "emobox/emodb": [[342, 86, 107]] * 5,
    "emobox/ravdess": [[960, 240, 240]] * 6,
    "emobox/savee": [[240, 120, 120]] * 4,
    "emobox/tess": [[1680, 420, 700]],
    "luna-jimenez/ravdess": [[900, 240, 300]] * 4 + [[960, 240, 240]],
}


def test_every_published_protocol_has_its_sizes():
    assert set(SIZES) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes(split_official, official, name):
    splits = split_official(name)
    assert [sizes(split) for split in splits] == SIZES[name]
    assert {sum(sizes(split)) for split in splits} == {len(manifest(corpus_of(name)))}
    assert all(bool(split.fold) == (len(splits) > 1) for split in splits)
    assert all(split.name == name and split.notes == () for split in splits)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shared_test_speakers_are_a_leak(split_official, name):
    for split in split_official(name):
        others = {*split.speakers["train"], *split.speakers["validation"]}
        shared = others & set(split.speakers["test"])
        if name in SPEAKER_DEPENDENT:
            assert shared
            tested = len(split.speakers["test"])
            leak = f"Speaker-dependent: {len(shared)} of the {tested} test speakers"
            assert split.leak.startswith(leak)
            assert split.apart == dict.fromkeys(split.apart, ())
        else:
            assert not shared
            assert split.leak is None
            assert split.apart == dict.fromkeys(split.apart, ("speaker",))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if len(SIZES[name]) > 1])
def test_each_clip_is_tested_in_one_fold(split_official, official, name):
    tested = Counter(row for split in split_official(name) for row in split.rows["test"])
    assert tested == Counter(range(len(manifest(corpus_of(name)))))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("emobox/")])
def test_the_test_side_is_the_list(split_official, name):
    corpus = corpus_of(name)
    for split, fold in zip(split_official(name), EMOBOX[corpus].folds, strict=True):
        if name in SPEAKER_DEPENDENT:
            # One file of TESS has another name in the list than in the release.
            renamed = {"OA_bite_neutral": "OAF_bite_neutral"}
            stems = [renamed.get(stem, stem) for stem in fold.split()]
            assert split.ids["test"] == sorted(f"{corpus}/{stem}" for stem in stems)
        else:
            assert split.speakers["test"] == sorted(f"{corpus}:{speaker}" for speaker in fold)


def test_the_speakers_of_audb_are_in_their_parts(split_official):
    parts = LISTS["audb/cremad"].parts
    assert split_official("audb/cremad")[0].speakers == {
        part: [f"cremad:{n}" for n in parts[part]] for part in PARTS
    }


@pytest.mark.parametrize(
    "name", [name for name in PUBLISHED if corpus_of(name) in ("emodb", "savee", "tess")]
)
def test_clean_releases_pass_the_audit(split_official, official, name):
    for split in split_official(name):
        assert audit(split, official(corpus_of(name))).duplicates == 0


def test_the_identical_files_of_cremad_are_caught(split_official, official):
    """1006_TIE_HAP_XX and 1006_TIE_NEU_XX are one recording; the list has one of them in its test
    part.
    """
    listed = set(EMOBOX["cremad"].folds[0].split())
    pairs = [
        {"1006_TIE_HAP_XX", "1006_TIE_NEU_XX"},
        {"1013_WSI_DIS_XX", "1013_WSI_SAD_XX"},
        {"1017_IWW_ANG_XX", "1017_IWW_FEA_XX"},
    ]
    assert any(len(listed & pair) == 1 for pair in pairs)
    message = "protocol emobox/cremad: these are the same recording in two parts: cremad/10"
    with pytest.raises(UserError, match=message):
        audit(split_official("emobox/cremad")[0], official("cremad"))
    split = split_official("audb/cremad")[0]
    assert audit(split, official("cremad")).duplicates == 3
    assert "3 recordings have several labels" in contradictions([split], official("cremad"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_folds_of_a_published_protocol_are_recognized(split_official, name):
    splits = split_official(name)
    assert matching_protocol(splits).name == name
    if len(splits) > 1:
        assert matching_protocol(splits[:1]) is None


def test_the_speakers_of_savee_left_out_in_turn_are_the_folds_of_emobox(official):
    splits = split_corpus(official("savee"), "leave_one_speaker_out")
    assert matching_protocol(splits).name == "emobox/savee"


# Open points and mistakes


def test_absent_clips_of_the_list_are_noted(official):
    dataset = official("emodb")
    absent = {f"emodb/{stem}" for stem in EMOBOX["emodb"].folds[1].split()[:3]}
    rows = [row for row, clip_id in enumerate(dataset["id"]) if clip_id not in absent]
    first, second, *rest = split_corpus(dataset.select(rows), "emobox/emodb")
    note = "3 of the list's 107 test clips are not among this corpus's clips."
    assert second.notes == (note,)
    for split in (first, *rest):
        assert split.notes == ()


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_corpus_is_refused(make_corpus, name):
    message = f"^protocol.name: {name} is a list of {corpus_of(name)}'s clips, the corpus is x$"
    with pytest.raises(UserError, match=message):
        split_corpus(make_corpus(4), name)

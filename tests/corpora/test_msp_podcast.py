"""MSP-Podcast, on a generated tree: partitions, speakers, votes, and tables that do not match."""

import re

import pytest
from support.blank import write_blank

from ser_hf.corpora import corpus_settings, load_corpus, msp_podcast
from ser_hf.protocols import split_corpus
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return msp_podcast.parse(corpus_settings("msp_podcast", root, **keys))


HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
ROWS = [
    "MSP-PODCAST_0001_0008.wav,N,4.8,4.2,5.0,127,Male,Train",
    "MSP-PODCAST_0001_0019.wav,A,5.4,2.2,5.6,127,Male,Train",
    "MSP-PODCAST_0002_0033.wav,H,4.2,5.5,4.6,Unknown,Unknown,Train",
    "MSP-PODCAST_0003_0001.wav,X,4.0,4.0,4.0,128,Female,Train",
    "MSP-PODCAST_0004_0001.wav,A,5.0,2.0,5.0,129,Female,Development",
    "MSP-PODCAST_0005_0001.wav,H,5.0,6.0,5.0,130,Female,Test1",
    "MSP-PODCAST_0006_0001.wav,C,4.0,3.0,4.5,131,Male,Test2",
]
VOTES = ["Neutral", "Neutral", "Happy", "Annoyed"]


@pytest.fixture
def tree(tmp_path):
    """A function that writes a release with these rows, without the audio of some, and returns its
    folder.
    """

    def write(rows=ROWS, header=HEADER, without=(), votes=VOTES):
        names = [row.partition(",")[0] for row in rows]
        write_blank(tmp_path / "Audios", *(name for name in names if name not in without))
        (tmp_path / "Labels").mkdir()
        (tmp_path / "Labels" / "labels_consensus.csv").write_text("\n".join([header, *rows]) + "\n")
        detailed = [f"{name},worker{i},{word},4" for name in names for i, word in enumerate(votes)]
        text = "\n".join(["FileName,Worker,EmoClass_Major,EmoAct", *detailed])
        (tmp_path / "Labels" / "labels_detailed.csv").write_text(text + "\n")
        return tmp_path

    return write


def test_a_clip_has_the_values_of_its_row(tree):
    listing = parse(tree())
    first, _, unknown, *_ = listing.clips
    assert (first.id, first.emotion, first.original_label) == (
        "msp_podcast/MSP-PODCAST_0001_0008",
        "neutral",
        "N",
    )
    assert (first.speaker, first.sex, first.votes) == ("msp_podcast:127", "male", None)
    assert first.extra == {
        "partition": "train",
        "activation": 4.8,
        "valence": 4.2,
        "dominance": 5.0,
    }
    assert (unknown.speaker, unknown.sex) == ("msp_podcast:unknown", None)
    reasons = sorted(reason for _, reason in listing.skipped)
    assert reasons == ["no class with a majority", "of the partition Test2 (corpus.test is Test1)"]


@pytest.mark.parametrize("test", ["Test1", "Test2"])
def test_partitions_are_a_protocol(tree, test):
    partitions = ("Train", "Development", "Test1", "Test2")
    rows = [
        f"MSP-PODCAST_000{i}_000{j}.wav,{letter},4,4,4,{100 + i},Male,{partition}"
        for i, partition in enumerate(partitions)
        for j, letter in enumerate("AHA")
    ]
    corpus = load_corpus("msp_podcast", tree(rows), test=test)
    (split,) = split_corpus(corpus, "column", column="partition")
    number = {"train": 0, "validation": 1, "test": partitions.index(test)}
    for part, ids in split.ids.items():
        assert ids == [f"msp_podcast/MSP-PODCAST_000{number[part]}_000{j}" for j in range(3)]


def test_votes_of_workers_are_soft_labels(tree):
    clips = parse(tree(), soft=True).clips
    assert clips[0].votes == {"neutral": 2, "happy": 1, "other": 1}
    dataset = load_corpus(
        "msp_podcast", clips[0].path.rpartition("/Audios")[0], soft=True, drop=["other"]
    )
    names = dataset.features["label"].names
    shares = dict(zip(names, dataset["votes"][0], strict=True))
    assert shares == pytest.approx(dict.fromkeys(names, 0) | {"neutral": 2 / 3, "happy": 1 / 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": HEADER.replace("SpkrID", "Speaker")}, "labels_consensus.csv: no column SpkrID"),
        (
            {"rows": [*ROWS, "MSP-PODCAST_0009_0001.wav,Q,4,4,4,1,Male,Train"]},
            "has the unknown class 'Q'",
        ),
        (
            {"rows": ["MSP-PODCAST_0009_0001.wav,A,high,4,4,1,Male,Train"]},
            "EmoAct, EmoVal or EmoDom .* is no number",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(tree, changes, message):
    with pytest.raises(UserError, match=message):
        parse(tree(**changes))


def test_missing_files_and_votes(tree):
    root = tree(without=[ROWS[0].partition(",")[0]], votes=[])
    assert ("MSP-PODCAST_0001_0008.wav", "labeled, but without audio") in parse(root).skipped
    with pytest.raises(UserError, match=re.escape("labels_detailed.csv has no vote for it")):
        parse(root, soft=True)
    (root / "Labels" / "labels_consensus.csv").unlink()
    message = "labels_consensus.csv: cannot be read .* name the folder of Audios and Labels"
    with pytest.raises(UserError, match=message):
        parse(root)


def test_other_files(tree):
    root = tree()
    (root / "Audios" / "MSP-PODCAST_9999_0001.wav").write_bytes(b"unlabeled, as of Test3")
    assert any(reason == "without labels" for _, reason in parse(root).skipped)
    (root / "Audios" / "mine.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"mine.wav: not a file of MSP-Podcast"):
        parse(root)
    assert len(parse(root, on_unknown="skip").clips) == 5

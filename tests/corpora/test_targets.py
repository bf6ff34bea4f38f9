"""Targets: ratings from every kind of corpus, their scale, and the message for each mistake."""

import csv

import numpy as np
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, Features, List, Value
from support.blank import write_blank
from support.testing import write_corpus
from test_iemocap import write as write_iemocap
from test_msp_podcast import HEADER, ROWS

from ser_hf.corpora import corpus_settings, read_corpus
from ser_hf.corpora.sources import sources_table
from ser_hf.corpora.targets import (
    dimension_names,
    names_of,
    positives_of,
    targets_of,
    with_positives,
)
from ser_hf.utils.errors import UserError


def read(name, root=None, **keys):
    return read_corpus(corpus_settings(name, root, **keys))


RATED = ["arousal", "valence"]


@pytest.fixture
def table(tmp_path):
    """A function that writes four clips with these columns, and returns the table."""

    def write(name="clips.csv", **columns):
        for i in range(4):
            soundfile.write(
                tmp_path / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 1600), 16000
            )
        rows = [[f"{i}.wav", f"s{i % 2}", *(own[i] for own in columns.values())] for i in range(4)]
        header = ["file_name" if name == "metadata.csv" else "path", "speaker", *columns]
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / name

    return write


def load(root, name="csv", **settings):
    return read(
        name,
        root,
        label=None,
        **{"targets": RATED, "ranges": dict.fromkeys(RATED, [1, 5])} | settings,
    )


def test_ratings_are_scaled_by_their_range(table):
    corpus = load(table(arousal=[1, 2, 3, 5], valence=[1.5, 2, 4.5, 5]))
    assert names_of(corpus.dataset) == RATED
    assert corpus.ranges == {"arousal": [1, 5], "valence": [1, 5]}
    expected = [[0, 0.125], [0.25, 0.25], [0.5, 0.875], [1, 1]]
    np.testing.assert_allclose(targets_of(corpus.dataset, range(4)), expected)
    np.testing.assert_allclose(
        targets_of(corpus.dataset.select([3, 1]), [1, 0]), [expected[1], expected[3]]
    )
    assert corpus.dataset["arousal"][:] == [1, 2, 3, 5], "the column itself stays"


def test_an_activation_is_an_arousal_and_each_corpus_has_its_range(table):
    corpus = load(table(activation=[1, 2, 3, 5]), targets=["arousal"], ranges={"arousal": [0, 10]})
    np.testing.assert_allclose(targets_of(corpus.dataset, range(4))[:, 0], [0.1, 0.2, 0.3, 0.5])


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            {"valence": [1, 2, 3, 4]},
            {},
            r"corpus.targets: csv/0 has no arousal \(columns of numbers: valence\); fill",
        ),
        ({"arousal": [1, "", 3, 4]}, {}, "corpus.targets: csv/1 has no arousal"),
        (
            {"arousal": [1, "high", 3, 4]},
            {},
            "corpus.targets: arousal of csv/1 is 'high', not a number",
        ),
        (
            {"arousal": [1, "nan", 3, 4]},
            {},
            "corpus.targets: arousal of csv/1 is 'nan', not a number",
        ),
        ({"arousal": [1, 7, 3, 4]}, {}, "corpus.ranges.arousal: csv/1 has 7, outside of 1 to 5"),
        ({"arousal": [3, 3, 3, 3]}, {}, "corpus.targets: arousal is the same for all clips"),
        (
            {"arousal": [1, 2, 3, 4]},
            {"ranges": {}},
            "corpus.ranges.arousal: missing; give the lowest and highest",
        ),
        (
            {"arousal": [1, 2, 3, 4]},
            {"ranges": {"arousal": [5, 1]}},
            r"corpus.ranges.arousal: expected \[lowest, hi",
        ),
        (
            {"arousal": [1, 2, 3, 4]},
            {"ranges": {"arousal": [1, float("inf")]}},
            "corpus.ranges.arousal",
        ),
        (
            {"arousal": [1, 2, 3, 4]},
            {"ranges": {"joy": [1, 5]}},
            "corpus.ranges.joy: not in corpus.targets",
        ),
        (
            {"arousal": [1, 2, 3, 4]},
            {"targets": ["arousal", "arousal"]},
            "corpus.targets: .*each once, got 'arousal'",
        ),
        (
            {"arousal": [1, 2, 3, 4]},
            {"targets": ["a\nb"], "ranges": {}},
            "corpus.targets: expected the names of col",
        ),
    ],
)
def test_a_mistake_is_one_line(table, columns, settings, message):
    with pytest.raises(UserError, match=message) as refused:
        load(table(**columns), **{"targets": ["arousal"], "ranges": {"arousal": [1, 5]}} | settings)
    assert "\n" not in str(refused.value)


def test_clips_without_a_rating_can_be_left_out(table):
    corpus = load(table(arousal=[1, "", 3, 4], valence=[1, 2, 3, 4]), on_unknown="skip")
    assert corpus.dataset["id"][:] == ["csv/0", "csv/2", "csv/3"]
    assert {source.left_out for source in corpus.sources} == {None, "no arousal"}


def test_folders_and_data_sets_have_them_too(table, tmp_path):
    columns = {"arousal": [1, 2, 3, 5], "valence": [1, 2, 4, 5]}
    folder = table("metadata.csv", **columns).parent
    audio = [{"path": f"{i}.wav", "bytes": (folder / f"{i}.wav").read_bytes()} for i in range(4)]
    rows = Dataset.from_dict({"audio": audio, "speaker": list("abab"), **columns}).cast_column(
        "audio", Audio()
    )
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    for corpus in (load(folder, "audiofolder"), load(tmp_path / "rows.parquet", "hub")):
        np.testing.assert_allclose(targets_of(corpus.dataset, range(4))[:, 0], [0, 0.25, 0.5, 1])
        assert corpus.dataset.features["label"].names == ["other"]


def test_audformat_keeps_the_schemes_of_ratings(tmp_path):
    audformat = pytest.importorskip("audformat")
    import pandas as pd

    database = audformat.Database("toy")
    for name in RATED:
        database.schemes[name] = audformat.Scheme("float")
    database.schemes["speaker"] = audformat.Scheme("str")
    files = [f"{i}.wav" for i in range(4)]
    for file in files:
        soundfile.write(tmp_path / file, np.ones(800), 16000)
    database["ratings"] = audformat.Table(audformat.filewise_index(files))
    for name, values in {
        "arousal": [1, 2, 3, 5],
        "valence": [5, 4, 3, 1],
        "speaker": list("abab"),
    }.items():
        database["ratings"][name] = audformat.Column(scheme_id=name)
        database["ratings"][name].set(pd.Series(values, index=audformat.filewise_index(files)))
    database.save(str(tmp_path), storage_format="csv")
    corpus = load(tmp_path, "audformat", ratings=RATED)
    np.testing.assert_allclose(
        targets_of(corpus.dataset, range(4)), [[0, 1], [0.25, 0.75], [0.5, 0.5], [1, 0]]
    )
    with pytest.raises(UserError, match="corpus.ratings: the database has no scheme 'joy'"):
        load(tmp_path, "audformat", ratings=["joy"])


def test_iemocap_and_msp_podcast_have_ranges_and_all_their_clips(tmp_path):
    root = write_iemocap(tmp_path / "iemocap", "Ses01F_impro01", labels=("ang", "xxx", "sur"))
    table = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    table.write_text(
        table.read_text().replace("[2.5000, 3.0000, 3.5000]", "[5.0000, 3.0000, 1.0000]", 1)
    )
    corpus = read("iemocap", root, classes="all", targets=["arousal", "valence"][1:])
    assert corpus.ranges == {"valence": [1, 5]}
    assert sorted(targets_of(corpus.dataset, range(4))[:, 0].tolist()) == [0.375, 0.375, 0.375, 1]
    assert set(corpus.dataset.features["label"].names) == {"angry", "surprise", "other"}
    released = write_blank(tmp_path / "msp", *(f"Audios/{row.partition(',')[0]}" for row in ROWS))
    write_blank(
        released, "Labels/labels_consensus.csv", content="\n".join([HEADER, *ROWS, ""]).encode()
    )
    corpus = read("msp_podcast", released, classes="all", targets=["arousal"])
    assert len(corpus.dataset) == 6, "with the segment without a majority"
    assert corpus.ranges == {"arousal": [1, 7]}


def test_ranges_that_differ_between_corpora_are_zero_to_one(tmp_path):
    for name in ("a", "b"):
        write_corpus("csv", tmp_path / name, speakers=2, takes=1, sampling_rate=8000)
    items = [
        {"name": "csv", "root": str(tmp_path / name / "clips.csv"), "corpus_name": name}
        for name in "ab"
    ]
    corpus = read("mixture", corpora=items, targets=["loudness"], ranges={"loudness": [-60, 0]})
    assert corpus.ranges == {"loudness": [-60, 0]}
    assert targets_of(corpus.dataset, range(len(corpus.dataset))).min() >= 0


def test_a_class_is_true_above_a_share_of_the_votes():
    """The shares are those of EMO-SUPERB: with four classes above a fourth of the votes."""
    features = {
        "id": Value("string"),
        "label": ClassLabel(names=["angry", "fear", "happy", "sad"]),
        "votes": List(Value("float32"), length=4),
    }
    shares = [[0.5, 0.3, 0.2, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]]
    columns = {"id": ["a", "b", "c"], "label": [0, 1, 1], "votes": shares}
    dataset = Dataset.from_dict(columns, features=Features(features))
    assert positives_of(dataset, [0, 1]) is None
    sets = positives_of(with_positives(dataset), [2, 0, 1])
    assert sets.tolist() == [
        [False, True, False, False],
        [True, True, False, False],
        [False] * 4,
    ]
    sets = positives_of(with_positives(dataset, 0.1), [0, 1])
    assert sets.tolist() == [[True, True, True, False], [True] * 4]
    without = Dataset.from_dict(
        columns | {"votes": [None, *shares[1:]]}, features=Features(features)
    )
    with pytest.raises(UserError, match="^task: multi_label .* a has none"):
        with_positives(without)


def test_partial_clips_keep_what_they_have(table):
    """A clip without a label, or of a dropped emotion, has ratings only; a clip without ratings has
    a label only.
    """
    path = table(
        label=["angry", "", "happy", "fear"],
        arousal=[4, 2, "", 3],
        valence=[1, 2, 5, 2],
    )
    corpus = read(
        "csv",
        path,
        targets=RATED,
        ranges=dict.fromkeys(RATED, [1, 5]),
        drop=["fear"],
        partial=True,
    )
    dataset = corpus.dataset
    assert dataset.features["label"].names == ["angry", "happy"]
    assert dimension_names(dataset) == RATED
    assert dataset["label"][:] == [0, -1, 1, -1]
    targets = targets_of(dataset, range(4))
    np.testing.assert_allclose(targets[[0, 1, 3]], [[0.75, 0], [0.25, 0.25], [0.5, 0.25]])
    assert np.isnan(targets[2]).all(), "a clip counts as rated if it has all ratings"
    outcomes = {source.emotion: (source.label, source.left_out) for source in corpus.sources}
    assert outcomes["fear"] == (None, None)
    assert "ratings only" in sources_table(corpus.sources)


def test_partial_clips_without_label_and_ratings_are_left_out(table):
    path = table(label=["angry", "", "happy", "happy"], arousal=[4, "", 2, 3], valence=[1, 2, 5, 4])
    settings = {"targets": RATED, "ranges": dict.fromkeys(RATED, [1, 5]), "partial": True}
    corpus = read("csv", path, **settings)
    assert dataset_ids(corpus) == 3
    path = table(label=["angry", "happy"] * 2, arousal=[""] * 4, valence=[1, 2, 5, 4])
    with pytest.raises(UserError, match=r"^corpus\.targets: no clip has a rating for each"):
        read("csv", path, **settings)


def dataset_ids(corpus):
    return len(set(corpus.dataset["id"][:]))

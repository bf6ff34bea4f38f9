"""Auxiliary corpora: their classes, their rows after those of the main corpus, and mistakes."""

import pytest
from support.testing import write_corpus

from ser_hf.corpora import corpus_settings, read_corpus
from ser_hf.utils.errors import UserError


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpus("emodb", folder / "emodb", speakers=3, takes=1)
    write_corpus("ravdess", folder / "ravdess", speakers=2, takes=1)
    return {"emodb": str(folder / "emodb"), "ravdess": str(folder / "ravdess")}


def read(roots, item=None, **settings):
    auxiliary = [{"name": "ravdess", "root": roots["ravdess"], **(item or {})}]
    return read_corpus(corpus_settings("emodb", roots["emodb"], auxiliary=auxiliary, **settings))


def test_clips_of_others_follow_and_have_the_classes_of_the_main_corpus(roots):
    alone = read_corpus(corpus_settings("emodb", roots["emodb"]))
    corpus = read(roots, {"merge": {"calm": "neutral"}})
    rows = len(alone.dataset)
    assert corpus.main_rows == list(range(rows))
    assert corpus.dataset["id"][:rows] == alone.dataset["id"][:]
    assert corpus.dataset.features["label"].names == alone.dataset.features["label"].names
    assert set(corpus.dataset["corpus"][rows:]) == {"ravdess"}
    assert corpus.auxiliary == {"ravdess"}
    names = corpus.dataset.features["label"].names
    assert "surprise" not in names
    assert "boredom" in names

    outcomes = {
        (source.corpus, source.emotion): source.label or source.left_out
        for source in corpus.sources
    }
    assert outcomes["ravdess", "calm"] == "neutral"
    assert outcomes["ravdess", "surprise"] == "not a class of the main corpus"
    assert outcomes["emodb", "boredom"] == "boredom"


def test_rules_of_the_main_corpus_hold_too(roots):
    corpus = read(roots, drop=["happy"])
    assert "happy" not in corpus.dataset.features["label"].names
    rows = [source for source in corpus.sources if source.emotion == "happy"]
    assert {source.left_out for source in rows} == {"dropped"}


def test_a_cap_and_a_weight(roots):
    corpus = read(roots, {"cap": 5, "weight": 0.5})
    assert len(corpus.dataset) - len(corpus.main_rows) == 5
    assert corpus.weights == {"ravdess": 0.5}
    reasons = {source.left_out for source in corpus.sources}
    assert "over corpus.auxiliary[0].cap" in reasons


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"root": "/absent"}, r"corpus\.auxiliary\[0\]\.root"),
        ({"weigth": 1}, r"corpus\.auxiliary\[0\]\.weigth"),
        ({"name": "emodb"}, r"corpus\.auxiliary\[0\]\.name"),
        ({"name": "nothing"}, r"corpus\.auxiliary\[0\]\.name"),
        (
            {"drop": ["angry", "disgust", "fear", "happy", "neutral", "sad"]},
            r"corpus\.auxiliary\[0\]",
        ),
    ],
)
def test_a_mistake_is_named_by_its_key(roots, item, key):
    if item.get("name") == "emodb":
        item = {**item, "root": roots["emodb"]}
    with pytest.raises(UserError, match=rf"^{key}:"):
        read(roots, item)

"""Corpora on the Hub: which may be published, how they load, and equal bytes for equal corpora."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support.hub import LoopbackHub
from support.hub.cards import check_card

from ser_hf.audio import decode, prepare
from ser_hf.corpora import corpus_facts, load_corpus
from ser_hf.hub.corpus_repository import as_flac, require_right, stage_corpus
from ser_hf.protocols import PARTS, split_corpus
from ser_hf.testing import write_corpus
from ser_hf.utils.errors import UserError

COMMANDS = """
import contextlib, io, json, sys
from ser_hf.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
# As users without ser_hf load it, and as ser_hf does.
LOAD = """
import json, sys
from datasets import Audio, load_dataset
repo, commit = sys.argv[1:]
parts = load_dataset(repo)
everything = load_dataset(repo, "all", split="train").cast_column("audio", Audio(decode=False))
content = {
    "parts": {name: own["id"] [:] for name, own in parts.items()},
    "rate": parts["test"].features["audio"].sampling_rate,
    "labels": parts["test"].features["label"].names,
    "rows": everything.remove_columns("audio")[:],
    "magic": everything[0]["audio"]["bytes"][:4].decode(),
    "names": [audio["path"] for audio in everything["audio"]][:2],
}
assert "ser_hf" not in sys.modules
from ser_hf.audio import prepare
from ser_hf.corpora import load_corpus
from ser_hf.protocols import split_corpus
corpus, store = prepare(load_corpus("hub", dataset=repo, revision=commit, corpus_name="ravdess"))
content["again"] = corpus.remove_columns("audio")[:]
content["sha256"] = split_corpus(corpus, "speaker_independent", test=0.3)[0].sha256
content["by_column"] = split_corpus(corpus, "column")[0].sha256
print(json.dumps(content))
"""
SAME = ("label", "speaker", "id", "sex", "sentence", "intensity", "take", "language", "duration", "content_hash")


def run(hub, code, *arguments, folder):
    environment = {**os.environ, **hub.environment(folder / "home"), "SER_HF_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def resampled(tmp_path_factory):
    """A small RAVDESS that is not at 16 kHz."""
    root = tmp_path_factory.mktemp("22050") / "RAVDESS"
    write_corpus("ravdess", root, speakers=6, takes=2, sampling_rate=22050)
    return root


@pytest.mark.slow
def test_a_published_corpus_loads_equal(resampled, tmp_path):
    publish = ["publish-corpus", "ravdess", str(resampled), "--repo", "clips", "--protocol", "speaker_independent"]
    publish += ["--protocol", "kfold", "speaker_independent.test=0.3", "kfold.k=3", "--private"]
    own = tmp_path / "own"
    write_corpus("csv", own, speakers=2, takes=1)
    table = ["publish-corpus", "csv", str(own / "clips.csv"), "--repo", "own"]
    right = [*table, "--i-have-the-right", "license=cc-by-4.0"]
    with LoopbackHub() as hub:
        hub.fail("POST", "clips/commit/", 500)
        commands = json.dumps([publish, publish, publish, table, right])
        failed, first, again, refused, allowed = run(hub, COMMANDS, commands, folder=tmp_path)
        assert failed[0] == 2
        assert "the same command continues" in failed[2]
        sent = [request.path for request in hub.requests if request.method == "PUT"]
        assert len(sent) == len({*sent})  # what had arrived was not sent again
        assert first[0] == again[0] == 0, first[2]
        commits = hub.commits("tester/clips", "dataset")
        assert [commit.title for commit in commits] == ["RAVDESS: 96 clips", "initial commit"]
        assert hub.private("tester/clips", "dataset")
        assert commits[0].oid in first[1]
        assert "no new commit" in again[1]
        assert refused[0] == 2
        assert "--i-have-the-right" in refused[2]
        assert allowed[0] == 0, allowed[2]
        assert b"license: cc-by-4.0" in hub.files("tester/own", "dataset")["README.md"]
        assert not list((tmp_path / "cache").glob("publish-*"))

        (content,) = run(hub, LOAD, "tester/clips", commits[0].oid, folder=tmp_path)
        assert not hub.mistakes
    dataset, store = prepare(load_corpus("ravdess", resampled))
    (split,) = split_corpus(dataset, "speaker_independent", test=0.3)
    assert content["sha256"] == content["by_column"] == split.sha256
    assert {part: sorted(ids) for part, ids in content["parts"].items()} == {
        part: sorted(ids) for part, ids in split.ids.items()
    }
    assert (content["rate"], content["magic"], content["labels"]) == (16000, "fLaC", dataset.features["label"].names)
    assert all(name.startswith("03-01-") and name.endswith(".flac") for name in content["names"])
    pushed, loaded = _by_id(content["rows"]), _by_id(content["again"])
    assert {*pushed} == {*loaded} == {*dataset["id"]}
    for row in dataset.remove_columns("audio"):
        there, here = pushed[row["id"]], loaded[row["id"]]
        assert [there[name] for name in SAME] == [here[name] for name in SAME]
        assert [there[name] for name in SAME[:-1]] == [row[name] for name in SAME[:-1]]
        assert there["recording_hash"] == row["content_hash"]


def _by_id(columns):
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {row["id"]: row for row in rows}


def test_flac_of_16_bits_is_the_recording(tmp_path):
    extremes = np.array([-32768, 32767, 0, 1, -1, 12345], np.int16).repeat(100)
    soundfile.write(tmp_path / "a.wav", extremes, 16000, subtype="PCM_16")
    clip = decode(str(tmp_path / "a.wav"))
    assert decode("a", as_flac(clip.samples, 16000)).content_hash == clip.content_hash
    loud = decode("b", as_flac(np.array([0.5, 1.2, -1.2, 1.0], np.float32), 16000))
    np.testing.assert_allclose(loud.samples, [0.5, 1 - 2**-15, -1, 1 - 2**-15])


def test_the_same_corpus_gives_the_same_bytes_and_each_clip_once(ravdess_root, tmp_path):
    dataset, store = prepare(load_corpus("ravdess", ravdess_root))
    splits = {
        "speaker_independent": split_corpus(dataset, "speaker_independent", test=0.3),
        "random_stratified": split_corpus(dataset, "random_stratified", test=0.3),
        "kfold": split_corpus(dataset, "kfold", k=2),
        "ravdess/all": split_corpus(dataset, "kfold", k=2),  # as published lists are named
    }
    settings = {"facts": corpus_facts("ravdess", {}), "repo_id": "me/ravdess", "splits": splits}
    for name in ("one", "other"):
        stage_corpus(dataset, store, tmp_path / name, **settings)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / n).rglob("*.*")} for n in ("one", "other"))
    assert one == other
    rows = {part: pq.read_table(tmp_path / "one" / "data" / f"{part}.parquet").to_pylist() for part in PARTS}
    for part, ids in splits["speaker_independent"][0].ids.items():
        assert sorted(row["id"] for row in rows[part]) == sorted(ids)
    names = {path.stem for path in (tmp_path / "one" / "splits").iterdir()}
    assert names == {"speaker_independent", "random_stratified", "kfold", "ravdess_all"}
    listed = split_corpus(dataset, "file", path=str(tmp_path / "one" / "splits" / "kfold.json"))
    assert [split.sha256 for split in listed] == [split.sha256 for split in splits["kfold"]]
    card = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert check_card(card, "dataset") == []
    for text in ("license: cc-by-nc-sa-4.0", "PLoS ONE", "`random_stratified` is leaky"):
        assert text in card
    for absent in ("None", "\n\n\n", str(ravdess_root), "Undefined"):
        assert absent not in card
    again, _ = prepare(load_corpus("hub", tmp_path / "one", corpus_name="ravdess", config="all"))
    for column in ("id", "content_hash", "speaker"):
        assert sorted(again[column][:]) == sorted(dataset[column][:])


def test_votes_of_a_corpus_are_published(tmp_path):
    write_corpus("cremad", tmp_path / "CREMA-D", speakers=3, takes=2, votes=True)
    dataset, store = prepare(load_corpus("cremad", tmp_path / "CREMA-D", target="voice", soft=True))
    stage_corpus(dataset, store, tmp_path / "staged", facts=corpus_facts("cremad", {}), repo_id="me/cremad")
    rows = pq.read_table(tmp_path / "staged" / "data" / "train.parquet").to_pylist()
    assert [row["votes"] for row in rows] == dataset["votes"][:]
    assert [row["recording_hash"] for row in rows] == dataset["content_hash"][:]
    assert "license: odbl" in (tmp_path / "staged" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["savee", "iemocap", "esd", "meld", "emodb", "mixture", "tess"])
def test_corpora_that_must_not_be_published(name):
    facts = corpus_facts(name, {}) if name != "mixture" else {"name": name, "title": "", "license": None}
    for have_right in (False, True):
        with pytest.raises(UserError, match="cannot be published"):
            require_right(facts, have_right)


def test_corpora_that_may_be_published():
    for name in ("ravdess", "cremad", "synthetic"):
        require_right(corpus_facts(name, {}), False)
    for name in ("csv", "audiofolder", "hub"):
        facts = corpus_facts(name, {"license": "cc0-1.0"})
        require_right(facts, True)
        with pytest.raises(UserError, match="--i-have-the-right"):
            require_right(facts, False)

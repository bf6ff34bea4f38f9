"""A split corpus as a `DatasetDict` on the Hub, loaded again."""

import json
import os
import subprocess
import sys

import pytest
from support.hub import LoopbackHub
from support.testing import write_corpus

from ser_hf.corpora import load_corpus
from ser_hf.protocols import PARTS, split_corpus

# In a process of its own, because huggingface_hub reads the address and the token when it is
# imported.
PUSH = """
import json, sys
from ser_hf.audio import prepare
from ser_hf.corpora import load_corpus
from ser_hf.protocols import split_corpus
dataset = load_corpus("ravdess", sys.argv[1])
split = split_corpus(dataset, "speaker_independent")[0].apply(dataset)
pushed = split.push_to_hub("tester/clips", private=True)
hub = {"labels": dataset.features["label"].names, "corpus_name": "ravdess"}
again = load_corpus("hub", dataset="tester/clips", revision=pushed.oid, **hub)
same = ("label", "speaker", "id", "sex", "sentence", "content_hash")
before, after = prepare(dataset)[0], prepare(again)[0]
for corpus, protocol in ((before, "speaker_independent"), (after, "column")):
    values = [corpus.sort("id")[name][:] for name in same]
    print(json.dumps([values, split_corpus(corpus, protocol)[0].sha256]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora") / "RAVDESS"
    write_corpus("ravdess", folder, speakers=6, takes=1)
    return folder


def test_each_split_has_its_rows(root):
    dataset = load_corpus("ravdess", root)
    split = split_corpus(dataset, "speaker_independent")[0]
    applied = split.apply(dataset)
    assert {part: applied[part]["id"][:] for part in PARTS} == split.ids


@pytest.mark.slow
def test_a_pushed_corpus_loads_equal(root, tmp_path):
    with LoopbackHub() as hub:
        environment = {
            **os.environ,
            **hub.environment(tmp_path / "home"),
            "SER_HF_CACHE": str(tmp_path / "cache"),
        }
        command = [sys.executable, "-c", PUSH, str(root)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    before, after = [json.loads(line) for line in done.stdout.splitlines()[-2:]]
    assert before == after, "the values, and the hash of the split"

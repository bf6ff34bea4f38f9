"""Every layout, generated with sound: loaded, prepared, split by the protocols, inspected."""

import pytest
from support.layouts import write_layout

from ser_hf.audio import prepare
from ser_hf.corpora import load_corpus
from ser_hf.inspection import inspect_corpus
from ser_hf.protocols import PARTS, audit, split_corpus

NAMES = {"label": "emotion", "speaker": "speaker_id", "columns": {"sex": "gender"}}
# Name -> (where corpus.root is below what was written, options, classes, the protocol of the data
# set's own parts).
LAYOUTS = {
    "audformat": (".", {}, 6, ("column", {})),
    "audiofolder": (".", {"columns": {"sex": "gender"}}, 6, ("column", {})),
    "emobox": ("data/ravdess", {"audio_root": "audio"}, 8, ("emobox/lists", {})),
    "hub": (".", NAMES, 6, ("column", {"validation": 0.4})),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def corpus(request, tmp_path_factory):
    """Name, root, options, number of classes and protocol of one layout, four speakers with one
    clip a class.
    """
    name = request.param
    if name == "audformat":
        pytest.importorskip("audformat")
    folder = tmp_path_factory.mktemp(name)
    write_layout(name, folder, speakers=4, takes=1, sampling_rate=8000)
    below, options, classes, protocol = LAYOUTS[name]
    options = options | ({"audio_root": str(folder / "audio")} if name == "emobox" else {})
    return name, folder / below, options, classes, protocol


def test_loaded_prepared_split_and_inspected(corpus):
    name, root, options, classes, protocol = corpus
    dataset = load_corpus(name, root, **options)
    assert len(dataset.features["label"].names) == classes
    dataset, store = prepare(dataset, 16000)
    assert len(set(dataset["speaker"])) == 4
    assert all(samples.size for samples in store)
    (split,) = split_corpus(dataset, "speaker_independent", validation=0.25, test=0.25)
    assert audit(split, dataset).shared["train/test"]["speakers"] == 0
    assert len(split_corpus(dataset, "leave_one_speaker_out", validation=0.4)) == 4
    for fold in split_corpus(dataset, protocol[0], **protocol[1]):
        assert all(fold.rows[part] for part in PARTS)
        assert not fold.leak
        audit(fold, dataset)
    facts = inspect_corpus(name, root, **options).to_dict()
    assert facts["counts"]["readable_clips"] == len(dataset)
    assert facts["counts"]["speakers"] == 4
    assert "error" not in {finding["level"] for finding in facts["findings"]}

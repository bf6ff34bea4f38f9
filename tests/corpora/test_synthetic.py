"""The synthetic corpus: generated once, the same everywhere, its shuffled twin equally balanced."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from ser_hf.corpora import corpus_settings, load_corpus, synthetic
from ser_hf.corpora.synthesis import EMOTIONS, utterance
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return synthetic.parse(corpus_settings("synthetic", root, **keys))


SMALL = {"speakers": 4, "takes": 2}


def labels(listing):
    return {clip.id: clip.emotion for clip in listing.clips}


def test_the_corpus_has_every_speaker_emotion_and_take():
    listing = parse(**SMALL)
    assert listing.corpus == "synthetic"
    assert not listing.skipped
    assert Counter(clip.emotion for clip in listing.clips) == dict.fromkeys(EMOTIONS, 4 * 2)
    assert Counter(clip.speaker for clip in listing.clips) == {
        f"synthetic:{n:02d}": 6 * 2 for n in range(4)
    }
    assert len({clip.id for clip in listing.clips}) == 4 * 6 * 2


def test_the_same_settings_give_the_same_files_in_any_folder(tmp_path):
    first = parse(tmp_path / "a", **SMALL)
    second = parse(tmp_path / "b", **SMALL)
    assert labels(first) == labels(second)
    for clip, same_clip in zip(first.clips, second.clips, strict=True):
        with open(clip.path, "rb") as a, open(same_clip.path, "rb") as b:
            assert a.read() == b.read()


def test_a_file_holds_the_utterance_of_its_name():
    clip = next(clip for clip in parse(**SMALL).clips if clip.id == "synthetic/s03_fear_001")
    samples, rate = soundfile.read(clip.path, dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(samples, utterance(3, "fear", 1, seed=0), atol=1 / 32767)


def test_it_is_generated_once(tmp_path, monkeypatch):
    first = parse(tmp_path, **SMALL)
    monkeypatch.setattr("ser_hf.corpora.synthetic.utterance", None)
    assert parse(tmp_path, **SMALL) == first
    assert labels(parse(tmp_path, **SMALL, shuffle_labels=True)).keys() == labels(first).keys()


def test_shuffling_exchanges_labels_within_each_speaker():
    plain = parse(**SMALL)
    shuffled = parse(**SMALL, shuffle_labels=True)

    def counts(listing):
        return Counter((clip.speaker, clip.emotion) for clip in listing.clips)

    assert counts(shuffled) == counts(plain)
    changed = [id for id, emotion in labels(plain).items() if labels(shuffled)[id] != emotion]
    assert len(changed) > len(plain.clips) / 2  # five of six labels change by chance
    assert labels(parse(**SMALL, shuffle_labels=True)) == labels(shuffled)
    for clip, original in zip(shuffled.clips, plain.clips, strict=True):
        assert clip.path == original.path
        assert clip.speaker == original.speaker
        assert clip.sex == original.sex
        assert clip.take == original.take


@pytest.mark.parametrize(
    "bad", [{"speakers": 2}, {"takes": 0}, {"speakers": -1}, {"seed": -1}], ids=str
)
def test_impossible_sizes_are_refused_before_anything_is_written(tmp_path, bad):
    with pytest.raises(UserError, match=f"corpus.{next(iter(bad))}"):
        load_corpus("synthetic", tmp_path / "made", **(SMALL | bad))
    assert not list(tmp_path.rglob("*.wav"))

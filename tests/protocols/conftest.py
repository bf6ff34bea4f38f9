"""Small corpora without audio: a split needs rows only."""

import pytest

from ser_hf.corpora.schema import Clip, Listing, to_dataset

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="session")
def make_corpus():
    """A function from `{speaker: [emotion of each clip]}` (or a number of speakers, half of them women, with two clips
    an emotion each) to a dataset whose clips all differ in content."""

    def make(speakers, labels=LABELS, prefix="x", order=None):
        if isinstance(speakers, int):
            speakers = {f"{prefix}:{n:02d}": list(labels) * 2 for n in range(1, speakers + 1)}
        clips = []
        for number, (speaker, emotions) in enumerate(speakers.items()):
            for take, emotion in enumerate(emotions):
                id = f"{speaker}/{take}"
                sex = ("female", "male")[number % 2]
                clips.append(Clip(f"{id}.wav", emotion, speaker, id, sex, sentence=f"sentence {take % 2}", take=take))
        clips = [clips[i] for i in order] if order is not None else clips
        dataset = to_dataset(Listing(prefix, clips), [clip.emotion for clip in clips], list(labels), 16000)
        hashes = [f"hash of {clip.id}" for clip in clips]
        return dataset.remove_columns("content_hash").add_column("content_hash", hashes)

    return make

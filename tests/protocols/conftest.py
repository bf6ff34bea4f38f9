"""Corpora without audio, since a split needs rows only: small ones, and the official releases by
name.
"""

import functools
from pathlib import PurePosixPath

import pytest

from ser_hf.corpora import CORPORA, EMOTIONS
from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.corpora.verify import manifest
from ser_hf.protocols import rules

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="session")
def make_corpus():
    """A function from `{speaker: [emotion of each clip]}` (or a number of speakers, half of them
    women, with two clips an emotion each) to a dataset whose clips all differ in content.

    `sentence` and `session` are functions of the speaker's number from 0 and of the take; without
    the latter the corpus has no column `session`.
    """

    def make(
        speakers,
        labels=LABELS,
        prefix="x",
        order=None,
        sentence=one_of_two_sentences,
        session=None,
    ):
        if isinstance(speakers, int):
            speakers = {f"{prefix}:{n:02d}": list(labels) * 2 for n in range(1, speakers + 1)}
        clips = []
        for number, (speaker, emotions) in enumerate(speakers.items()):
            for take, emotion in enumerate(emotions):
                extra = {}
                if session is not None:
                    extra["session"] = session(number, take)
                clip = Clip(
                    path=f"{speaker}/{take}.wav",
                    emotion=emotion,
                    speaker=speaker,
                    id=f"{speaker}/{take}",
                    sex=("female", "male")[number % 2],
                    sentence=sentence(number, take),
                    take=take,
                    extra=extra,
                )
                clips.append(clip)
        if order is not None:
            clips = [clips[i] for i in order]
        emotion_of_clip = [clip.emotion for clip in clips]
        dataset = to_dataset(Listing(prefix, clips), emotion_of_clip, list(labels), 16000)
        return replaced(dataset, "content_hash", [f"hash of {clip.id}" for clip in clips])

    return make


def one_of_two_sentences(number, take):
    return f"sentence {take % 2}"


def replaced(dataset, column, values):
    return dataset.remove_columns(column).add_column(column, values)


@pytest.fixture(scope="session")
def with_column():
    """A function from a dataset, a column and its new values to the dataset that has them."""
    return replaced


@pytest.fixture(scope="session")
def official():
    """A function from a corpus to the rows of its release, read from the official file names."""

    @functools.cache
    def rows(corpus):
        clips = []
        hash_of_clip = {}
        for entry in manifest(corpus):
            clip = CORPORA[corpus].read_name(PurePosixPath(entry.path))
            clips.append(clip)
            hash_of_clip[clip.id] = entry.sha256
        clips.sort(key=lambda clip: clip.id)
        emotions = [clip.emotion for clip in clips]
        labels = [emotion for emotion in EMOTIONS if emotion in emotions]
        dataset = to_dataset(Listing(corpus, clips), emotions, labels, 16000)
        return replaced(dataset, "content_hash", [hash_of_clip[clip.id] for clip in clips])

    return rows


@pytest.fixture(scope="module")
def few_draws():
    """Only the proportions rest on how many draws the nearest is taken from; eight make the other
    tests quick.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rules, "_DRAWS", 8)
        yield

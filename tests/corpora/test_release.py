"""Every file of the five official releases by name: counts as published, and as counted from the
lists themselves.
"""

from collections import Counter
from pathlib import PurePosixPath

import pytest

from ser_hf.corpora import CORPORA, EMOTIONS
from ser_hf.corpora.verify import manifest, release_of

# Labels as the releases' own papers and pages have them; speakers and sexes counted from the names.
LABELS = {
    "cremad": {
        "angry": 1271,
        "disgust": 1271,
        "fear": 1271,
        "happy": 1271,
        "sad": 1271,
        "neutral": 1087,
    },
    "ravdess": {
        "neutral": 96,
        **dict.fromkeys(("calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 192),
    },
    "tess": dict.fromkeys(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), 400),
    "savee": {
        "neutral": 120,
        **dict.fromkeys(("angry", "disgust", "fear", "happy", "sad", "surprise"), 60),
    },
    "emodb": {
        "angry": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happy": 71,
        "sad": 62,
        "neutral": 79,
    },
}
SEXES = {
    "cremad": {"male": 3930, "female": 3512},
    "ravdess": {"male": 720, "female": 720},
    "tess": {"female": 2800},
    "savee": {"male": 480},
    "emodb": {"male": 233, "female": 302},
}
SPEAKERS_BY_SEX = {
    "cremad": {"male": 48, "female": 43},
    "ravdess": {"male": 12, "female": 12},
    "tess": {"female": 2},
    "savee": {"male": 4},
    "emodb": {"male": 5, "female": 5},
}
# Number of clips -> number of speakers who have as many.
CLIPS_OF_A_SPEAKER = {
    "cremad": {82: 86, 81: 2, 76: 3},
    "ravdess": {60: 24},
    "tess": {1400: 2},
    "savee": {120: 4},
    "emodb": dict.fromkeys((35, 38, 43, 49, 55, 56, 58, 61, 69, 71), 1),
}
LANGUAGES = {"cremad": "en", "ravdess": "en", "tess": "en", "savee": "en", "emodb": "de"}


@pytest.fixture(scope="module", params=list(LABELS))
def release(request):
    """(corpus, its clips as its module reads the official paths)."""
    return request.param, [
        CORPORA[request.param].read_name(PurePosixPath(e.path)) for e in manifest(request.param)
    ]


def test_the_five_releases_have_12697_files():
    listed = [name for name in CORPORA if release_of(name).files is not None]
    assert listed == sorted(LABELS)
    assert sum(release_of(name).files for name in listed) == 12697


def test_every_official_name_is_read(release):
    corpus, clips = release
    unread = [
        entry.path for entry, clip in zip(manifest(corpus), clips, strict=True) if clip is None
    ]
    assert not unread
    assert [clip.path for clip in clips] == [entry.path for entry in manifest(corpus)]
    assert len({clip.id for clip in clips}) == release_of(corpus).files
    assert all(
        clip.id.startswith(f"{corpus}/") and clip.speaker.startswith(f"{corpus}:") for clip in clips
    )


def test_labels_are_as_published(release):
    corpus, clips = release
    assert Counter(clip.emotion for clip in clips) == LABELS[corpus]
    assert set(LABELS[corpus]) <= set(EMOTIONS)


def test_speakers_and_sexes_are_as_counted(release):
    corpus, clips = release
    clips_of = Counter(clip.speaker for clip in clips)
    assert Counter(clips_of.values()) == CLIPS_OF_A_SPEAKER[corpus]
    assert Counter(clip.sex for clip in clips) == SEXES[corpus]
    sex_of = {(clip.speaker, clip.sex) for clip in clips}
    assert Counter(sex for _, sex in sex_of) == SPEAKERS_BY_SEX[corpus]
    assert len(sex_of) == len(clips_of)


def test_every_clip_has_its_language_and_no_votes(release):
    corpus, clips = release
    assert {clip.language for clip in clips} == {LANGUAGES[corpus]}
    assert not any(clip.votes or clip.extra for clip in clips)

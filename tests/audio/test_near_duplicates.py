"""Near-duplicates: planted copies of every kind are found, at their true overlap, and different
takes are not.
"""

import importlib
import io

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from ser_hf.audio import open_store
from ser_hf.audio.near_duplicates import NearDuplicate, near_duplicates
from ser_hf.corpora.synthesis import utterance

# The package may offer the function under the name of its module.
module = importlib.import_module("ser_hf.audio.near_duplicates")
RATE = 16000


def wav(samples, rate=RATE, **form):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV", "subtype": "FLOAT"} | form))
    return {"path": None, "bytes": file.getvalue()}


def coded(samples, kind):
    mp3 = {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "bitrate_mode": "CONSTANT",
        "compression_level": 0.95,
    }
    vorbis = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.99}
    return wav(samples, **(mp3 if kind == "mp3" else vorbis))


def piece_of_coded(samples, kind, begin):
    decoded, _ = soundfile.read(io.BytesIO(coded(samples, kind)["bytes"]))
    return wav(0.3 * decoded[begin : begin + RATE])


KINDS = {
    "exact": wav,
    "cut": lambda x: wav(x[1237 : -len(x) // 8]),
    "piece": lambda x: wav(x[3001 : 3001 + RATE]),
    "padded": lambda x: wav(np.concatenate([np.zeros(12345), x, np.zeros(2000)])),
    "quiet": lambda x: wav(x * 0.02, subtype="PCM_16"),
    "clipped": lambda x: wav(np.clip(x / np.abs(x).max() * 1.6, -1, 1)),
    "inverted": lambda x: wav(-x),
    "48k": lambda x: wav(soxr.resample(x, RATE, 48000), 48000),
    "8k": lambda x: wav(soxr.resample(x, RATE, 8000), 8000),
    "telephone": lambda x: wav(
        sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), x)
    ),
    "mp3": lambda x: coded(x, "mp3"),
    "vorbis": lambda x: coded(x, "vorbis"),
    "piece of mp3": lambda x: piece_of_coded(x, "mp3", 4003),
    "piece of vorbis": lambda x: piece_of_coded(x, "vorbis", 4003),
}


@pytest.fixture(scope="module")
def takes():
    """Return three sentences by two voices in two emotions, each recorded twice."""
    moods = ("angry", "sad")
    return [
        utterance(who, mood, take, 0)
        for who in (0, 1)
        for mood in moods
        for take in (0, 1, 2, 6, 7, 8)
    ]


def store_of(sources, tmp_path, rate=RATE):
    return open_store(sources, rate, tmp_path / "cache")


def rows_of(pairs):
    return [(pair.first, pair.second) for pair in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_and_nothing_else(kind, takes, tmp_path):
    store = store_of([wav(take) for take in takes] + [KINDS[kind](takes[5])], tmp_path)
    (pair,) = near_duplicates(store)
    assert (pair.first, pair.second) == (5, len(takes))
    assert pair.bit_error_rate < 0.3
    assert (pair.bit_error_rate == 0) >= (kind == "exact")
    shorter = min(store.durations[5], store.durations[len(takes)])
    assert pair.overlap == pytest.approx(shorter, abs=0.08)  # codecs pad


def test_two_copies_are_two_pairs(takes, tmp_path):
    store = store_of([wav(takes[0]), wav(takes[1]), wav(takes[0]), wav(takes[1])], tmp_path)
    assert rows_of(near_duplicates(store)) == [(0, 2), (1, 3)]


def test_silence_noise_and_short_clips_have_no_match(takes, tmp_path):
    generator = np.random.default_rng(0)
    silent = [np.zeros(2 * RATE), np.zeros(2 * RATE)]
    noises = [0.01 * generator.standard_normal(2 * RATE) for _ in range(3)]
    scraps = [takes[0][5000:10000]] * 2 + [takes[0][:100]] * 2
    assert near_duplicates(store_of([wav(x) for x in silent + noises + scraps], tmp_path)) == []


def test_a_shared_pause_is_not_a_match(takes, tmp_path):
    """The same second of room noise before and after different sentences."""
    room = 3e-4 * np.random.default_rng(0).standard_normal(RATE)
    assert (
        near_duplicates(store_of([wav(np.concatenate([room, x, room])) for x in takes], tmp_path))
        == []
    )


def test_a_second_search_reads_the_cached_result(takes, tmp_path, monkeypatch):
    store = store_of([wav(takes[0]), KINDS["mp3"](takes[0])], tmp_path)
    first = near_duplicates(store)
    monkeypatch.setattr(module, "_search", lambda *_: pytest.fail("searched again"))
    again = near_duplicates(store)
    assert again == first
    assert isinstance(again[0], NearDuplicate)
    assert [type(value) for value in module.astuple(again[0])] == [int, int, float, float]
    assert near_duplicates(store) == first
    monkeypatch.setattr(module, "METHOD_VERSION", module.METHOD_VERSION + 1)
    with pytest.raises(pytest.fail.Exception):
        near_duplicates(store)


@pytest.mark.parametrize("damage", ["", "{", "{}", "[]", '{"pairs": [], "checksum": ""}', None])
def test_a_damaged_result_is_computed_again(damage, takes, tmp_path, caplog):
    store = store_of([wav(takes[0]), KINDS["mp3"](takes[0])], tmp_path)
    first = near_duplicates(store)
    (kept,) = (tmp_path / "cache" / "near_duplicates").glob("*/pairs.json")
    whole = kept.read_text()
    kept.unlink() if damage is None else kept.write_text(damage)
    assert near_duplicates(store) == first
    assert f"{kept.parent} is damaged" in caplog.text
    assert kept.read_text() == whole


def test_the_result_does_not_depend_on_the_size_of_the_sorted_parts(takes, tmp_path, monkeypatch):
    # No frame, and fewer frames than between two of a key.
    scraps = [wav(np.zeros(RATE // 10)), wav(takes[0][: RATE // 4])]
    clips = [
        scraps[0],
        *map(wav, takes),
        *scraps,
        *(KINDS["mp3"](take) for take in takes),
        scraps[0],
    ]
    store = store_of(clips, tmp_path)
    at_once = module._search(store)
    assert len(at_once) == len(takes)
    monkeypatch.setattr(module, "_SORTED_FRAMES", 100)
    assert module._search(store) == at_once


def sources(folder, pattern):
    return [{"path": str(path), "bytes": None} for path in sorted(folder.glob(pattern))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "pattern"), [("RAVDESS", "Actor_0[12]/*.flac"), ("EMO-DB", "wav/0[38]*.flac")]
)
def test_copies_of_real_speech_are_found(real_corpora, corpus, pattern, tmp_path):
    clips = sources(real_corpora(corpus), pattern)
    store = store_of(clips, tmp_path)
    originals = (
        range(0, 8 * len(KINDS), 8) if len(store) >= 8 * len(KINDS) else range(0, 6 * len(KINDS), 6)
    )
    copies = []
    for row, copy in zip(originals, KINDS.values(), strict=True):
        loud = int(np.argmax(np.convolve(store[row] ** 2, np.ones(800), "same")))
        # A piece is cut near the beginning, where RAVDESS is silent: begin before the loudest
        # vowel.
        copies.append(copy(store[row][max(0, loud - RATE // 2 - 4000) :]))
    expected = [(row, len(clips) + i) for i, row in enumerate(originals)]
    assert rows_of(near_duplicates(store_of(clips + copies, tmp_path))) == expected

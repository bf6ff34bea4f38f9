"""The waveform store: decoded once, equal to the decoder, checksummed, resumable, complete or not
there.
"""

import itertools
import logging
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.damage import cut, empty, fill, flip
from support.processes import started
from xxhash import xxh3_64_intdigest

from ser_hf.audio import AudioError, decode, open_store, prepare
from ser_hf.audio import build_store as building
from ser_hf.audio.store import WaveformStore
from ser_hf.audio.store_files import SAMPLES, read_journal
from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.models.preparation import Preparation, prepare_waveform
from ser_hf.utils.errors import UserError

RATES = [16000, 16000, 22050, 48000]


@pytest.fixture
def sources(tmp_path):
    """Four clips of noise, of different lengths and rates, the third one stereo."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "clips"
    folder.mkdir()
    for i, rate in enumerate(RATES):
        noise = 0.1 * generator.standard_normal((rate // 2 + 1000 * i, 2 if i == 2 else 1))
        soundfile.write(folder / f"{i}.wav", noise, rate)
    return [{"path": str(folder / f"{i}.wav"), "bytes": None} for i in range(4)]


def folders(cache):
    return [path.name for path in (cache / "waveforms").iterdir() if path.is_dir()]


def contents(store):
    return [(store.folder / name).read_bytes() for name in ("waveforms.f32", "index.npz")]


def test_the_store_has_the_decoded_samples(sources, tmp_path):
    store = open_store(sources, 16000, tmp_path / "cache")
    assert len(store) == 4
    assert store.sampling_rate == 16000
    for row, source in enumerate(sources):
        decoded = decode(source["path"], sampling_rate=16000)
        assert store[row].dtype == np.float32
        np.testing.assert_array_equal(store[row], decoded.samples)
        assert store.lengths[row] == len(decoded.samples)
        assert store.durations[row] == len(decoded.samples) / 16000
        assert store.content_hashes[row] == decoded.content_hash
    assert store.channels.tolist() == [1, 1, 2, 1]


def test_rows_are_indexed_like_a_sequence(sources, tmp_path):
    store = open_store(sources, 16000, tmp_path / "cache")
    np.testing.assert_array_equal(store[-1], store[3])
    np.testing.assert_array_equal(store[np.int64(2)], store[2])
    assert [len(samples) for samples in store] == store.lengths.tolist()
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            store[beyond]
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1.0


def test_a_second_opening_does_not_decode(sources, tmp_path, monkeypatch):
    first = open_store(sources, 16000, tmp_path / "cache")
    monkeypatch.setattr("ser_hf.audio.build_store.decode", lambda *_: pytest.fail("decoded again"))
    second = open_store(sources, 16000, tmp_path / "cache")
    assert second.folder == first.folder
    assert second.content_hashes == first.content_hashes


def test_a_changed_file_makes_another_store(sources, tmp_path):
    first = open_store(sources, 16000, tmp_path / "cache")
    samples, rate = soundfile.read(sources[1]["path"])
    soundfile.write(sources[1]["path"], -samples, rate)
    stat = os.stat(sources[1]["path"])
    # however coarse the clock is
    os.utime(sources[1]["path"], ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    second = open_store(sources, 16000, tmp_path / "cache")
    assert second.folder != first.folder
    np.testing.assert_allclose(second[1], -first[1], atol=1e-4)
    np.testing.assert_array_equal(second[0], first[0])


def test_another_rate_or_order_makes_another_store(sources, tmp_path):
    kinds = [(sources, 16000), (sources, 8000), (sources[::-1], 16000), (sources[:3], 16000)]
    assert len({open_store(rows, rate, tmp_path / "cache").folder for rows, rate in kinds}) == 4


def test_any_number_of_workers_gives_the_same_store(sources, tmp_path):
    many = sources * 10  # more clips than one worker may hold in flight
    stores = [
        open_store(many, 16000, tmp_path / f"cache{workers}", workers) for workers in (1, 2, 5)
    ]
    assert contents(stores[0]) == contents(stores[1]) == contents(stores[2])


@pytest.mark.parametrize("bad", [[2], [0, 2, 3]], ids=["one", "several"])
def test_bad_files_are_named_and_counted_and_leave_nothing(sources, tmp_path, caplog, bad):
    for row in bad:
        with open(sources[row]["path"], "wb") as file:
            file.write(b"not audio")
    with caplog.at_level(logging.ERROR), pytest.raises(AudioError) as error:
        open_store(sources, 16000, tmp_path / "cache")
    assert str(error.value).startswith(sources[bad[0]]["path"])
    assert ("; 3 of 4 files are bad" in str(error.value)) == (len(bad) > 1)
    for row in bad[1:]:
        assert sources[row]["path"] in caplog.text
    assert folders(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(("index.npz", "waveforms.f32"), (cut, empty, Path.unlink)),
        ("index.npz", flip),
        ("index.npz", fill),
        ("waveforms.f32", flip),
        ("index.npz", lambda path: np.savez(path, other=1)),
        ("waveforms.f32", lambda path: path.write_bytes(path.read_bytes() + b"1234")),
    ],
)
def test_a_damaged_store_is_named_and_built_again(sources, tmp_path, caplog, name, damage):
    store = open_store(sources, 16000, tmp_path / "cache")
    expected = contents(store)
    damage(store.folder / name)
    open_store(sources, 16000, tmp_path / "cache")
    (message,) = caplog.messages
    assert message.startswith(f"{store.folder} is damaged (")
    assert contents(store) == expected


@pytest.fixture
def decoded(monkeypatch):
    """The paths that are decoded, as they are."""
    paths = []
    real = building.decode

    def recorded(path, *arguments):
        paths.append(path)
        return real(path, *arguments)

    monkeypatch.setattr("ser_hf.audio.build_store.decode", recorded)
    return paths


def test_clips_of_other_stores_are_copied(padded, tmp_path, decoded, caplog):
    """A second corpus, or a recording more, decodes the new clips alone; another order or choice
    decodes none.
    """
    caplog.set_level(logging.DEBUG, "ser_hf")
    shared = tmp_path / "cache"
    preparation = Preparation(trim_silence=30)
    for rows in (padded[1:2], padded[2:]):
        open_store(rows, 16000, shared, preparation=preparation)
    decoded.clear()
    store = open_store(padded, 16000, shared, preparation=preparation)
    assert decoded == [padded[0]["path"]]
    assert f"2 of 3 clips are copied from other stores in {shared / 'waveforms'}" in caplog.messages
    assert contents(store) == contents(
        open_store(padded, 16000, tmp_path / "alone", preparation=preparation)
    )
    decoded.clear()
    open_store(padded[::-1], 16000, shared, preparation=preparation)
    assert decoded == []
    open_store(padded, 16000, shared)  # other settings have no clips yet
    assert sorted(decoded) == sorted(source["path"] for source in padded)


def test_clips_of_a_damaged_store_are_decoded(sources, tmp_path, decoded):
    flip_in(open_store(sources[:2], 16000, tmp_path / "cache"), 1)
    (open_store(sources[3:], 16000, tmp_path / "cache").folder / "index.npz").write_bytes(
        b"no index"
    )
    decoded.clear()
    store = open_store(sources, 16000, tmp_path / "cache")
    assert sorted(decoded) == [source["path"] for source in sources[1:]]
    assert contents(store) == contents(open_store(sources, 16000, tmp_path / "alone"))


def die_at(sources, cache, at):
    """Prepares audio on one thread, 8 clips ahead of writing, and is killed while it decodes clip
    `at`.
    """
    real = building.decode
    begun = []

    def deadly(*given):
        begun.append(given)
        if len(begun) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given)

    building.decode = deadly
    open_store(sources, 16000, cache, 1)


@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_build_resumes_after_its_last_complete_clip(
    sources, tmp_path, caplog, decoded, torn
):
    caplog.set_level(logging.INFO, "ser_hf")
    many = sources * 10
    expected = open_store(many, 16000, tmp_path / "whole")
    assert started(die_at, many, tmp_path / "cache", 25).ended()[0] == -signal.SIGKILL
    (partial,) = (tmp_path / "cache" / "waveforms").glob("*.partial")
    whole = len(read_journal(partial))
    assert 25 - 1 - 8 <= whole < 25
    if torn:
        for path in partial.iterdir():
            with path.open("ab") as file:
                file.write(b"half a clip")
    decoded.clear()
    store = open_store(many, 16000, tmp_path / "cache")
    assert sorted(decoded) == sorted(source["path"] for source in many[whole:])
    assert contents(store) == contents(expected)
    assert sorted(path.name for path in store.folder.iterdir()) == ["index.npz", "waveforms.f32"]
    assert f"continuing to prepare audio: {whole} of 40 clips are in {partial}" in caplog.messages


@pytest.fixture
def unread(monkeypatch):
    """Stores are not read through when they are opened, as large ones are not."""
    monkeypatch.setattr("ser_hf.audio.build_store._VERIFIED_BYTES", 0)


def flip_in(store, row):
    with (store.folder / "waveforms.f32").open("r+b") as file:
        file.seek(4 * int(store.offsets[row]) + 9)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_each_clip_of_a_large_store_is_verified_at_its_first_access(
    sources, tmp_path, unread, caplog, monkeypatch
):
    store = open_store(sources, 16000, tmp_path / "cache")
    expected = contents(store)
    flip_in(store, 2)
    reader = pickle.loads(pickle.dumps(open_store(sources, 16000, tmp_path / "cache")))
    assert not caplog.messages
    looked_at = []

    def digest(clip):
        looked_at.append(len(clip))
        return xxh3_64_intdigest(clip)

    monkeypatch.setattr("ser_hf.audio.store.xxh3_64_intdigest", digest)
    for _ in range(2):
        for row in (0, 1, -1):
            assert len(reader[row]) == store.lengths[row]
    assert looked_at == store.lengths[[0, 1, 3]].tolist()
    damage = "the samples of clip 2 do not match their checksum"
    remedy = "the next run builds it again, and --resume continues from the last checkpoint"
    with pytest.raises(UserError) as error:
        reader[2]
    assert str(error.value) == f"{store.folder}: {damage}; {remedy}"
    again = open_store(sources, 16000, tmp_path / "cache")
    assert caplog.messages == [f"{store.folder} is damaged ({damage}): deleted, and built again"]
    assert contents(again) == expected
    assert len(again[2]) == store.lengths[2]


def test_a_store_that_changes_while_it_is_used_is_found_and_one_that_is_touched_is_not(
    sources, tmp_path
):
    store = open_store(sources, 16000, tmp_path / "cache")
    wanted = [store[row].copy() for row in range(4)]
    os.utime(store.folder / SAMPLES, ns=(1, 1))
    assert all(np.array_equal(store[row], wanted[row]) for row in range(4))
    flip_in(store, 2)
    # a clock of few ticks a second would show the same time
    os.utime(store.folder / SAMPLES, ns=(2, 2))
    assert len(store[1]) == store.lengths[1]
    with pytest.raises(
        UserError, match="the samples of clip 2 do not match their checksum; the next run builds it"
    ):
        store[2]


def test_damage_in_a_read_only_cache_is_named_with_a_remedy(sources, tmp_path, monkeypatch):
    store = open_store(sources, 16000, tmp_path / "cache")
    flip(store.folder / "waveforms.f32")
    opened = WaveformStore(store.folder)

    def never(*given, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", never)
    with pytest.raises(UserError) as error:
        list(opened)
    assert str(error.value).startswith(f"{store.folder}: the samples of clip ")
    assert str(error.value).endswith("; delete that folder, or set audio.cache_dir to another one")


def test_few_long_recordings_are_decoded_at_once(sources, tmp_path, monkeypatch):
    """The clips that wait for the writer are bounded by their size in memory, for any number of
    threads.
    """
    monkeypatch.setattr("ser_hf.audio.build_store._SMALL_BYTES", 1)
    held = 8 * soundfile.info(sources[0]["path"]).frames
    monkeypatch.setattr("ser_hf.audio.build_store._AHEAD_BYTES", 1.5 * held)
    begun = []
    ahead = []
    decode = building.decode
    append = building.append
    monkeypatch.setattr(building, "decode", lambda *given: begun.append(1) or decode(*given))
    monkeypatch.setattr(
        building, "append", lambda *given: (ahead.append(len(begun) - len(ahead)), append(*given))
    )
    open_store(sources[:1] * 6, 16000, tmp_path / "cache", workers=4)
    assert len(ahead) == 6
    assert max(ahead) <= 2


def test_a_pickled_store_carries_no_samples(sources, tmp_path):
    store = open_store(sources * 10, 16000, tmp_path / "cache")
    store[0]  # maps the file
    pickled = pickle.dumps(store)
    assert len(pickled) < store.lengths.sum() * 4 / 50
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy[5], store[5])
    assert copy.content_hashes == store.content_hashes


def test_two_processes_build_the_same_store_once(sources, tmp_path):
    arguments = (sources * 10, 16000, tmp_path / "cache")
    for process in [started(open_store, *arguments) for _ in range(2)]:
        assert process.ended()[0] == 0
    first = open_store(*arguments)
    assert folders(tmp_path / "cache") == [first.folder.name]
    alone = open_store(arguments[0], 16000, tmp_path / "alone")
    for row in range(40):
        np.testing.assert_allclose(first[row], alone[row], rtol=1e-5, atol=1e-6)


def test_preparing_fills_durations_and_hashes_and_keeps_the_rest(sources, tmp_path, caplog):
    clips = [Clip(source["path"], "sad", "x:1", f"x/{i}") for i, source in enumerate(sources)]
    dataset = to_dataset(Listing("x", clips), ["sad"] * 4, ["sad", "angry"], 16000)
    with caplog.at_level(logging.INFO, "ser_hf"):
        prepared, store = prepare(dataset, 16000, tmp_path / "cache")
    assert prepared.features == dataset.features
    assert prepared.column_names == dataset.column_names
    assert prepared["content_hash"][:] == store.content_hashes
    np.testing.assert_allclose(prepared["duration"][:], store.durations, rtol=1e-6)
    assert prepared["id"][:] == dataset["id"][:]
    assert prepared["audio"][:] == dataset["audio"][:]
    assert "1 clips with several channels" in caplog.text
    assert "x/2" in caplog.text


# Preparations

EVERYTHING = Preparation(trim_silence=30, level="peak", fixed_duration=0.6)


@pytest.fixture
def padded(tmp_path):
    """Three clips of 0.5, 0.6 and 0.7 s of noise, with half a second of silence before each but the
    first.
    """
    generator = np.random.default_rng(0)
    for i in range(3):
        noise = 0.1 * generator.standard_normal(8000 + 1600 * i)
        soundfile.write(tmp_path / f"{i}.wav", np.pad(noise, (8000 * (i > 0), 0)), 16000)
    return [{"path": str(tmp_path / f"{i}.wav"), "bytes": None} for i in range(3)]


@pytest.mark.parametrize("sampling_rate", [16000, 8000])
@pytest.mark.parametrize(
    "preparation", [EVERYTHING, Preparation(trim_silence=20), Preparation(level="loudness")]
)
def test_the_store_has_the_prepared_clips(padded, tmp_path, sampling_rate, preparation):
    plain = open_store(padded, sampling_rate, tmp_path / "cache")
    store = open_store(padded, sampling_rate, tmp_path / "cache", preparation=preparation)
    for row in range(3):
        prepared = prepare_waveform(plain[row], sampling_rate, preparation)
        np.testing.assert_allclose(store[row], prepared, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(store[2], plain[2])
    assert store.content_hashes == plain.content_hashes
    np.testing.assert_array_equal(store.durations, plain.durations)
    np.testing.assert_array_equal(store.source_lengths, plain.lengths)
    assert store.lengths.tolist() == [len(store[row]) for row in range(3)]


def test_each_preparation_makes_another_store(padded, tmp_path):
    levels = [
        Preparation(level="peak"),
        Preparation(level="loudness"),
        Preparation(level="peak", target_level=-2),
    ]
    others = [
        Preparation(20),
        Preparation(30),
        Preparation(fixed_duration=1),
        Preparation(fixed_duration=2),
    ]
    kinds = [None, EVERYTHING, *levels, *others]
    stores = [open_store(padded, 16000, tmp_path / "cache", preparation=kind) for kind in kinds]
    assert len({store.folder for store in stores}) == len(kinds)
    same = open_store(padded, 16000, tmp_path / "cache", preparation=Preparation())
    assert same.folder == stores[0].folder
    explicit = open_store(
        padded, 16000, tmp_path / "cache", preparation=Preparation(None, "peak", -1.0)
    )
    assert explicit.folder == stores[2].folder

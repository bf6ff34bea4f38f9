"""The waveform store: decoded once, equal to the decoder bit for bit, whole or not there at all."""

import logging
import multiprocessing
import os
import pickle

import numpy as np
import pytest
import soundfile

from ser_hf.audio import AudioError, decode, open_store, prepare
from ser_hf.audio.decode import honest_suffix
from ser_hf.corpora.schema import Clip, Listing, to_dataset

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


def test_it_holds_what_the_decoder_gives(sources, tmp_path):
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
    assert store.source_rates.tolist() == RATES
    assert store.channels.tolist() == [1, 1, 2, 1]


def test_rows_count_as_in_any_sequence(sources, tmp_path):
    store = open_store(sources, 16000, tmp_path / "cache")
    np.testing.assert_array_equal(store[-1], store[3])
    np.testing.assert_array_equal(store[np.int64(2)], store[2])
    assert [len(samples) for samples in store] == store.lengths.tolist()
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            store[beyond]


def test_waveforms_cannot_be_written_to(sources, tmp_path):
    store = open_store(sources, 16000, tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1.0


def test_a_second_opening_decodes_nothing(sources, tmp_path, monkeypatch):
    first = open_store(sources, 16000, tmp_path / "cache")

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("ser_hf.audio.store.decode", never)
    second = open_store(sources, 16000, tmp_path / "cache")
    assert second.folder == first.folder
    assert second.content_hashes == first.content_hashes


def test_a_changed_file_makes_another_store(sources, tmp_path):
    first = open_store(sources, 16000, tmp_path / "cache")
    samples, rate = soundfile.read(sources[1]["path"])
    soundfile.write(sources[1]["path"], -samples, rate)
    stat = os.stat(sources[1]["path"])
    os.utime(sources[1]["path"], ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))  # however coarse the clock is
    second = open_store(sources, 16000, tmp_path / "cache")
    assert second.folder != first.folder
    np.testing.assert_allclose(second[1], -first[1], atol=1e-4)
    np.testing.assert_array_equal(second[0], first[0])


def test_another_rate_or_order_makes_another_store(sources, tmp_path):
    kinds = [(sources, 16000), (sources, 8000), (sources[::-1], 16000), (sources[:3], 16000)]
    assert len({open_store(rows, rate, tmp_path / "cache").folder for rows, rate in kinds}) == 4


def test_rows_may_carry_bytes(sources, tmp_path, monkeypatch):
    from_files = open_store(sources, 16000, tmp_path / "cache")
    packed = []
    for source in sources:
        with open(source["path"], "rb") as file:
            packed.append({"path": None, "bytes": file.read()})
    from_bytes = open_store(packed, 16000, tmp_path / "cache")
    assert from_bytes.content_hashes == from_files.content_hashes
    assert open_store(packed, 16000, tmp_path / "cache").folder == from_bytes.folder


def test_any_number_of_workers_gives_the_same_store(sources, tmp_path):
    many = sources * 10  # more clips than one worker may hold in flight
    stores = [open_store(many, 16000, tmp_path / f"cache{workers}", workers) for workers in (1, 2, 5)]
    for name in ("waveforms.f32", "index.npz"):
        assert len({(store.folder / name).read_bytes() for store in stores}) == 1


def test_it_is_found_where_the_environment_says(sources, private_cache):
    assert private_cache in open_store(sources, 16000).folder.parents


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


def test_a_missing_file_is_named(sources, tmp_path):
    os.remove(sources[3]["path"])
    with pytest.raises(AudioError, match=r"3\.wav: no such file"):
        open_store(sources, 16000, tmp_path / "cache")


def test_a_build_that_was_cut_off_is_built_anew(sources, tmp_path):
    store = open_store(sources, 16000, tmp_path / "cache")
    wanted = (store.folder / "waveforms.f32").read_bytes()
    store.folder.rename(store.folder.with_name(store.folder.name + ".partial"))
    store.folder.with_name(store.folder.name + ".partial").joinpath("waveforms.f32").write_bytes(wanted[:100])
    again = open_store(sources, 16000, tmp_path / "cache")
    assert (again.folder / "waveforms.f32").read_bytes() == wanted
    assert folders(tmp_path / "cache") == [store.folder.name]


def test_a_pickled_store_carries_no_samples(sources, tmp_path):
    store = open_store(sources * 10, 16000, tmp_path / "cache")
    store[0]  # maps the file
    pickled = pickle.dumps(store)
    assert len(pickled) < store.lengths.sum() * 4 / 50
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy[5], store[5])
    assert copy.content_hashes == store.content_hashes


def test_two_processes_that_want_the_same_store_end_with_one(sources, tmp_path):
    arguments = (sources * 10, 16000, tmp_path / "cache")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.starmap(open_store, [arguments, arguments], chunksize=1)
    assert first.folder == second.folder
    assert folders(tmp_path / "cache") == [first.folder.name]
    alone = open_store(arguments[0], 16000, tmp_path / "alone")
    for row in range(40):
        np.testing.assert_array_equal(first[row], alone[row])


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
    assert "16000 Hz: 2, 22050 Hz: 1, 48000 Hz: 1" in caplog.text


def test_a_suffix_of_another_format_is_told_and_read_all_the_same(tmp_path, caplog):
    path = tmp_path / "really_flac.wav"
    soundfile.write(path, np.zeros(160), 16000, format="FLAC")
    dataset = to_dataset(Listing("x", [Clip(str(path), "sad", "x:1", "x/1")]), ["sad"], ["sad", "angry"], 16000)
    _, store = prepare(dataset, 16000, tmp_path / "cache")
    assert store.formats == ["FLAC"]
    assert f"1 files whose suffix belongs to another format, read all the same ({path} is FLAC)" in caplog.text


@pytest.mark.parametrize(
    ("name", "format", "honest"),
    [("a.wav", "WAV", True), ("a.WAV", "WAVEX", True), ("a.mp3", "WAV", False), ("a.w", "W64", True)],
)
def test_what_a_suffix_may_say(name, format, honest):
    assert honest_suffix(name, format) is honest

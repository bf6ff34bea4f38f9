"""Audio in columns of datasets: embedded files, and arrays of samples."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from ser_hf.audio import prepare
from ser_hf.audio.decode import AudioError
from ser_hf.corpora import load_corpus
from ser_hf.inspection import inspect_corpus
from ser_hf.utils.errors import UserError

RATE = 16000
SPEAKERS = ["anna", "ben", "cleo", "dora"]
LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path / "cache"))


def tone(number):
    return 0.5 * np.sin(np.arange(4000) * (0.05 + 0.01 * number))


def write(folder, audio, **columns):
    """A dataset of one Parquet file, whose column of audio has these cells."""
    folder.mkdir(exist_ok=True)
    count = len(audio)
    data = {"audio": audio, "label": LABELS[:count], "speaker": SPEAKERS[:count]} | columns
    pq.write_table(pa.table(data), folder / "train.parquet")
    return folder


def encoded(samples, audio_format="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=audio_format)
    return file.getvalue()


def read(folder, **settings):
    dataset, store = prepare(load_corpus("hub", folder, **settings), RATE)
    return {clip_id: store[i] for i, clip_id in enumerate(dataset["id"])}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32])
def test_arrays_of_samples_are_read(tmp_path, kind):
    scale = 1 if np.issubdtype(kind, np.floating) else np.iinfo(kind).max
    arrays = [(tone(number) * scale).astype(kind) for number in range(4)]
    cells = pa.StructArray.from_arrays(
        [pa.array(arrays, pa.list_(pa.from_numpy_dtype(kind))), pa.array([RATE] * 4)],
        ["array", "sampling_rate"],
    )
    clips = read(write(tmp_path / "data", cells))
    assert len(clips) == 4
    for number, samples in enumerate(clips.values()):
        np.testing.assert_allclose(samples, tone(number), atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_arrays_of_channels_are_mixed(tmp_path, transposed):
    channels = np.stack([tone(0), tone(0) / 2])
    channels = channels.T if transposed else channels
    cells = [{"array": channels.tolist(), "sampling_rate": RATE}] * 2
    (first, _) = read(write(tmp_path / "data", cells)).values()
    np.testing.assert_allclose(first, 0.75 * tone(0), atol=1e-6)


# The cell of the second row, and what the message says about it.
WRONG_CELLS = {
    "no samples": ({"array": [], "sampling_rate": RATE}, "row 1: no embedded audio"),
    "no array": ({"array": None, "sampling_rate": RATE}, "row 1: no embedded audio"),
    "nothing": (None, "row 1: no embedded audio"),
    "no rate": ({"array": [0.1], "sampling_rate": None}, "row 1: its sampling_rate is None"),
    "no possible rate": ({"array": [0.1], "sampling_rate": 0}, "row 1: its sampling_rate is 0"),
    "integers": ({"array": [0.0, 20_000.0], "sampling_rate": RATE}, "row 1 .*: samples up to"),
}


@pytest.mark.parametrize("name", WRONG_CELLS)
def test_a_row_without_usable_samples_is_named(tmp_path, name):
    cell, message = WRONG_CELLS[name]
    good = [{"array": tone(number).tolist(), "sampling_rate": RATE} for number in range(2)]
    cells = [good[0], cell, good[1]]
    folder = write(tmp_path / "data", cells)
    with pytest.raises(UserError, match=message):
        read(folder)
    if "samples up to" not in message:
        assert len(read(folder, on_unknown="skip")) == 2


@pytest.mark.parametrize(
    "values", [[["a"], ["b"]], [[[[0.1]]], [[[0.2]]]], [[1, 2], [3, 4]], [[True], [False]]]
)
def test_arrays_that_hold_no_samples_are_refused(tmp_path, values):
    cells = [{"array": value, "sampling_rate": RATE} for value in values]
    with pytest.raises(UserError, match=r"^corpus\.audio: .*arrays of"):
        read(write(tmp_path / "data", cells))


def test_channels_of_different_lengths_are_named(tmp_path):
    cells = [{"array": [[0.1, 0.2], [0.3]], "sampling_rate": RATE}]
    with pytest.raises(UserError, match="row 0 .* different lengths"):
        read(write(tmp_path / "data", cells))


@pytest.mark.parametrize("column", [[1, 2], [[0.1], [0.2]], [{"array": [0.1]}] * 2])
def test_a_column_without_audio_is_named(tmp_path, column):
    with pytest.raises(UserError, match=r"^corpus\.audio: the column 'audio' holds .*not audio"):
        read(write(tmp_path / "data", column))


@pytest.fixture
def with_bad_row(tmp_path):
    """A dataset whose second row is a recording in a format that libsndfile does not read."""
    header = b"\x00\x00\x00\x20ftypM4A " + bytes(20)
    m4a = header + b"\x00\x00\x08\x08mdat" + bytes(range(256)) * 8
    contents = [encoded(tone(0)), m4a, encoded(tone(2)), encoded(tone(3))]
    cells = [
        {"bytes": content, "path": f"clip_{number}.wav"} for number, content in enumerate(contents)
    ]
    return write(tmp_path / "data", cells)


def test_a_row_that_cannot_be_decoded_is_named_with_its_id(with_bad_row, tmp_path):
    message = (
        r"^data_train, row 1 \(hub/clip_1\): not readable as audio .*; correct it in the dataset, "
        r"or leave it out with corpus\.exclude: \[hub/clip_1\]"
    )
    with pytest.raises(AudioError, match=message):
        read(with_bad_row)
    assert set(read(with_bad_row, exclude=["hub/clip_1"])) == {
        "hub/clip_0",
        "hub/clip_2",
        "hub/clip_3",
    }


def test_an_unpacked_file_that_was_removed_is_unpacked_again(with_bad_row, tmp_path):
    settings = {"exclude": ["hub/clip_1"]}
    assert len(read(with_bad_row, **settings)) == 3
    for file in (tmp_path / "cache" / "unpacked").rglob("row_0000002.*"):
        file.unlink()
    assert len(read(with_bad_row, **settings)) == 3


def test_an_inspection_names_the_row_that_cannot_be_decoded(with_bad_row):
    (bad,) = [file for file in inspect_corpus("hub", with_bad_row).files if file.measured.error]
    assert "correct row 1 of the dataset" in bad.measured.error

"""Files of datasets are bounded, have a format with audio, and are those of the dataset."""

import gzip
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from ser_hf.corpora import load_corpus
from ser_hf.utils.errors import UserError


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")


@pytest.fixture
def parquet():
    """The content of a Parquet file with two clips."""
    file = io.BytesIO()
    soundfile.write(file, 0.5 * np.sin(np.arange(4000) / 9), 16000, format="WAV")
    cells = [{"bytes": file.getvalue(), "path": f"{name}.wav"} for name in "ab"]
    data = {"audio": cells, "label": ["angry", "sad"], "speaker": ["anna", "ben"]}
    pq.write_table(pa.table(data), written := io.BytesIO())
    return written.getvalue()


@pytest.fixture
def folder(tmp_path, parquet):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(parquet)
    return folder


def test_a_folder_and_a_file_are_read(folder):
    for root in (folder, folder / "train.parquet"):
        assert load_corpus("hub", root)["id"] == ["hub/a", "hub/b"]


def test_a_zip_within_bounds_is_read(folder, parquet):
    (folder / "train.parquet").unlink()
    with zipfile.ZipFile(folder / "train.zip", "w") as archive:
        archive.writestr("train.parquet", parquet)
    with pytest.raises(UserError):  # datasets reads no zip of Parquet files
        load_corpus("hub", folder)


@pytest.mark.parametrize("name", ["data.zip", "data.csv.gz", "data.csv", "data.jsonl"])
def test_a_file_that_unpacks_to_too_much_is_refused(folder, name):
    (folder / "train.parquet").unlink()
    table = b"path,label,speaker\n" + b"a.wav,angry,s\n" * 5_000_000
    if name.endswith("zip"):
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.csv", table)
    else:
        (folder / name).write_bytes(gzip.compress(table))
    with pytest.raises(UserError, match="unpack to more than"):
        load_corpus("hub", folder)


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret.csv", "{parent}/secret.csv"])
def test_a_card_cannot_name_files_outside_of_the_dataset(folder, place):
    (folder.parent / "secret.csv").write_text("audio,label,speaker\nx,angry,anna\n")
    path = place.format(parent=folder.parent)
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        f"    path: {path}\n---\n"
    )
    with pytest.raises(UserError, match=r"outside of the dataset|cannot be loaded"):
        load_corpus("hub", folder)


def test_a_format_without_audio_is_named(folder):
    (folder / "train.parquet").unlink()
    (folder / "data.txt").write_text("hello\n")
    with pytest.raises(UserError, match="have the format text; audio is read from parquet"):
        load_corpus("hub", folder)

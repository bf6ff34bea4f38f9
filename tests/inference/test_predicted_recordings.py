"""The recordings of paths and data sets, and their ids."""

import os
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset

from ser_hf import UserError
from ser_hf.inference.inputs import Recording, from_dataset, from_paths, read_chunks
from ser_hf.models.preparation import Preparation


@pytest.fixture
def folder(tmp_path):
    """Empty files: nothing is decoded here."""
    for name in ("b.wav", "a/2.flac", "a/1.mp3", "a/.hidden.wav", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_lists_its_audio_files_by_name(folder):
    own = from_paths([folder / "b.wav", folder / "a", str(folder)])
    names = ["b.wav", "a/1.mp3", "a/2.flac"]
    assert [recording.id for recording in own] == [(folder / name).as_posix() for name in names]
    assert own[0] == Recording((folder / "b.wav").as_posix(), str(folder / "b.wav"))


def test_undecodable_files_of_a_folder_are_named_when_read(folder):
    (folder / "a/0.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    (folder / "d.wav").symlink_to("gone.wav")
    os.mkfifo(folder / "pipe.wav")
    reasons = {}
    found = from_paths([folder])

    def skip(recording, reason):
        reasons[Path(recording.id).name] = reason

    assert not list(read_chunks(found, 16000, Preparation(), skip))
    assert list(reasons) == ["0.m4a", "1.mp3", "2.flac", "b.wav", "d.wav"], (
        "opening a pipe would wait"
    )
    assert "0.m4a: .m4a is not supported; convert it: ffmpeg -i" in reasons["0.m4a"]
    assert "d.wav: no such file" in reasons["d.wav"]


def test_a_folder_without_permission_is_named(folder, monkeypatch):
    def walk(root, refuse):
        refuse(PermissionError(13, "Permission denied", str(folder / "a")))
        yield

    monkeypatch.setattr("ser_hf.inference.inputs.folders_below", walk)
    with pytest.raises(UserError, match=r"/a: cannot be read \(Permission denied\)"):
        from_paths([folder])


def test_a_file_is_listed_once_for_all_its_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "link.wav").symlink_to("b.wav")
    (folder / "again").symlink_to("a", target_is_directory=True)
    own = from_paths(
        ["a", "b.wav", folder / "b.wav", "./b.wav", "link.wav", "again", folder, "again/1.mp3"]
    )
    assert [recording.id for recording in own] == ["a/1.mp3", "a/2.flac", "b.wav"]


def test_a_missing_path_is_refused(folder):
    (folder / "c").mkdir()
    os.mkfifo(folder / "pipe.wav")
    for name, message in [
        ("nothing", "nothing: no such file or folder"),
        ("c", "c: holds no audio file"),
        ("pipe.wav", "pipe.wav: not a regular file; save it as one"),
    ]:
        with pytest.raises(UserError, match=message):
            from_paths([folder / name])


def test_the_rows_of_a_dataset_keep_labels_and_speakers():
    files = [
        {"path": "x.wav", "bytes": None},
        {"path": None, "bytes": b"RIFF"},
        {"path": "y.wav", "bytes": None},
    ]
    known = {"label": [1, None, -1], "speaker": [7, None, None], "other": [1, 2, 3]}
    dataset = Dataset.from_dict({"audio": files, **known})
    named = list(from_dataset(dataset.cast_column("label", ClassLabel(names=["angry", "sad"]))))
    assert named[0] == Recording("x.wav", "x.wav", "sad", "7")
    assert named[1] == Recording("row 1", "row 1", None, None, b"RIFF")
    assert named[2] == Recording("y.wav", "y.wav")
    assert next(from_dataset(dataset)).label == "1"
    with pytest.raises(
        UserError, match=r"the dataset has no column audio \(it has label, speaker, other\)"
    ):
        from_dataset(dataset.remove_columns("audio"))


def test_the_rows_of_a_dataset_have_an_id_each():
    files = [
        {"path": "x.wav", "bytes": b"1"},
        {"path": "x.wav", "bytes": b"2"},
        {"path": None, "bytes": None},
    ]
    dataset = Dataset.from_dict({"audio": files})
    own = list(from_dataset(dataset))
    assert [recording.id for recording in own] == ["x.wav", "x.wav (row 1)", "row 2"]
    named = dataset.add_column("id", ["one", None, None])
    assert [recording.id for recording in from_dataset(named)] == ["one", "x.wav (row 1)", "row 2"]
    with pytest.raises(UserError, match="inputs: 2 rows of the dataset have the id 'one'"):
        from_dataset(dataset.add_column("id", ["one", "one", None]))

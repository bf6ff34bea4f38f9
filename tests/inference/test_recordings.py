"""The recordings of paths, tables and data sets, and their ids."""

import os

import pytest
from datasets import ClassLabel, Dataset

from ser_hf import UserError
from ser_hf.inference.recordings import Recording, from_dataset, from_paths


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


def test_a_folder_without_permission_is_named(folder, monkeypatch):
    def walk(root, refuse):
        refuse(PermissionError(13, "Permission denied", str(folder / "a")))
        yield

    monkeypatch.setattr("ser_hf.inference.recordings.folders_below", walk)
    with pytest.raises(UserError, match=r"/a: .*Permission denied"):
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
        ("nothing", "nothing: no such file"),
        ("c", "c: holds no audio file"),
        ("pipe.wav", "pipe.wav: not a regular file"),
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
    with pytest.raises(UserError, match=r"audio \(it has label, speaker, other\)"):
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
    with pytest.raises(UserError, match="^inputs: .*'one'"):
        from_dataset(dataset.add_column("id", ["one", "one", None]))


def read(folder, *lines):
    table = folder / "list.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return from_paths([table])


def test_a_table_lists_files_with_labels_and_speakers(folder):
    table = folder / "a" / "list.csv"
    table.write_text(
        "file_name,label,id,speaker,age\n2.flac,joy,two,anna,7\n../b.wav,,,,\n", encoding="utf-8"
    )
    first, second = from_paths([table])
    assert first == Recording("two", str(folder / "a" / "2.flac"), "joy", "anna")
    assert second == Recording((folder / "b.wav").as_posix(), str(folder / "b.wav"))
    assert from_paths([table, folder / "b.wav", folder / "a" / "2.flac"]) == [first, second]
    assert from_paths([folder / "b.wav", table]) == [second, first]


def test_rows_of_one_recording_agree_or_have_an_id_each(folder):
    assert len(read(folder, "path,label", "b.wav,happy", "./b.wav,happy")) == 1
    assert len(read(folder, "path,label,id", "b.wav,happy,x", "b.wav,sad,y")) == 2
    for lines in [
        ("path,label", "b.wav,happy", "b.wav,sad"),
        ("path,label,id", "b.wav,happy,x", "b.wav,sad,x"),
        ("path,speaker", "b.wav,max", "b.wav,anna"),
    ]:
        with pytest.raises(UserError, match=r"list\.csv, line 3: .* is listed twice"):
            read(folder, *lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "file,label\nb.wav,joy\n",
            "list.tsv: has no column path or file_name; there are file, label; name the one",
        ),
        ("path,label\n", "list.tsv: lists no recording"),
        ("path,id\nb.wav,x\na/1.mp3,x\n", "line 3: x "),
        ("path\na\x00.wav\n", "line 2: .*NUL"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content, message, folder):
    table = folder / "list.tsv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        from_paths([table])

"""Which recordings a user's paths and datasets lead to, and under which ids."""

import pytest
from datasets import ClassLabel, Dataset

from ser_hf import UserError
from ser_hf.prediction.recordings import Recording, from_dataset, from_paths


@pytest.fixture
def folder(tmp_path):
    """Empty files: nothing is decoded here."""
    for name in ("b.wav", "a/2.flac", "a/1.mp3", "a/.hidden.wav", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_its_audio_files_by_name_and_a_file_is_itself(folder):
    own = from_paths([folder / "b.wav", folder / "a", str(folder)])
    names = ["b.wav", "a/1.mp3", "a/2.flac"]
    assert [recording.id for recording in own] == [(folder / name).as_posix() for name in names]
    assert own[0] == Recording((folder / "b.wav").as_posix(), str(folder / "b.wav"))


def test_a_table_names_files_and_what_is_known_of_them(folder):
    table = folder / "a" / "list.csv"
    table.write_text("file_name,label,id,speaker,age\n2.flac,joy,two,anna,7\n../b.wav,,,,\n", encoding="utf-8")
    first, second = from_paths([table])
    assert first == Recording("two", str(folder / "a" / "2.flac"), "joy", "anna")
    assert second == Recording((folder / "b.wav").as_posix(), str(folder / "b.wav"))
    assert from_paths([table, folder / "b.wav"]) == [first, second]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("file,label\nb.wav,joy\n", "list.tsv: has no column path or file_name; there are file, label"),
        ("", "list.tsv: has no column path or file_name; there are none"),
        ("path,label\n", "list.tsv: lists no recording"),
        ("path,label\nb.wav,joy\n,joy\n", "list.tsv, line 3: the cell of 'path' is empty"),
        ("path,id\nb.wav,x\na/1.mp3,x\n", "1.mp3: its id x is that of .*b.wav too"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(content, told, folder):
    table = folder / "list.tsv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        from_paths([table])


def test_what_leads_nowhere_is_told(folder):
    with pytest.raises(UserError, match="nothing: no such file or folder"):
        from_paths([folder / "nothing"])
    (folder / "c").mkdir()
    with pytest.raises(UserError, match="c: holds no audio file"):
        from_paths([folder / "c"])


def test_the_rows_of_a_dataset_keep_what_is_known_of_them():
    dataset = Dataset.from_dict(
        {
            "audio": [
                {"path": "x.wav", "bytes": None},
                {"path": None, "bytes": b"RIFF"},
                {"path": "y.wav", "bytes": None},
            ],
            "label": [1, None, -1],
            "speaker": [7, None, None],
            "other": [1, 2, 3],
        }
    )
    named = list(from_dataset(dataset.cast_column("label", ClassLabel(names=["angry", "sad"]))))
    assert named[0] == Recording("x.wav", "x.wav", "sad", "7")
    assert named[1] == Recording("row 1", "row 1", None, None, b"RIFF")
    assert named[2] == Recording("y.wav", "y.wav")
    assert next(from_dataset(dataset)).label == "1"
    with pytest.raises(UserError, match=r"a dataset without a column audio \(label, speaker, other\)"):
        next(from_dataset(dataset.remove_columns("audio")))

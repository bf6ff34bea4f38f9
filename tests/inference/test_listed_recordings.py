"""Tables that list recordings: their columns, and rows of the same recording."""

import pytest

from ser_hf import UserError
from ser_hf.inference.inputs import Recording, from_paths


@pytest.fixture
def folder(tmp_path):
    """Empty files: nothing is decoded here."""
    for name in ("b.wav", "a/2.flac", "a/1.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


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
        with pytest.raises(
            UserError, match="list.csv, line 3: .* is listed twice, as another file or with another"
        ):
            read(folder, *lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "file,label\nb.wav,joy\n",
            "list.tsv: has no column path or file_name; there are file, label; name the one",
        ),
        ("path,label\n", "list.tsv: lists no recording"),
        ("path,id\nb.wav,x\na/1.mp3,x\n", "line 3: x is listed twice"),
        ("path\na\x00.wav\n", "line 2: a path with a NUL character"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content, message, folder):
    table = folder / "list.tsv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        from_paths([table])

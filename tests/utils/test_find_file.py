"""Files are found in another Unicode form, and similar names are named."""

import unicodedata

from ser_hf.utils.find_file import FileFinder


def test_a_file_is_found_in_another_unicode_form(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Grüße")
    (tmp_path / decomposed).mkdir()
    file = tmp_path / decomposed / unicodedata.normalize("NFD", "jürgen.wav")
    file.write_bytes(b"")
    finder = FileFinder()
    for folder in ("Grüße", decomposed):
        assert finder.find(tmp_path / folder / "jürgen.wav") == file
    absent = tmp_path / "Grüße" / "änne.wav"
    assert finder.find(absent) == absent


def test_backslashes_are_separators_unless_they_belong_to_the_name(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").write_bytes(b"")
    (tmp_path / "audio\\b.wav").write_bytes(b"")
    finder = FileFinder()
    assert finder.find(tmp_path / "audio\\a.wav") == tmp_path / "audio" / "a.wav"
    assert finder.find(tmp_path / "audio\\b.wav") == tmp_path / "audio\\b.wav"


def test_a_name_in_another_case_is_named_and_not_used(tmp_path):
    (tmp_path / "A 01.WAV").write_bytes(b"")
    finder = FileFinder()
    path = tmp_path / "a 01.wav"
    assert finder.find(path) == path
    assert finder.similar(path) == "A 01.WAV"
    assert finder.similar(tmp_path / "b.wav") is None
    assert finder.similar(tmp_path / "missing" / "b.wav") is None


def test_folders_in_another_case_are_named(tmp_path):
    (tmp_path / "audio" / "Anna").mkdir(parents=True)
    (tmp_path / "audio" / "Anna" / "a.wav").write_bytes(b"")
    finder = FileFinder()
    assert finder.similar(tmp_path / "Audio" / "Anna" / "a.WAV") == "audio/Anna/a.wav"
    assert finder.similar(tmp_path / "audio\\anna\\a.wav") == "Anna/a.wav"
    assert finder.similar(tmp_path / "audio" / "anna") is None

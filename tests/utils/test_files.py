"""Folders and files that are written completely or not at all, and files of any origin."""

import errno
import os

import pytest
from pydantic import BaseModel, ValidationError

from ser_hf.utils.errors import UserError
from ser_hf.utils.files import (
    atomic_folder,
    first_problem,
    folders_below,
    packaged,
    parse_json,
    read_json,
    replace_text,
    require_utf8,
    write_json,
)


def _filled(folder, text):
    with atomic_folder(folder) as partial:
        (partial / "a.txt").write_text(text)


def test_a_folder_appears_complete_and_replaces_the_old_one(tmp_path):
    folder = tmp_path / "deep" / "out"
    _filled(folder, "one")
    _filled(folder, "two")
    assert (folder / "a.txt").read_text() == "two"
    assert [child.name for child in folder.parent.iterdir()] == ["out"]


def _interrupted(folder):
    with atomic_folder(folder) as partial:
        (partial / "a.txt").write_text("half")
        raise KeyError


def test_a_failure_leaves_the_old_one(tmp_path):
    folder = tmp_path / "out"
    _filled(folder, "one")
    with pytest.raises(KeyError):
        _interrupted(folder)
    assert (folder / "a.txt").read_text() == "one"
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_created_names_its_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^output_dir: .*file/out .*File exists"):
        _filled(tmp_path / "file" / "out", "one")


def test_a_new_folder_that_cannot_be_renamed_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    _filled(folder, "one")

    def refuse(self, target):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(self))

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(UserError, match=r"Directory not empty.*out\.partial"):
        _filled(folder, "two")
    assert (tmp_path / "out.partial" / "a.txt").read_text() == "two"
    assert (folder / "a.txt").read_text() == "one"


def test_two_processes_do_not_fill_one_folder_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("ser_hf.utils.files._PATIENCE", 0)
    folder = tmp_path / "out"
    with atomic_folder(folder) as partial:
        with pytest.raises(UserError, match="^output_dir: .*/out is in use by process .*; wait"):
            _filled(folder, "second")
        (partial / "a.txt").write_text("first")
    assert (folder / "a.txt").read_text() == "first"
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_an_error(tmp_path):
    def fill(partial):
        (partial / "weights").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    message = rf"^--output: {tmp_path}/a cannot be written: No space left .*; make room there"
    with (
        pytest.raises(UserError, match=message),
        atomic_folder(tmp_path / "a", "--output") as partial,
    ):
        fill(partial)
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_replaced_without_traces(tmp_path):
    path = tmp_path / "a.txt"
    replace_text(path, "old")
    replace_text(path, "näw")
    assert path.read_text(encoding="utf-8") == "näw"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_written_and_read_back(tmp_path):
    path = tmp_path / "a.json"
    value = {"name": "Zoë", "scores": [0.5, 1, None, True]}
    write_json(path, value)
    assert read_json(path) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "property name"),
        ("", "Expecting value"),
        ("[NaN]", "not finite"),
        ("1e999", "not finite"),
        (str(2**63), "64 bits"),
        ("[" * 40 + "]" * 40, "32 levels"),
        ("[" * 100_000, ""),
    ],
)
def test_json_that_is_damaged_or_extreme_is_refused(tmp_path, text, problem):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"a\.json: cannot be read as JSON: .*{problem}"):
        read_json(path)


def test_a_large_json_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1, 2, 3]")
    assert read_json(path, most=9) == [1, 2, 3]
    with pytest.raises(UserError, match="larger than"):
        read_json(path, most=8)


def test_texts_of_json_files_are_printable(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(r'{"a\u001b": ["b\u0007c"]}')
    assert read_json(path) == {"a ": ["b c"]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="/pipe: "):
        read_json(tmp_path / "pipe")


def test_half_a_character_in_a_json_text_is_refused():
    assert parse_json(r'"\ud83d\ude00"', "a.csv, line 2") == "😀"
    for text in (r'"\ud83d"', "{", "[" * 100_000):
        with pytest.raises(UserError, match="^a.csv, line 2: not valid JSON"):
            parse_json(text, "a.csv, line 2")


def test_folders_are_walked_in_order_once_and_without_hidden_ones(tmp_path):
    for name in ("b/deep/2.wav", "a/1.wav", "a/._1.wav", ".hidden/3.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "b" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert list(folders_below(tmp_path, pytest.fail)) == [
        (str(tmp_path), []),
        (str(tmp_path / "a"), ["1.wav"]),
        (str(tmp_path / "b"), []),
        (str(tmp_path / "b" / "deep"), ["2.wav"]),
    ]


def test_a_folder_that_is_missing_is_reported(tmp_path):
    errors = []
    assert list(folders_below(tmp_path / "missing", errors.append)) == []
    assert isinstance(errors[0], FileNotFoundError)


def test_a_path_with_bytes_that_are_not_utf8_is_refused():
    require_utf8("grüße.wav")
    with pytest.raises(UserError, match=r"gr\\xfc\.wav: its path is not UTF-8"):
        require_utf8(os.fsdecode(b"gr\xfc.wav"))


def test_the_first_problem_of_a_model_names_its_key():
    class Inner(BaseModel):
        number: int

    class Outer(BaseModel):
        inner: Inner

    with pytest.raises(ValidationError) as error:
        Outer.model_validate({"inner": {"number": "x"}})
    assert first_problem(error.value).startswith("inner.number: ")
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(1)
    assert first_problem(error.value).startswith("the file: ")


def test_recipes_and_cards_are_in_the_checkout_or_the_wheel():
    for name in ("recipes", "hub_cards"):
        assert packaged(name).is_dir()

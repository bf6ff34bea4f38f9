"""Git LFS pointers, and formats that are not supported."""

from pathlib import Path

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.recordings import conversion_advice, is_lfs_pointer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (POINTER, True),
        (b"", False),
        (b"RIFF" + POINTER, False),
        (POINTER + bytes(2000), False),  # pointers are short
    ],
)
def test_a_pointer_is_a_short_text_that_starts_as_git_lfs_says(tmp_path, content, pointer):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert is_lfs_pointer(path) is pointer


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.wav: cannot be read"):
        is_lfs_pointer(tmp_path / "a.wav")


def test_the_advice_is_a_command_that_keeps_the_name():
    advice = conversion_advice(Path("calls/a.m4a"))
    assert advice.endswith("ffmpeg -i calls/a.m4a -vn calls/a.wav")

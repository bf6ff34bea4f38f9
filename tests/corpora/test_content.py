"""Files by their content: digests, copies of a clip, and official files under other names."""

import hashlib
import os

import pytest
from support.blank import write_blank

from ser_hf.corpora.content import digests, official_entries, same_content, separate_copies
from ser_hf.corpora.release import Entry
from ser_hf.corpora.schema import Clip
from ser_hf.utils.errors import UserError


def clip(path, name):
    return Clip(path=str(path), emotion="sad", speaker="toy:1", id=f"toy/{name}")


def entry(path, content):
    return Entry(path, len(content), hashlib.sha256(content).hexdigest())


def test_digests_are_the_sha256_of_the_files(tmp_path):
    contents = {tmp_path / name: name.encode() * 10 for name in ("a", "b", "c")}
    for path, content in contents.items():
        path.write_bytes(content)
    expected = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    assert digests(list(contents)) == expected
    assert digests([]) == {}


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")
    before = digests([path])
    path.write_bytes(b"after!")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    assert digests([path]) != before


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.wav: cannot be read \(No such file or directory\)"):
        digests([tmp_path / "gone.wav"])


def test_the_first_of_equal_files_of_a_clip_is_kept(tmp_path):
    write_blank(tmp_path, "a/1.wav", "b/1.wav", "c/2.wav", content=b"same")
    write_blank(tmp_path, "d/1.wav", content=b"other")
    clips = [clip(tmp_path / f"{folder}/1.wav", 1) for folder in "abd"]
    # Equal content under another id is no copy.
    clips.append(clip(tmp_path / "c/2.wav", 2))
    separated = separate_copies(clips)
    assert separated.clips == [clips[0], clips[2], clips[3]]
    assert separated.copies == [clips[1]]


def test_files_of_clips_that_are_there_once_are_not_read(tmp_path):
    clips = [clip(tmp_path / "missing.wav", 1), clip(tmp_path / "missing too.wav", 2)]
    assert separate_copies(clips).clips == clips


def test_official_files_are_found_under_any_name(tmp_path):
    write_blank(tmp_path, "x.wav", content=b"first")
    write_blank(tmp_path, "y.wav", content=b"wrong")
    write_blank(tmp_path, "z.wav", content=b"of another size")
    paths = sorted(tmp_path.iterdir())
    entries = [entry("a.wav", b"first"), entry("b.wav", b"first"), entry("c.wav", b"third")]
    assert official_entries(paths, entries) == {tmp_path / "x.wav": entries[0]}
    assert official_entries(paths, []) == {}


def test_same_content(tmp_path):
    write_blank(tmp_path, "a", "b", content=b"same")
    write_blank(tmp_path, "c", content=b"diff")
    assert same_content(tmp_path / "a", tmp_path / "b")
    assert not same_content(tmp_path / "a", tmp_path / "c")

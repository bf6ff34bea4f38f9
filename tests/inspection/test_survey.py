"""What each file is to the corpus, and how its path is shown."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf.errors import UserError
from ser_hf.inspection import inspect_corpus
from ser_hf.inspection.official import compare
from ser_hf.inspection.page import render
from ser_hf.inspection.survey import shown, survey
from ser_hf.testing import write_corpus

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def roles(found):
    return {file.shown: file.role for file in found}


def test_clips_and_what_is_none(tmp_path):
    paths = write_corpus("ravdess", tmp_path, speakers=1, takes=1)
    paths[0].rename(paths[0].with_name("notes.wav"))
    paths[1].rename(paths[1].with_name("03-02-02-01-01-01-01.wav"))
    found = survey("ravdess", tmp_path, {})
    assert [file.path for file in found] == sorted(file.path for file in found)
    kinds = roles(found)
    assert kinds.pop("Actor_01/notes.wav") == "unknown name"
    assert kinds.pop("Actor_01/03-02-02-01-01-01-01.wav") == "left out"
    assert set(kinds.values()) == {"clip"}
    assert roles(survey("ravdess", tmp_path, {"song": True}))["Actor_01/03-02-02-01-01-01-01.wav"] == "clip"
    with pytest.raises(UserError, match="is not a folder"):
        survey("ravdess", tmp_path / "nowhere", {})


def test_pointers_do_not_stop_the_survey(tmp_path):
    paths = write_corpus("ravdess", tmp_path, speakers=1, takes=1)
    paths[0].write_text(LFS_POINTER)
    paths[1].rename(paths[1].with_name("notes.wav"))
    (tmp_path / "Actor_01" / "._03-01-01-01-01-01-01.wav").write_bytes(b"macOS")
    found = survey("ravdess", tmp_path, {})
    kinds = roles(found)
    assert kinds.pop(f"Actor_01/{paths[0].name}") == "LFS pointer"
    assert kinds.pop("Actor_01/notes.wav") == "unknown name"
    assert list(kinds.values()) == ["clip"] * 6
    official = compare("ravdess", found)
    assert len(official.missing) == 1440 - 6
    assert set(official.origins) == {file.path for file in found if file.role != "LFS pointer"}


def test_a_broken_link_is_no_pointer_and_no_end(tmp_path, monkeypatch):
    from ser_hf.inspection import survey as module

    paths = write_corpus("ravdess", tmp_path, speakers=1, takes=1)

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "is_lfs_pointer", forbidden)
    assert list(roles(survey("ravdess", tmp_path, {})).values()) == ["clip"] * len(paths)


def test_a_table_of_ones_own(tmp_path):
    tone = np.sin(np.arange(8000) / 10)
    (tmp_path / "calls").mkdir()
    lines = ["path,label,speaker,sex"]
    for i in range(4):
        soundfile.write(tmp_path / "calls" / f"{i}.wav", tone * (i + 1) / 5, 16000)
        lines.append(f"calls/{i}.wav,{('angry', 'sad')[i % 2]},anna,f")
    lines.append("calls/9.wav,sad,anna,f")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    inspection = inspect_corpus("csv", tmp_path / "table.csv", title="Calls", near_copies=False)
    assert roles(row.file for row in inspection.rows) == {
        **{f"calls/{i}.wav": "clip" for i in range(4)},
        "table.csv, line 6": "absent",
    }
    assert inspection.official is None
    assert inspection.near_copies is None
    facts = inspection.to_dict()
    assert facts["official"] is facts["near_copies"] is None
    assert facts["corpus"]["title"] == "Calls"
    assert facts["tables"]["label_by_intensity"] is None
    assert facts["counts"]["roles"]["absent"] == 1


def test_a_table_with_pointers_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text(LFS_POINTER)
    (tmp_path / "table.csv").write_text("path,label,speaker\na.wav,sad,anna\n")
    with pytest.raises(UserError, match="Git LFS pointer"):
        inspect_corpus("csv", tmp_path / "table.csv")


def test_paths_that_cannot_be_printed(tmp_path):
    assert shown(f"{tmp_path}/a/b.wav", tmp_path) == "a/b.wav"
    assert shown("/elsewhere/b.wav", tmp_path) == "/elsewhere/b.wav"
    assert shown("b.wav", None) == "b.wav"
    assert shown(os.fsdecode(b"/x/\xffb\n\x1b.wav"), Path("/x")) == r"\xffb\n\x1b.wav"
    assert shown("/x/jalapeño.wav", Path("/x")) == "jalapeño.wav"


def test_generated_clips_are_shown_below_their_own_folder():
    found = survey("synthetic", None, {"speakers": 3, "takes": 1})
    assert found[0].shown == "s00_angry_000.wav"
    assert {file.role for file in found} == {"clip"}


@pytest.mark.parametrize(
    ("name", "folder", "clips", "origins"),
    [
        ("ravdess", "RAVDESS-original-sample", 1440, {"original": 15}),
        ("cremad", "CREMA-D-sample", 7442, {"original": 84}),
        ("emodb", "EMO-DB", 535, {"re-encoded": 535}),
    ],
)
def test_real_folders_against_their_releases(name, folder, clips, origins, real_corpora):
    files = survey(name, real_corpora(folder), {})
    official = compare(name, files)
    assert official.clips == sum(official.per_label.values()) == clips
    assert dict(official.counts) == origins
    assert len(official.missing) == clips - sum(origins.values())
    assert sum(official.found_per_label.values()) == sum(origins.values())


def test_sung_clips_are_not_covered_by_the_list_of_spoken_ones(tmp_path):
    sung, strange = write_corpus("ravdess", tmp_path, speakers=1, takes=1)[:2]
    sung.rename(sung.with_name("03-02-02-01-01-01-01.wav"))
    strange.rename(strange.with_name("03-02-07-01-01-01-01.wav"))  # disgust is not sung
    inspection = inspect_corpus("ravdess", tmp_path, near_copies=False, song=True)
    origins = {row.file.shown.rpartition("/")[2]: row.origin for row in inspection.rows}
    assert origins.pop("03-02-02-01-01-01-01.wav") == "uncovered"
    assert origins.pop("03-02-07-01-01-01-01.wav") == "unlisted"
    assert set(origins.values()) == {"altered"}
    findings = {finding.code: finding for finding in inspection.findings}
    assert "unlisted" not in findings
    assert findings["uncovered"].level == "note"
    assert findings["uncovered"].text == "1 clip not in the packaged list, which has the spoken part only."
    assert findings["uncovered"].paths == (("Actor_01/03-02-02-01-01-01-01.wav", ""),)
    assert inspection.to_dict()["official"]["origins"] == {
        "original": 0,
        "altered": len(origins),
        "re-encoded": 0,
        "unlisted": 1,
        "uncovered": 1,
    }
    page = render(inspection.to_dict(), [], [])
    assert "1 not in the release's list, 1 of a part that the packaged list does not have." in page
    # Left out as it is by default, it is not a finding of its own.
    inspection = inspect_corpus("ravdess", tmp_path, near_copies=False)
    assert {finding.code for finding in inspection.findings}.isdisjoint({"unlisted", "uncovered"})
    assert inspection.official.counts["uncovered"] == 1


def test_bytes_are_compared_with_the_release(tmp_path, monkeypatch):
    import hashlib

    from ser_hf.corpora import manifest

    first, second, third, fourth = write_corpus("ravdess", tmp_path, speakers=1, takes=1)[:4]
    entries = [
        manifest.Entry(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (first, second, third, fourth)
    ]
    monkeypatch.setattr(manifest, "manifest", lambda name: entries)
    damaged = bytearray(second.read_bytes())
    damaged[-1] ^= 1
    second.write_bytes(damaged)
    third.rename(third.with_suffix(".flac"))
    files = survey("ravdess", tmp_path, {})
    fourth.unlink()  # gone since it was seen
    official = compare("ravdess", files)
    assert official.missing == []
    origins = {Path(path).stem: origin for path, origin in official.origins.items()}
    assert origins.pop(first.stem) == "original"
    assert origins.pop(second.stem) == "altered"
    assert origins.pop(third.stem) == "re-encoded"
    assert origins.pop(fourth.stem) == "altered"
    assert set(origins.values()) == {"unlisted"}

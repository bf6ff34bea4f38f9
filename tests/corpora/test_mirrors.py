"""Folders of corpora as mirrors lay them out: each is read with the ids and the splits of the
official layout.
"""

import logging
import shutil
from pathlib import Path, PurePosixPath

import pytest
from file_server import entries_of
from support.layouts import MIRRORS, write_mirror
from support.testing import write_corpus

from ser_hf import cli
from ser_hf.corpora import load_corpus, verify
from ser_hf.corpora.files import COPY
from ser_hf.corpora.verify import check_release, manifest
from ser_hf.inspection import inspect_corpus
from ser_hf.protocols import split_corpus
from ser_hf.utils.errors import UserError

SAMPLES = {"cremad": "CREMA-D-sample", "ravdess": "RAVDESS-original-sample"}


def official_contents(corpus):
    """About 500 official files of a corpus with invented content: path -> content."""
    paths = [entry.path for entry in manifest(corpus)]
    return {path: path.encode() for path in paths[:: len(paths) // 480]}


def write_files(root, contents):
    for path, content in contents.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def list_files(monkeypatch, corpus, contents):
    """Replace the packaged list of a corpus by a list of these files."""
    entries = entries_of(contents)
    packaged = verify._entries
    monkeypatch.setattr(
        verify, "_entries", lambda name: entries if name == corpus else packaged(name)
    )


@pytest.mark.parametrize("layout", MIRRORS)
def test_a_mirror_is_read_as_the_official_layout(layout, tmp_path, caplog):
    mirror = MIRRORS[layout]
    contents = official_contents(mirror.corpus)
    official = load_corpus(mirror.corpus, write_files(tmp_path / "official", contents))
    caplog.clear()
    copies = write_mirror(layout, tmp_path / "mirror", contents)
    dataset = load_corpus(mirror.corpus, tmp_path / "mirror")
    for column in set(official.column_names) - {"audio"}:
        assert dataset[column] == official[column], column
    assert len({row["path"] for row in dataset["audio"]}) == len(dataset)
    (split,) = split_corpus(dataset, "speaker_independent", validation=0.25, test=0.25)
    (expected,) = split_corpus(official, "speaker_independent", validation=0.25, test=0.25)
    assert split.sha256 == expected.sha256

    lines = [line for line in caplog.messages if COPY in line and line.startswith("left out")]
    if copies:
        (line,) = lines
        assert line == f"left out, {COPY}: {len(copies)} (first {copies[0]})"
    else:
        assert not lines


@pytest.mark.parametrize("corpus", ["cremad", "emodb", "ravdess", "savee", "tess"])
def test_official_files_under_other_names_are_recognized(corpus, tmp_path, monkeypatch, caplog):
    contents = official_contents(corpus)
    official = load_corpus(corpus, write_files(tmp_path / "official", contents))
    list_files(monkeypatch, corpus, contents)
    renamed = {f"audio_{i:05d}.wav": content for i, content in enumerate(contents.values())}
    dataset = load_corpus(corpus, write_files(tmp_path / "renamed", renamed))
    for column in set(official.column_names) - {"audio"}:
        assert dataset[column] == official[column], column
    (line,) = [line for line in caplog.messages if "recognized by their content" in line]
    assert line.startswith(f"{len(contents):,} audio files without a file name of ")
    assert "the first, audio_00000.wav, is " in line
    check = check_release(corpus, tmp_path / "renamed")
    assert check.complete
    assert len(check.renamed) == len(contents)
    assert check.summary().endswith(f"; {len(contents):,} under other names")


def test_a_renamed_copy_of_a_named_file_is_left_out(tmp_path, monkeypatch):
    contents = official_contents("cremad")
    list_files(monkeypatch, "cremad", contents)
    # A name that sorts before the official names.
    copy = {"0001.wav": next(iter(contents.values()))}
    root = write_files(tmp_path, contents | copy)
    dataset = load_corpus("cremad", root)
    names = {PurePosixPath(row["path"]).name for row in dataset["audio"]}
    assert names == {PurePosixPath(path).name for path in contents}
    assert check_release("cremad", root).complete


def test_files_of_another_origin_are_still_refused_or_skipped(tmp_path, monkeypatch):
    contents = official_contents("cremad")
    list_files(monkeypatch, "cremad", contents)
    # As long as a file of the release.
    stranger = {"stranger.wav": bytes(len(next(iter(contents.values()))))}
    root = write_files(tmp_path, contents | stranger)
    with pytest.raises(UserError, match=r"stranger\.wav: not a file name of CREMA-D"):
        load_corpus("cremad", root)
    assert len(load_corpus("cremad", root, on_unknown="skip")) == len(contents)


def test_a_folder_of_several_corpora_is_refused_with_the_name_of_the_other(tmp_path):
    names = ["Crema/1001_DFA_ANG_XX.wav", "Ravdess/Actor_01/03-01-05-01-01-01-01.wav"]
    names += ["Savee/KL_sa15.wav", "Tess/OAF_angry/OAF_back_angry.wav"]
    write_files(tmp_path, {name: name.encode() for name in names})
    message = (
        r"Actor_01/03-01-05-01-01-01-01\.wav: not a file name of CREMA-D, but of RAVDESS; set "
        "corpus.root to the folder of CREMA-D"
    )
    with pytest.raises(UserError, match=message):
        load_corpus("cremad", tmp_path)
    with pytest.raises(
        UserError, match=r"DFA_ANG_XX\.wav: not a file name of SAVEE, but of CREMA-D"
    ):
        load_corpus("savee", tmp_path)


def test_two_versions_of_a_clip_are_refused(tmp_path):
    root = write_files(tmp_path, {"a/1001_DFA_ANG_XX.wav": b"one", "b/1001_DFA_ANG_XX.wav": b"two"})
    message = r"b/1001_DFA_ANG_XX\.wav: its id .* of .*a/1001_DFA_ANG_XX\.wav; remove one"
    with pytest.raises(UserError, match=message):
        load_corpus("cremad", root)


def test_sung_copies_are_counted_once(tmp_path, caplog):
    contents = {"Actor_01/03-01-05-01-01-01-01.wav": b"spoken", "03-02-05-01-01-01-01.wav": b"sung"}
    contents["Actor_02/03-01-04-01-01-01-02.wav"] = b"spoken by another"
    write_mirror("ravdess: doubled", tmp_path, contents)
    assert len(load_corpus("ravdess", tmp_path)) == 2
    (line,) = [line for line in caplog.messages if "song" in line and line.startswith("left out")]
    assert line.startswith("left out, song (corpus.song is false): 1 (first ")


@pytest.mark.parametrize("corpus", SAMPLES)
def test_renamed_files_of_a_release_are_recognized(corpus, real_corpora, tmp_path):
    source = real_corpora(SAMPLES[corpus])
    for number, path in enumerate(sorted(source.rglob("*.wav"))):
        shutil.copyfile(path, tmp_path / f"{number:03d}.wav")
    assert load_corpus(corpus, tmp_path)["id"] == load_corpus(corpus, source)["id"]


@pytest.mark.slow
def test_a_doubled_and_renamed_corpus_is_inspected(tmp_path, monkeypatch, capsys, caplog):
    paths = write_corpus("cremad", tmp_path / "official", speakers=2, takes=2)
    contents = {f"AudioWAV/{path.name}": path.read_bytes() for path in paths}
    list_files(monkeypatch, "cremad", contents)
    root = tmp_path / "CREMA-D"
    renamed = {f"clips/{number}.wav": content for number, content in enumerate(contents.values())}
    again = {f"clips/again/{path}": content for path, content in renamed.items()}
    write_files(root, renamed | again)
    inspection = inspect_corpus("cremad", root)
    found = {finding.code: finding for finding in inspection.findings}
    assert found["release"].level == "ok"
    assert found["equal-copies"].level == "note"
    assert found["equal-copies"].text.startswith(f"{len(paths)} files equal, byte for byte")
    assert found["reading"].text.startswith(f"{2 * len(paths)} audio files without a file name of")
    assert not {"refused", "doubled-clips", "unknown-names", "copies"} & set(found)
    counts = inspection.to_dict()["counts"]
    assert (counts["readable_clips"], counts["roles"]["copy"]) == (len(paths), len(paths))

    with caplog.at_level(logging.ERROR):
        code = cli.main(["inspect", "cremad", str(root), "--output", str(tmp_path / "page")])
    assert code == 0
    assert f"{len(paths)} files equal, byte for byte" in capsys.readouterr().out
    assert Path(tmp_path, "page", "index.html").is_file()

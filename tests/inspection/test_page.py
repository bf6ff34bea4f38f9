"""The page and `inspect.json` of an inspection, their folder, and the command."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from support.commands import complaint
from support.html_page import Page
from support.testing import write_corpus

from ser_hf import cli
from ser_hf.inspection import check_folder, inspect_corpus, write_inspection
from ser_hf.inspection import page as module
from ser_hf.inspection.spectrograms import (
    CLIPS_PER_LABEL,
    MOST_CLIPS_OF_FINDINGS,
    MOST_PAGE_BYTES,
)
from ser_hf.utils.errors import UserError

HOSTILE = "<script>alert(1)<&$x_1^$.wav"


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def facts(written):
    return json.loads(
        (written / "inspect.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )


@pytest.fixture
def no_charts(monkeypatch):
    monkeypatch.setattr(module, "charts", lambda table: [])
    monkeypatch.setattr(module, "sounds_by_label", lambda sample, audio: {})
    monkeypatch.setattr(
        module, "sounds_of_findings", lambda findings, files, audio: [[] for _ in findings]
    )


@pytest.mark.slow
def test_pictures_are_also_pdf_and_an_inspection_replaces_them(tmp_path):
    root = tmp_path / "RAVDESS"
    write_corpus("ravdess", root, speakers=1, takes=1)
    inspection = inspect_corpus("ravdess", root)
    write_inspection(inspection, tmp_path / "page", audio=False, pictures="pdf")
    names = sorted(path.name for path in (tmp_path / "page").glob("*.pdf"))
    assert names[:2] == ["class_distribution.pdf", "clip_1_angry.pdf"]
    assert "durations.pdf" in names
    assert len(names) == 2 + len(inspection.voice.labels)
    for name in names:
        assert (tmp_path / "page" / name).read_bytes().startswith(b"%PDF")
    check_folder(tmp_path / "page")
    write_inspection(inspection, tmp_path / "page", audio=False)
    assert not list((tmp_path / "page").glob("*.pdf"))


def test_the_page_is_one_file(page, written):
    assert {file.name for file in written.iterdir()} == {"index.html", "inspect.json"}
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    images = page.all("img")
    players = page.all("audio")
    assert len(images) == 2 + len(players), "two charts, and a picture for each player"
    assert all(player["src"].startswith("data:audio/mpeg;base64,") for player in players)
    assert all(player["aria-label"] for player in players)
    assert (written / "index.html").stat().st_size < MOST_PAGE_BYTES
    for image in images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert len(image["alt"]) > 10
        assert int(image["width"]) > 100
    # Names of files are text.
    assert HOSTILE in page.text
    assert "<script" not in (written / "index.html").read_text(encoding="utf-8")


def test_the_page_has_findings_and_counts(page, facts):
    assert facts["verdict"]["text"] in page.text
    assert all(
        finding["text"] in page.text and finding["advice"] in page.text
        for finding in facts["findings"]
    )
    missing = next(finding for finding in facts["findings"] if finding["code"] == "release")
    assert f"and {len(missing['files']) - 20} more, all in inspect.json" in " ".join(
        page.text.split()
    )
    assert "cremad:1003" in page.text


def test_the_page_has_the_voices_of_each_label(page, facts):
    voice = facts["voice"]
    assert set(voice["by_label"]) == {"angry", "disgust", "fear", "happy", "neutral", "sad"}
    assert f"of a sample of {voice['clips']} of the 50 readable clips" in page.text
    assert f"{voice['all']['pitch']:.1f}" in page.text
    pictures = [image["alt"] for image in page.all("img") if "spectrogram" in image["alt"]]
    labels = [alt.rpartition(" ")[2].removesuffix(".") for alt in pictures]
    # The clips of the labels are after those of findings.
    shown = CLIPS_PER_LABEL * len(voice["by_label"])
    assert list(dict.fromkeys(labels[-shown:])) == list(voice["by_label"])
    assert len(labels) - shown in range(1, MOST_CLIPS_OF_FINDINGS + 1)


def test_unusual_values_of_a_table(tmp_path):
    lines = ["path,label,speaker,intensity"]
    for i, intensity in enumerate(("$1_$", "2", "3", "")):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(8000), 16000)
        lines.append(f"{i}.wav,{('sad', 'angry')[i % 2]},a$b_$,{intensity}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    inspection = inspect_corpus("csv", tmp_path / "t.csv", url="javascript:alert(1)")
    page = Page(write_inspection(inspection, tmp_path / "out").read_text(encoding="utf-8"))
    assert [link["href"] for link in page.all("a")] == ["inspect.json"]
    assert "javascript:alert(1)" in page.text


def test_only_an_earlier_inspection_is_replaced(faulty, tmp_path, monkeypatch, no_charts):
    folder = tmp_path / "inspect"
    write_inspection(faulty, folder)
    (folder / "index.html").write_text("old")
    write_inspection(faulty, folder)
    assert (folder / "index.html").read_text() != "old"

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", fail)
        with pytest.raises(KeyboardInterrupt):
            write_inspection(faulty, folder)
    assert (folder / "index.html").is_file()
    assert [child.name for child in tmp_path.iterdir()] == ["inspect"]
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"contains notes\.txt"):
        write_inspection(faulty, folder)
    assert (folder / "notes.txt").read_text() == "precious"


def test_other_folders_are_refused(tmp_path):
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("another page")
    (tmp_path / "link").symlink_to(tmp_path / "page")
    for name, message in (
        ("file", "is not a folder"),
        ("link", "is not a folder"),
        ("page", "contains index.html"),
    ):
        with pytest.raises(UserError, match=message):
            check_folder(tmp_path / name)


# The command


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    write_corpus("ravdess", root, speakers=2, takes=1)
    return root


def error(capsys, *arguments):
    return complaint(capsys, "inspect", *arguments)


def test_the_summary_and_the_default_folder(small, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "ravdess", str(small)]) == 0
    printed = capsys.readouterr().out
    assert "RAVDESS: Usable for training: 1 warning" in printed
    assert "16 clips readable" in printed
    assert "  warning: 1,424 files " in printed
    assert "page: inspect-ravdess/index.html" in printed
    assert (tmp_path / "inspect-ravdess" / "index.html").is_file()


@pytest.mark.slow
def test_no_audio_leaves_recordings_out(small, tmp_path):
    words = ["inspect", "ravdess", str(small), "--no-audio", "--output", str(tmp_path / "out")]
    assert cli.main(words) == 0
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert page.all("audio") == []
    assert any("spectrogram" in image["alt"] for image in page.all("img"))
    assert "The page contains these recordings" not in page.text


def test_errors_name_files_and_return_2(small, tmp_path, capsys):
    shutil.copytree(small, tmp_path / "corpus")
    bad = min((tmp_path / "corpus").rglob("*.wav"))
    bad.write_bytes(b"not audio")
    assert (
        cli.main(
            ["inspect", "ravdess", str(tmp_path / "corpus"), "--output", str(tmp_path / "out")]
        )
        == 2
    )
    lines = capsys.readouterr().out.splitlines()
    (finding,) = [i for i, line in enumerate(lines) if line.startswith("  error: 1 file of 16 ")]
    name = bad.relative_to(tmp_path / "corpus").as_posix()
    assert lines[finding + 1].startswith(f"    {name}: ")


def test_mistakes_print_one_line(small, tmp_path, capsys):
    assert error(capsys, "ravdes", small).startswith("error: corpus.name: ")
    missing = tmp_path / "nowhere"
    assert str(missing) in error(capsys, "ravdess", missing)
    assert error(capsys, "ravdess", small, "songs=true").startswith("error: corpus.songs: ")
    assert error(capsys, "ravdess", small, "song").startswith("error: song: ")
    (tmp_path / "thesis.tex").write_text("precious")
    assert "contains thesis.tex" in error(capsys, "ravdess", small, "--output", tmp_path)
    assert not (tmp_path / "out").exists()

"""What is written: the JSON's keys, the page, the folder that is never taken from anybody else."""

import json
import math

import numpy as np
import pytest
import soundfile
from support.html_page import Page

from ser_hf.errors import UserError
from ser_hf.inspection import check_folder, inspect_corpus, write_inspection
from ser_hf.inspection import folder as module
from ser_hf.inspection.examples import pick
from ser_hf.inspection.page import quantity
from ser_hf.inspection.pictures import boxes_figure, classes_figure, durations_figure, example_figure
from ser_hf.inspection.survey import Found
from ser_hf.inspection.tables import Row
from ser_hf.testing import write_corpus


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def facts(written):
    return json.loads((written / "inspect.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_the_json_has_its_keys_and_a_row_for_every_file(facts, faulty):
    assert set(facts) == {
        *("format", "corpus", "root", "options", "verdict", "findings", "counts", "official", "near_copies"),
        *("measures", "distributions", "explained", "tables", "files", "examples"),
    }
    assert facts["corpus"]["license"] == "odbl"
    assert facts["counts"]["roles"] == {"clip": 54, "left out": 0, "unknown name": 1, "LFS pointer": 0, "absent": 0}
    assert facts["counts"]["readable_clips"] == 50
    assert facts["counts"]["speakers"] == 3
    assert facts["counts"]["hours"] == pytest.approx(sum(row.measured.duration for row in faulty.clips) / 3600)
    rows = {row["path"]: row for row in facts["files"]}
    assert len(rows) == len(faulty.rows) == 55
    good = rows["AudioWAV/1002_DFA_ANG_XX.wav"]
    assert (good["id"], good["emotion"], good["speaker"]) == ("cremad/1002_DFA_ANG_XX", "angry", "cremad:1002")
    assert (good["role"], good["origin"], good["error"], good["sex"]) == ("clip", "altered", None, "female")
    assert good["rms"] < good["peak"] <= 0
    bad = rows["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert bad["error"].startswith("an empty file")
    assert bad["duration"] is None
    assert {"first", "second", "overlap", "bit_error_rate"} == set(facts["near_copies"][0])
    total = facts["tables"]["label_by_speaker"]["total"]
    assert sum(total) == 50
    assert facts["distributions"]["duration"]["clips"] == 50


def test_the_page_asks_nobody_for_anything(page, written):
    sources = [attributes["src"] for tag, attributes in page.tags if "src" in attributes]
    assert len(sources) >= 12
    for source in sources:
        assert (written / source).is_file()
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert {file.name for file in written.iterdir()} == {"index.html", "inspect.json", "pictures", "audio"}
    pictures = {f"pictures/{file.name}" for file in (written / "pictures").iterdir()}
    assert pictures | {f"audio/{file.name}" for file in (written / "audio").iterdir()} == set(sources)


def test_every_picture_is_described(page):
    for image in page.all("img"):
        assert len(image["alt"]) > 10
        assert int(image["width"]) > 100
    for player in page.all("audio"):
        assert "controls" in player


def test_names_of_files_are_text_and_nothing_else(page, written, hostile_name):
    assert hostile_name in page.text
    assert "<script" not in (written / "index.html").read_text(encoding="utf-8")


def test_the_page_has_each_example_and_its_recording(page, facts, written):
    emotions = ["angry", "disgust", "fear", "happy", "neutral", "sad"]
    rows = {row["id"]: row for row in facts["files"]}
    assert [rows[example["id"]]["emotion"] for example in facts["examples"]] == emotions
    assert [player["src"] for player in page.all("audio")] == [example["audio"] for example in facts["examples"]]
    for example in facts["examples"]:
        assert example["id"] in page.text
        info = soundfile.info(written / example["audio"])
        assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
        assert info.duration == pytest.approx(rows[example["id"]]["duration"])
    assert "Licence of the corpus: odbl" in page.text


def test_findings_and_counts_are_on_the_page(page, facts):
    assert facts["verdict"]["text"] in page.text
    for finding in facts["findings"]:
        assert finding["text"] in page.text
        assert finding["advice"] in page.text
    missing = next(finding for finding in facts["findings"] if finding["code"] == "missing")
    assert f"and {len(missing['files']) - 20} more, all in inspect.json" in " ".join(page.text.split())
    assert "cremad:1003" in page.text


def test_the_same_folder_gives_the_same_facts(faulty_root, faulty, facts):
    again = inspect_corpus("cremad", faulty_root)
    assert again == faulty
    assert {**again.to_dict(), "examples": facts["examples"]} == facts


def test_a_corpus_of_pointers_alone_still_has_a_page(tmp_path):
    for path in write_corpus("ravdess", tmp_path / "RAVDESS", speakers=1, takes=1):
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    inspection = inspect_corpus("ravdess", tmp_path / "RAVDESS")
    page = write_inspection(inspection, tmp_path / "out")
    text = Page(page.read_text(encoding="utf-8")).text
    assert "8 of 8 files are Git LFS pointers" in text
    assert "Recordings" not in text.split()
    assert inspection.verdict[0] == "error"


def test_odd_values_of_a_table_of_ones_own(tmp_path):
    """Four intensities (three stated), no loudness, dollar signs, an address that is none."""
    lines = ["path,label,speaker,intensity"]
    for i, intensity in enumerate(("$1$", "2", "3", "")):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(8000), 16000)
        lines.append(f"{i}.wav,{('sad', 'angry')[i % 2]},a$b$,{intensity}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    inspection = inspect_corpus("csv", tmp_path / "t.csv", url="javascript:alert(1)", near_copies=False)
    page = Page(write_inspection(inspection, tmp_path / "out").read_text(encoding="utf-8"))
    assert [link["href"] for link in page.all("a")] == ["inspect.json"]
    assert "javascript:alert(1)" in page.text
    assert not page.all("audio")  # silent clips are no examples
    charts = {image["src"] for image in page.all("img")}
    assert charts == {f"pictures/{name}.png" for name in ("classes", "classes_by_intensity", "durations")}


def test_an_earlier_inspection_is_replaced_and_nothing_else(faulty, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_charts", lambda *arguments: [])
    folder = tmp_path / "inspect"
    write_inspection(faulty, folder, examples=0)
    (folder / "pictures" / "old.png").write_bytes(b"")
    write_inspection(faulty, folder, examples=0)
    assert not (folder / "pictures" / "old.png").exists()

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "render", fail)
        with pytest.raises(KeyboardInterrupt):
            write_inspection(faulty, folder, examples=0)
    assert (folder / "index.html").is_file()
    assert [child.name for child in tmp_path.iterdir()] == ["inspect"]

    (folder / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds files that are not an inspection's \(notes.txt\)"):
        write_inspection(faulty, folder, examples=0)
    assert (folder / "notes.txt").read_text() == "precious"


def test_other_folders_are_refused(tmp_path):
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("somebody's page")
    (tmp_path / "link").symlink_to(tmp_path / "page")
    with pytest.raises(UserError, match="is not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(UserError, match="is not a folder"):
        check_folder(tmp_path / "link")
    with pytest.raises(UserError, match="holds files that are not an inspection's; choose"):
        check_folder(tmp_path / "page")


def test_a_place_that_cannot_be_made(faulty, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be made"):
        write_inspection(faulty, tmp_path / "file" / "inspect")


def test_examples_are_spread_over_speakers_and_sexes(faulty):
    rows = faulty.rows
    picked = pick(rows, 2)
    assert picked == pick(rows[::-1], 2)
    assert len(picked) == 12
    for first, second in zip(picked[::2], picked[1::2], strict=True):
        assert first.clip.emotion == second.clip.emotion
        assert (first.clip.sex, second.clip.sex) == ("female", "male") or first.clip.speaker != second.clip.speaker
    assert len({row.clip.speaker for row in picked}) == 3
    assert not any(row.measured.silent for row in picked)
    assert pick([Row(Found("x", "x", "LFS pointer"), None)]) == []


def test_an_example_shows_waveform_bands_and_pitch():
    rate = 16000
    glide = np.sin(2 * np.pi * 200 * np.arange(rate) / rate).astype(np.float32)
    figure, pitch = example_figure(0.5 * glide, rate)
    wave, mel, contour = figure.axes[:3]
    assert pitch == pytest.approx(200, rel=0.02)
    assert wave.get_xlim() == (0, 1)
    assert mel.images[0].get_array().max() == 0
    assert (contour.get_xlabel(), contour.get_ylabel()) == ("time (s)", "pitch (Hz)")
    assert all(axes.get_ylabel() for axes in figure.axes)
    _, none = example_figure(np.zeros(10, np.float32), rate)
    assert none is None


def test_charts_show_their_counts():
    axes = classes_figure({"a$x$": [2, 1], "b": [0, 3]}, ["angry", "sad"], "Title").axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2, 1, 0, 3]
    assert axes.get_title() == "Title"
    axes = durations_figure([1.0] * 3 + [2.0] * 5).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 8
    figure = boxes_figure({"a$x$": [1.0, 2.0, 3.0], "b": [4.0]}, "loudness (LUFS)", "Title", rotate=False)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a$x$", "b"]
    assert figure.axes[0].get_ylabel() == "loudness (LUFS)"
    many = boxes_figure({f"s{i:03d}": [float(i)] for i in range(130)}, "x", "Title", rotate=True).axes[0]
    names = [label.get_text() for label in many.get_xticklabels()]
    assert len(names) == 120
    assert "s059" in names
    assert "s060" not in names
    assert "s070" in names
    assert "lowest and highest of 130" in many.get_title()


@pytest.mark.parametrize(
    ("value", "measure", "text"),
    [
        (None, "rms", "–"),
        (-23.456, "rms", "−23.5"),
        (-0.01, "peak", "0.0"),
        (1.234, "duration", "1.23"),
        (0.1234, "silent_share", "12.34"),
        (-0.00001, "dc_offset", "0.00"),
        (math.pi, "loudness", "3.1"),
    ],
)
def test_numbers_as_people_read_them(value, measure, text):
    assert quantity(value, measure) == text

"""The inspection of a corpus: a finding for every defect, its JSON, and refused calls."""

import json

import pytest

from ser_hf.corpora import load_corpus
from ser_hf.inspection import inspect_corpus
from ser_hf.utils.errors import UserError

HOSTILE = "<script>alert(1)<&$x_1^$.wav"
ACROSS = [
    "1002_IEO_NEU_XX.wav",
    "1002_IEO_SAD_MD.wav",
    "1002_IOM_NEU_XX.wav",
    "1003_IOM_NEU_XX.wav",
]
DEFECTS = {
    "refused": ("error", [], ""),
    "clipped": ("warning", ["1001_IOM_DIS_XX.wav"], "%"),
    "silent": ("warning", ["1001_IEO_DIS_MD.wav"], "disgust"),
    "sampling-rates": ("warning", ["1001_IEO_FEA_MD.wav"], "22050 Hz"),
    "silence": ("note", ["1001_IEO_HAP_MD.wav"], " s before"),
    "duration": ("note", ["1001_IOM_HAP_XX.wav"], "0.06 s"),
    "unknown-names": ("warning", [HOSTILE], ""),
    "doubled-clips": (
        "error",
        ["1003_DFA_ANG_XX.wav", "1003_DFA_ANG_XX.wav"],
        "cremad/1003_DFA_ANG_XX",
    ),
    "copies": ("warning", ["1002_DFA_NEU_XX.wav", HOSTILE], "hash "),
    "copies-across": ("error", ACROSS, "hash "),
    "near-copies": ("note", ["1003_DFA_SAD_XX.wav"], "and AudioWAV/1003_IEO_SAD_MD.wav ("),
}
# The keys of inspect.json, in their order.
KEYS = [
    "format",
    "corpus",
    "root",
    "options",
    "verdict",
    "findings",
    "counts",
    "near_copies",
    "measures",
    "distributions",
    "explained",
    "voice",
    "tables",
    "files",
]


def names(finding):
    return [path.rpartition("/")[2] for path, _ in finding.files]


def test_every_defect_has_a_finding(faulty):
    by_code = {finding.code: finding for finding in faulty.findings}
    for code, (level, files, remark) in DEFECTS.items():
        assert by_code[code].level == level, code
        assert sorted(names(by_code[code])) == sorted(files), code
        if files:
            assert remark in by_code[code].files[0][1], code
        assert by_code[code].text.endswith("."), code
    assert by_code["unreadable"].text.startswith("4 files of 55 not readable")
    reasons = {path.rpartition("/")[2]: reason for path, reason in by_code["unreadable"].files}
    assert "empty file" in reasons["1001_DFA_ANG_XX.wav"]
    assert "not readable as audio" in reasons["1001_IEO_ANG_MD.wav"]
    assert "truncated" in reasons["1001_IOM_ANG_XX.wav"]
    assert "NaN" in reasons["1001_DFA_DIS_XX.wav"]
    assert by_code["release"].text.startswith("7,391 files of the release missing, 51 ")
    reasons = {path.rpartition("/")[2]: reason for path, reason in by_code["release"].files}
    assert reasons["1003_DFA_HAP_XX.wav"] == "missing"
    assert reasons["1002_DFA_ANG_XX.wav"] == "other bytes"


def test_the_json_has_its_keys_and_a_row_for_every_file(written, faulty):
    text = (written / "inspect.json").read_text(encoding="utf-8")
    facts = json.loads(text, parse_constant=pytest.fail)
    assert list(facts) == KEYS
    assert facts["corpus"]["license"] == "odbl"
    assert facts["counts"]["roles"] == {
        "clip": 54,
        "left out": 0,
        "copy": 0,
        "unknown name": 1,
        "absent": 0,
        "unknown label": 0,
        "unknown speaker": 0,
    }
    assert facts["counts"]["readable_clips"] == 50
    assert facts["counts"]["speakers"] == 3
    seconds = sum(file.measured.duration for file in faulty.clips)
    assert facts["counts"]["hours"] == pytest.approx(seconds / 3600)
    assert set(facts["findings"][0]) == {"code", "level", "text", "advice", "files", "noun"}
    rows = {row["path"]: row for row in facts["files"]}
    assert len(rows) == len(faulty.files) == 55
    good = rows["AudioWAV/1002_DFA_ANG_XX.wav"]
    assert good["id"] == "cremad/1002_DFA_ANG_XX"
    assert good["emotion"] == "angry"
    assert good["speaker"] == "cremad:1002"
    assert good["role"] == "clip"
    assert good["error"] is None
    assert good["sex"] == "female"
    assert good["rms"] < good["peak"] <= 0
    bad = rows["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert bad["error"].startswith("an empty file")
    assert bad["duration"] is None
    assert {"first", "second", "overlap", "bit_error_rate"} == set(facts["near_copies"][0])
    assert (
        sum(facts["tables"]["label_by_speaker"]["total"])
        == facts["distributions"]["duration"]["clips"]
        == 50
    )


def test_an_inspection_says_at_what_training_stops(faulty_root, faulty):
    refused = next(finding for finding in faulty.findings if finding.code == "refused")
    with pytest.raises(UserError) as error:
        load_corpus("cremad", faulty_root)
    assert refused.text == f"Training stops here: {error.value}."


def test_an_unknown_corpus_is_refused():
    with pytest.raises(UserError, match=r"corpus\.name: .*'nonsense'"):
        inspect_corpus("nonsense", ".")


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        inspect_corpus("cremad", tmp_path)


def test_the_repr_has_the_corpus_and_the_verdict(faulty):
    assert repr(faulty).startswith("Inspection(cremad, 55 files; Not ready for training: ")

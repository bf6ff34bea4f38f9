"""Every defect of the faulty corpus has a finding with its level and files; findings about constructed clips."""

import numpy as np
import pytest

from ser_hf.corpora.schema import Clip
from ser_hf.inspection import inspect_corpus
from ser_hf.inspection.findings import Finding, NearCopy, find, verdict
from ser_hf.inspection.measure import AudioFile, Measurement, Official
from ser_hf.utils.errors import UserError

HOSTILE = "<script>alert(1)<&$x_1^$.wav"
DEFECTS = {
    "lying-suffix": ("warning", ["1001_IOM_FEA_XX.wav"], "is FLAC"),
    "clipped": ("warning", ["1001_IOM_DIS_XX.wav"], " %"),
    "silent": ("warning", ["1001_IEO_DIS_MD.wav"], "disgust"),
    "sampling-rates": ("warning", ["1001_IEO_FEA_MD.wav"], "22050 Hz"),
    "channels": ("warning", ["1001_DFA_FEA_XX.wav"], "2 channels"),
    "dc-offset": ("note", ["1001_DFA_HAP_XX.wav"], "5.0 %"),
    "silence-before": ("note", ["1001_IEO_HAP_MD.wav"], " s"),
    "silence-after": ("note", ["1001_IEO_HAP_MD.wav"], " s"),
    "short": ("note", ["1001_IOM_HAP_XX.wav"], "0.06 s"),
    "codings": ("note", ["1001_IOM_FEA_XX.wav"], "FLAC PCM_16"),
    "unknown-names": ("warning", [HOSTILE], ""),
    "doubled-clips": ("error", ["1003_DFA_ANG_XX.wav", "1003_DFA_ANG_XX.wav"], "cremad/1003_DFA_ANG_XX"),
    "copies": ("warning", ["1002_DFA_NEU_XX.wav", HOSTILE], "set 1"),
    "copies-across-labels": ("error", ["1002_IEO_NEU_XX.wav", "1002_IEO_SAD_MD.wav"], "set 1"),
    "copies-across-speakers": ("error", ["1002_IOM_NEU_XX.wav", "1003_IOM_NEU_XX.wav"], "set 1"),
    "near-copies": ("note", ["1003_DFA_SAD_XX.wav"], "and AudioWAV/1003_IEO_SAD_MD.wav ("),
}


def names(finding):
    return [path.rpartition("/")[2] for path, _ in finding.files]


def test_every_defect_has_a_finding(faulty):
    found = {finding.code: finding for finding in faulty.findings}
    for code, (level, files, remark) in DEFECTS.items():
        assert (code, found[code].level, sorted(names(found[code]))) == (code, level, sorted(files))
        assert remark in found[code].files[0][1], code
        assert found[code].text.endswith("."), code
    assert found["unreadable"].text.startswith("4 files of 55 not readable")
    reasons = {path.rpartition("/")[2]: reason for path, reason in found["unreadable"].files}
    assert "empty file" in reasons["1001_DFA_ANG_XX.wav"]
    assert "not readable as audio" in reasons["1001_IEO_ANG_MD.wav"]
    assert "truncated" in reasons["1001_IOM_ANG_XX.wav"]
    assert "NaN" in reasons["1001_DFA_DIS_XX.wav"]
    assert found["missing"].text == "7390 of the release's 7442 clips are missing (99.3 %)."
    assert "1003_DFA_HAP_XX.wav" in names(found["missing"])
    assert found["altered"].text.startswith("53 clips of 53 with other bytes")
    assert found["unlisted"].text.startswith("1 clip with a name of the release's form")


def test_the_most_serious_findings_come_first(faulty):
    order = ["error", "warning", "note", "ok"]
    levels = [order.index(found.level) for found in faulty.findings]
    assert levels == sorted(levels)
    level, text = verdict(faulty.findings)
    assert level == "error"
    assert text.startswith("Not ready for training: 4 errors and ")
    assert verdict([Finding("x", "warning", "x."), Finding("x", "ok", "x.")]) == (
        *("warning", "Usable, with 1 warning to read first."),
    )
    assert verdict([Finding("x", "note", "x.")]) == ("note", "Ready for training; 1 note to read.")
    assert verdict([Finding("x", "ok", "x.")])[0] == "ok"


def test_an_unknown_corpus_is_refused():
    with pytest.raises(UserError, match=r"corpus.name: expected one of .*, got 'nonsense'"):
        inspect_corpus("nonsense", ".")


def file(i, emotion="angry", speaker="a", role="clip", origin=None, sex=None, reason=None, **measured):
    values = {
        **{"bytes": 1, "format": "WAV", "subtype": "PCM_16", "honest_suffix": True, "sampling_rate": 16000},
        **{"channels": 1, "duration": 1.0, "loudness": -20.0, "dc_offset": 0.0, "clipped_share": 0.0},
        **{"leading_silence": 0.0, "trailing_silence": 0.0, "silent": False, "content_hash": str(i)},
    }
    clip = Clip(path=f"{i}.wav", emotion=emotion, speaker=speaker, id=f"c/{i}", sex=sex)
    return AudioFile(f"{i}.wav", f"{i}.wav", role, clip, reason, Measurement(**values | measured), origin)


def balanced(**values):
    """Ten speakers of both sexes and two labels, without defects."""
    return [
        file(i, ("angry", "sad")[i % 2], f"s{i // 2}", sex=("female", "male")[i // 2 % 2], **values) for i in range(20)
    ]


def findings(files, official=None, near=()):
    return {finding.code: finding for finding in find(files, official, near, "A corpus")}


def official(files):
    origins = dict.fromkeys(("original", "altered", "re-encoded", "unlisted", "uncovered"), 0)
    for own in files:
        origins[own.origin or "unlisted"] += 1
    return Official(len(files), {"angry": 10, "sad": 10}, {"angry": 10, "sad": 10}, [], origins)


def test_a_sound_corpus_has_only_good_findings():
    files = balanced(origin="original")
    found = findings(files, official(files))
    assert set(found) == {"complete", "readable", "original"}
    assert {finding.level for finding in found.values()} == {"ok"}


def test_originality():
    files = [*balanced(origin="original"), file(99, speaker="s0", origin="altered")]
    found = findings(files, official(files))
    assert found["altered"].level == "error"
    assert found["altered"].text.startswith("1 clip of 21 with other bytes")
    assert "original" not in found
    files = balanced(origin="re-encoded")
    assert "20 files re-encoded" in findings(files, official(files))["re-encoded"].text


def test_files_that_are_left_out():
    extra = file(50, speaker="s0", origin="unlisted")
    song = file(51, speaker="s0", role="left out", reason="song")
    absent = AudioFile("u7", "u7", "absent", None, "no audio")
    files = [*balanced(), extra, song, absent]
    found = findings(files, official(files))
    assert {code: names(found[code]) for code in ("unlisted", "left-out", "absent")} == {
        **{"unlisted": ["50.wav"], "left-out": ["51.wav"], "absent": ["u7"]}
    }
    # A copy that the corpus's rules leave out is no copy.
    assert "copies" not in findings([*files, file(52, role="left out", reason="x", content_hash="1")])
    reasons = [file(i, role="left out", reason=reason) for i, reason in enumerate(("song", "noise", "song"))]
    assert findings(reasons)["left-out"].text.endswith("rules: song (2); noise (1).")
    reasons = [file(i, role="left out", reason=reason) for i, reason in enumerate("abcde")]
    assert findings(reasons)["left-out"].text.endswith("d (1); ....")


def test_a_corpus_without_clips():
    found = findings([AudioFile("a.wav", "a.wav", "LFS pointer")])
    assert found["lfs-pointers"].text.startswith("1 Git LFS pointer among 1 files")
    assert found["nothing-usable"].level == "error"
    assert "readable" not in found


def test_balance():
    assert findings([file(i, speaker=f"s{i}") for i in range(12)])["one-label"].level == "error"
    files = [*balanced(), *(file(100 + i, "sad", f"s{i}") for i in range(10))]
    assert "The largest class (sad, 20 clips) has 2.0 times" in findings(files)["imbalance"].text
    few = findings([file(0), file(1, "sad"), file(2, "angry", "b")])
    assert few["few-speakers"].text.startswith("2 speakers")
    assert "1 of 2 speakers without clips of some label (such as b: sad)" in few["empty-cells"].text
    files = [file(i, ("angry", "sad")[i % 2], f"s{i}", sex=("female", "male")[i % 2]) for i in range(20)]
    assert findings(files)["one-sex"].text == "Only male speakers have clips of: sad."


def test_a_label_that_the_recording_reveals():
    generator = np.random.default_rng(0)
    leak = [
        file(i, ("angry", "sad")[i % 2], f"s{i // 2 % 10}", leading_silence=0.3 * (i % 2) + generator.normal(0, 0.05))
        for i in range(40)
    ]
    found = findings(leak)
    assert "of the variance of the silence before the speech" in found["label-leak-leading-silence"].text
    assert [code for code in found if code.startswith("label-leak")] == ["label-leak-leading-silence"]
    too_few = findings(leak[:18])
    assert not [code for code in too_few if code.startswith("label-leak")]


def test_a_speaker_that_is_louder():
    files = balanced()
    files += [file(60 + i, ("angry", "sad")[i], "loud", loudness=-5.0) for i in range(2)]
    assert "spans 15.0 LU, from -20.0 (s0) to -5.0 LUFS (loud)" in findings(files)["speaker-loudness"].text


def test_levels_depend_on_the_extent():
    files = [file(i, speaker=f"s{i}") for i in range(101)]
    files[7] = file(7, clipped_share=0.01, duration=40.0, channels=2, mix_loss=0.1)
    found = findings(files)
    assert (found["clipped"].level, found["channels"].level) == ("note", "note")
    assert names(found["long"]) == ["7.wav"]
    near = findings(balanced(), near=[NearCopy(*balanced()[:2], 1.5, 0.02)])["near-copies-across"]
    assert near.level == "warning"
    assert near.files == (("0.wav", "and 1.wav (1.50 s in common, 2.0 % of the fingerprint's bits differ)"),)

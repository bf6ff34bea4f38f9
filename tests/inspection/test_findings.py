"""Every fault of the faulty corpus is told, with its number, its level and the file concerned."""

import numpy as np
import pytest

from ser_hf.corpora.schema import Clip
from ser_hf.inspection.finding import Finding, verdict
from ser_hf.inspection.findings import find
from ser_hf.inspection.measure import Measurement
from ser_hf.inspection.official import Official
from ser_hf.inspection.survey import Found
from ser_hf.inspection.tables import Row


def paths(finding):
    return [path.rpartition("/")[2] for path, _ in finding.paths]


FAULTS = {
    "lying-suffix": ("warning", ["1001_IOM_FEA_XX.wav"], "is FLAC"),
    "clipped": ("warning", ["1001_IOM_DIS_XX.wav"], "% of its samples"),
    "silent": ("warning", ["1001_IEO_DIS_MD.wav"], "disgust"),
    "sampling-rates": ("warning", ["1001_IEO_FEA_MD.wav"], "22050 Hz"),
    "channels": ("warning", ["1001_DFA_FEA_XX.wav"], "2 channels"),
    "dc-offset": ("note", ["1001_DFA_HAP_XX.wav"], "+5.0 %"),
    "silence-before": ("note", ["1001_IEO_HAP_MD.wav"], "s"),
    "silence-after": ("note", ["1001_IEO_HAP_MD.wav"], "s"),
    "short": ("note", ["1001_IOM_HAP_XX.wav"], "0.06 s"),
    "codings": ("note", ["1001_IOM_FEA_XX.wav"], "FLAC PCM_16"),
    "unknown-names": ("warning", ["HOSTILE"], ""),
    "doubled-clips": ("error", ["1003_DFA_ANG_XX.wav", "1003_DFA_ANG_XX.wav"], "cremad/1003_DFA_ANG_XX"),
    "copies": ("warning", ["1002_DFA_NEU_XX.wav", "HOSTILE"], "set 1"),
    "copies-across-labels": ("error", ["1002_IEO_NEU_XX.wav", "1002_IEO_SAD_MD.wav"], "set 1"),
    "copies-across-speakers": ("error", ["1002_IOM_NEU_XX.wav", "1003_IOM_NEU_XX.wav"], "set 1"),
    "near-copies": ("note", ["1003_DFA_SAD_XX.wav"], "and AudioWAV/1003_IEO_SAD_MD.wav ("),
}


@pytest.mark.parametrize(("code", "expected"), FAULTS.items(), ids=FAULTS)
def test_a_fault_is_found(code, expected, finding, hostile_name):
    found = finding(code)
    level, names, remark = expected
    names = [hostile_name if name == "HOSTILE" else name for name in names]
    assert found.level == level
    assert sorted(paths(found)) == sorted(names)
    assert remark in found.paths[0][1]
    assert found.text.endswith(".")


def test_unreadable_files_are_named_with_their_fault(finding):
    found = finding("unreadable")
    reasons = {path.rpartition("/")[2]: reason for path, reason in found.paths}
    assert found.level == "error"
    assert found.text.startswith("4 of 55 files cannot be read")
    assert "empty file" in reasons["1001_DFA_ANG_XX.wav"]
    assert "not readable as audio" in reasons["1001_IEO_ANG_MD.wav"]
    assert "truncated" in reasons["1001_IOM_ANG_XX.wav"]
    assert "NaN" in reasons["1001_DFA_DIS_XX.wav"]


def test_the_comparison_with_the_release(faulty, finding):
    missing = finding("missing")
    assert missing.level == "warning"
    assert missing.text == "7390 of the release's 7442 clips are missing (99.3 %)."
    assert "1003_DFA_HAP_XX.wav" in paths(missing)
    assert finding("altered").text.startswith("Not the original bytes: 53 files")
    assert finding("unlisted").text.startswith("1 clip named like the release's")
    assert dict(faulty.official.counts) == {"altered": 53, "unlisted": 2}


def test_the_gravest_come_first_and_decide_the_verdict(faulty):
    order = ["error", "warning", "note", "ok"]
    levels = [order.index(found.level) for found in faulty.findings]
    assert levels == sorted(levels)
    level, text = faulty.verdict
    assert level == "error"
    assert text.startswith("Not fit to train on as it is: 4 errors and ")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (["error"], ("error", "Not fit to train on as it is: 1 error.")),
        (["warning", "warning", "ok"], ("warning", "Usable, with 2 warnings to read first.")),
        (["note", "ok"], ("note", "Fit to train on; 1 note to know of.")),
        (["ok"], ("ok", "Fit to train on; nothing stands out.")),
    ],
)
def test_verdicts(levels, expected):
    assert verdict([Finding("x", level, "x.") for level in levels]) == expected


def row(i, emotion="angry", speaker="a", role="clip", origin=None, sex=None, reason=None, **measured):
    values = {
        "bytes": 1,
        "format": "WAV",
        "subtype": "PCM_16",
        "honest_suffix": True,
        "sampling_rate": 16000,
        "channels": 1,
        "duration": 1.0,
        "loudness": -20.0,
        "dc_offset": 0.0,
        "clipped_share": 0.0,
        "leading_silence": 0.0,
        "trailing_silence": 0.0,
        "silent": False,
        "content_hash": str(i),
    }
    clip = Clip(path=f"{i}.wav", emotion=emotion, speaker=speaker, id=f"c/{i}", sex=sex)
    return Row(Found(f"{i}.wav", f"{i}.wav", role, clip, reason), Measurement(**values | measured), origin)


def codes(rows, official=None, near=()):
    return {found.code: found for found in find(rows, official, near, "A corpus")}


def balanced(**measured):
    """Ten speakers, two labels, both sexes: nothing to complain of."""
    return [
        row(i, ("angry", "sad")[i % 2], f"s{i // 2}", sex=("female", "male")[i // 2 % 2], **measured)
        for i in range(20)
    ]


def official(rows):
    counts = {"angry": 10, "sad": 10}
    return Official(len(rows), counts, counts, [], {r.file.path: r.origin for r in rows if r.origin})


def test_a_sound_corpus_has_only_good_findings():
    rows = balanced(origin="original")
    found = codes(rows, official(rows))
    assert set(found) == {"complete", "readable", "original"}
    assert {finding.level for finding in found.values()} == {"ok"}


def test_a_few_other_bytes_among_originals_are_damage():
    rows = [*balanced(origin="original"), row(99, speaker="s0", origin="altered")]
    found = codes(rows, official(rows))
    assert found["altered"].level == "error"
    assert found["altered"].text.startswith("1 of 21 clips have other bytes")
    assert "original" not in found


def test_re_encoded_files_are_noted():
    rows = balanced(origin="re-encoded")
    assert codes(rows, official(rows))["re-encoded"].text == (
        "Not the original bytes: 20 files re-encoded in another container; that audio cannot be verified by hash."
    )


def test_what_the_release_does_not_list_and_what_the_rules_leave_out():
    extra = row(50, speaker="s0", origin="unlisted")
    sung = row(51, speaker="s0", role="left out", reason="song")
    absent = Row(Found("u7", "u7", "absent", None, "labelled, but its audio is not there"), None)
    rows = [*balanced(), extra, sung, absent]
    found = [f for f in find(rows, official(rows), [], "A corpus") if f.code in ("unlisted", "left-out", "absent")]
    assert [(f.level, paths(f)) for f in found] == [
        ("warning", ["u7"]),
        ("warning", ["50.wav"]),
        ("note", ["51.wav"]),
    ]
    # Not in the statistics either: a copy that the rules leave out is none.
    assert "copies" not in codes([*rows, row(52, role="left out", reason="x", content_hash="1")])


def test_reasons_are_told_where_they_are_few():
    def told(*reasons):
        return codes([row(i, role="left out", reason=reason) for i, reason in enumerate(reasons)])["left-out"].text

    assert told("song", "song").endswith("rules: song.")
    assert told("song", "dull", "song").endswith("rules: dull (1); song (2).")
    assert told(*"abcde").endswith("rules: 5 reasons, named beside the files.")


def test_no_clip_at_all():
    pointer = Row(Found("a.wav", "a.wav", "LFS pointer"), None)
    found = codes([pointer])
    assert found["lfs-pointers"].text.startswith("1 of 1 files are Git LFS pointers")
    assert found["nothing-usable"].level == "error"
    assert "readable" not in found


def test_balance():
    assert codes([row(i, speaker=f"s{i}") for i in range(12)])["one-label"].level == "error"
    rows = [*balanced(), *(row(100 + i, "sad", f"s{i}") for i in range(10))]
    assert "The largest class (sad, 20 clips) has 2.0 times" in codes(rows)["imbalance"].text
    few = codes([row(0), row(1, "sad"), row(2, "angry", "b")])
    assert few["few-speakers"].text.startswith("2 speakers")
    assert "1 of 2 speakers without clips of some label (such as b: sad)" in few["empty-cells"].text
    rows = [row(i, ("angry", "sad")[i % 2], f"s{i}", sex=("female", "male")[i % 2]) for i in range(20)]
    assert codes(rows)["one-sex"].text == "Only male speakers have clips of: sad."


def test_a_label_told_by_the_recording():
    generator = np.random.default_rng(0)
    leak = [
        row(i, ("angry", "sad")[i % 2], f"s{i // 2 % 10}", leading_silence=0.3 * (i % 2) + generator.normal(0, 0.05))
        for i in range(40)
    ]
    found = codes(leak)
    assert "of the variance of the silence before the speech" in found["label-leak-leading-silence"].text
    assert not [code for code in found if code.startswith("label-leak") and "leading" not in code]
    # Too few clips to say.
    assert not [code for code in codes(leak[:18]) if code.startswith("label-leak")]


def test_a_speaker_recorded_louder():
    rows = balanced()
    rows += [row(60 + i, ("angry", "sad")[i], "loud", loudness=-5.0) for i in range(2)]
    assert "spans 15.0 LU, from -20.0 (s0) to -5.0 LUFS (loud)" in codes(rows)["speaker-loudness"].text


def test_few_clipped_clips_are_a_note_and_long_ones_are_told():
    rows = [row(i, speaker=f"s{i}") for i in range(101)]
    rows[7] = row(7, clipped_share=0.01, duration=40.0)
    found = codes(rows)
    assert found["clipped"].level == "note"
    assert paths(found["long"]) == ["7.wav"]


def test_harmless_channels_are_a_note():
    rows = balanced()
    rows[3] = row(3, "sad", "s1", sex="male", channels=2, mix_loss=0.1)
    assert codes(rows)["channels"].level == "note"


def test_near_copies_under_other_labels_are_worse():
    from ser_hf.inspection.tables import NearCopy

    rows = balanced()
    found = codes(rows, near=[NearCopy(rows[0], rows[1], 1.5, 0.02)])
    assert found["near-copies-across"].level == "warning"
    assert found["near-copies-across"].paths == (
        ("0.wav", "and 1.wav (1.50 s in common, 2.0 % of the fingerprint's bits differ)"),
    )

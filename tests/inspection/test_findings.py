"""Findings about the faulty corpus and about constructed clips: their order, level and files."""

from pathlib import Path

import numpy as np

from ser_hf.audio.near_duplicates import NearDuplicate
from ser_hf.corpora.release import Entry
from ser_hf.corpora.schema import Clip
from ser_hf.corpora.verify import ReleaseCheck
from ser_hf.inspection.finding import Finding
from ser_hf.inspection.findings import NearCopy, find, verdict
from ser_hf.inspection.measure import AudioFile, Measurement


def test_the_most_serious_findings_come_first(faulty):
    order = ["error", "warning", "note", "ok"]
    levels = [order.index(found.level) for found in faulty.findings]
    assert levels == sorted(levels)
    level, text = verdict(faulty.findings)
    assert (level, text) == ("error", "Not ready for training: 4 errors, 6 warnings and 6 notes.")
    warned = [Finding("x", "warning", "x."), Finding("x", "ok", "x.")]
    assert verdict(warned) == ("warning", "Usable for training: 1 warning.")
    assert verdict([Finding("x", "ok", "x.")]) == ("ok", "Ready for training: no remarks.")


def file(i, emotion="angry", speaker="a", role="clip", reason=None, **measured):
    values = {
        **{
            "bytes": 1,
            "sampling_rate": 16000,
            "duration": 1.0,
            "loudness": -20.0,
            "clipped_share": 0.0,
        },
        **{
            "leading_silence": 0.0,
            "trailing_silence": 0.0,
            "silent": False,
            "content_hash": str(i),
        },
    }
    clip = Clip(path=f"{i}.wav", emotion=emotion, speaker=speaker, id=f"c/{i}")
    return AudioFile(f"{i}.wav", f"{i}.wav", role, clip, reason, Measurement(**values | measured))


def balanced(**values):
    """Ten speakers and two labels, without defects."""
    return [file(i, ("angry", "sad")[i % 2], f"s{i // 2}", **values) for i in range(20)]


def findings(files, release=None, near=()):
    return {finding.code: finding for finding in find(files, release, near, "A corpus")}


def release(missing=(), altered=()):
    return ReleaseCheck("savee", Path("data"), list(missing), list(altered))


def test_a_sound_corpus_has_only_good_findings():
    found = findings(balanced(), release())
    assert set(found) == {"release", "readable"}
    assert {finding.level for finding in found.values()} == {"ok"}


def test_a_part_of_a_release_and_altered_files_are_named():
    found = findings(balanced(), release([Entry("b.wav", 1, "")], [Path("data/x/a.wav")]))[
        "release"
    ]
    assert found.text == "1 file of the release missing, 1 with other bytes."
    assert found.files == (("b.wav", "missing"), ("x/a.wav", "other bytes"))


def test_files_that_are_left_out():
    song = file(51, speaker="s0", role="left out", reason="song")
    absent = AudioFile("u7", "u7", "absent", None, "no audio")
    files = [*balanced(), song, absent]
    found = findings(files)
    codes = {"left-out": ("51.wav", "song"), "absent": ("u7", "no audio")}
    assert {code: found[code].files for code in codes} == {
        code: (own,) for code, own in codes.items()
    }
    # A copy that the corpus's rules leave out is no copy.
    assert "copies" not in findings(
        [*files, file(52, role="left out", reason="x", content_hash="1")]
    )


def test_a_corpus_without_clips():
    found = findings([AudioFile("a.wav", "a.wav", "unknown name")])
    assert found["nothing-usable"].level == "error"
    assert "readable" not in found


def test_balance():
    assert findings([file(i, speaker=f"s{i}") for i in range(12)])["one-label"].level == "error"
    files = [*balanced(), *(file(100 + i, "sad", f"s{i}") for i in range(10))]
    assert "The largest class (sad, 20 clips) has 2.0 times" in findings(files)["imbalance"].text
    few = findings([file(0), file(1, "sad"), file(2, "angry", "b")])
    assert few["few-speakers"].text.startswith("2 speakers")
    assert few["empty-cells"].text == "1 of 2 speakers without clips of some label."
    assert few["empty-cells"].files == (("b", ""),)
    assert few["empty-cells"].noun == "speaker"


def test_a_label_that_the_recording_reveals():
    generator = np.random.default_rng(0)
    leak = [
        file(
            i,
            ("angry", "sad")[i % 2],
            f"s{i // 2 % 10}",
            leading_silence=0.3 * (i % 2) + generator.normal(0, 0.05),
        )
        for i in range(40)
    ]
    found = findings(leak)
    assert "of the variance of the leading silence." in found["label-leak-leading-silence"].text
    assert [code for code in found if code.startswith("label-leak")] == [
        "label-leak-leading-silence"
    ]
    assert not [code for code in findings(leak[:18]) if code.startswith("label-leak")], (
        "too few clips"
    )


def test_a_speaker_that_is_louder():
    files = balanced() + [
        file(60 + i, ("angry", "sad")[i], "loud", loudness=-5.0) for i in range(2)
    ]
    assert (
        "spans 15.0 LU, from -20.0 (s0) to -5.0 LUFS (loud)"
        in findings(files)["speaker-loudness"].text
    )


def test_near_copies_across_labels_are_warnings():
    first, second = balanced()[:2]
    copy = NearCopy(first, second, NearDuplicate(0, 1, 1.5, 0.02))
    near = findings(balanced(), near=[copy])["near-copies-across"]
    assert near.level == "warning"
    assert near.files == (("0.wav", "and 1.wav (1.50 s in common)"),)

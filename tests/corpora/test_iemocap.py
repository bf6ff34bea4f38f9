"""IEMOCAP, on a generated tree: speakers, the conventions' classes, labels and recordings that do
not match.
"""

from collections import Counter

import pytest
from support.blank import write_blank

from ser_hf.corpora import corpus_settings, iemocap
from ser_hf.corpora.iemocap import GRAMMAR, read_ratings
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return iemocap.parse(corpus_settings("iemocap", root, **keys))


LABELS = ("ang", "hap", "exc", "neu", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


def line(utterance, label, values="[2.5000, 3.0000, 3.5000]"):
    raters = "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  3;\t()\n"
    return f"[6.2901 - 8.2357]\t{utterance}\t{label}\t{values}\n{raters}\n"


def write(root, *dialogues, labels=LABELS):
    """Write dialogues in which the woman has a turn of every label, and the man one of the first
    label.
    """
    for dialogue in dialogues:
        session = root / f"Session{dialogue[4]}"
        recordings = session / "sentences" / "wav" / dialogue
        text = HEADER
        turns = [(f"F{i:03d}", label) for i, label in enumerate(labels)] + [("M000", labels[0])]
        for turn, label in turns:
            write_blank(recordings, f"{dialogue}_{turn}.wav")
            text += line(f"{dialogue}_{turn}", label)
        write_blank(session, f"dialog/EmoEvaluation/{dialogue}.txt", content=text.encode())
    return root


def emotions(listing):
    return Counter(clip.emotion for clip in listing.clips if clip.sex == "female")


def test_a_clip_has_the_fields_of_its_name_and_its_line(tmp_path):
    write(tmp_path, "Ses03M_script02_1b", labels=("fru", "neu"))
    clips = parse(tmp_path, classes=6).clips
    path = tmp_path / "Session3/sentences/wav/Ses03M_script02_1b/Ses03M_script02_1b_F000.wav"
    assert clips[0].path == str(path)
    assert (clips[0].id, clips[0].emotion) == ("iemocap/Ses03M_script02_1b_F000", "frustrated")
    # The M of the dialogue wore the markers; the F of the turn speaks.
    woman = ("iemocap:Ses03F", "female")
    man = ("iemocap:Ses03M", "male")
    assert [(clip.speaker, clip.sex) for clip in clips] == [woman, woman, man]
    assert clips[0].language == "en"
    ratings = {"valence": 2.5, "activation": 3.0, "dominance": 3.5}
    assert clips[0].extra == {"session": "Session3", "kind": "scripted", **ratings}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"angry": 1, "happy": 2, "neutral": 1, "sad": 1}),
        (
            {"classes": 6},
            dict.fromkeys(("angry", "happy", "excited", "neutral", "sad", "frustrated"), 1),
        ),
    ],
    ids=str,
)
def test_the_conventions_classes(tmp_path, options, wanted):
    listing = parse(write(tmp_path, "Ses01F_impro01"), **options)
    assert emotions(listing) == wanted
    assert len(listing.clips) + len(listing.skipped) == len(LABELS) + 1


def test_left_out_clips_have_a_reason(tmp_path):
    listing = parse(write(tmp_path, "Ses01F_impro01"))
    labels = ("fru", "sur", "fea", "dis", "oth", "xxx")
    assert [reason for _, reason in listing.skipped] == [
        f"label {label}: not among the classes" for label in labels
    ]


@pytest.mark.parametrize(
    ("part", "wanted"), [("improvised", "Ses01F_impro01"), ("scripted", "Ses01F_script01_1")]
)
def test_one_part_of_the_dialogues_is_selected(tmp_path, part, wanted):
    listing = parse(write(tmp_path, "Ses01F_impro01", "Ses01F_script01_1"), part=part)
    assert {
        GRAMMAR.fullmatch(clip.id.removeprefix("iemocap/"))["dialogue"] for clip in listing.clips
    } == {wanted}
    assert {clip.extra["kind"] for clip in listing.clips} == {part}
    other = "scripted" if part == "improvised" else "improvised"
    assert (
        Counter(reason for _, reason in listing.skipped)[f"{other} (corpus.part is {part})"]
        == len(LABELS) + 1
    )


def test_a_dialogue_without_labels_is_an_error(tmp_path):
    write(tmp_path, "Ses01F_impro01", "Ses02F_impro01")
    (tmp_path / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt").unlink()
    with pytest.raises(
        UserError, match=r"Ses02F_impro01_F000.wav: no file Ses02F_impro01.txt in a folder EmoEval"
    ):
        parse(tmp_path)


def test_recordings_and_lines_without_each_other_are_left_out(tmp_path):
    folder = write(tmp_path, "Ses01F_impro01") / "Session1"
    whole = folder / "dialog/wav/Ses01F_impro01.wav"
    turns = folder / "sentences/wav/Ses01F_impro01"
    write_blank(folder, whole, turns / "Ses01F_impro01_MXX0.wav")
    (turns / "Ses01F_impro01_F003.wav").unlink()
    reasons = dict(parse(tmp_path).skipped)
    assert reasons[str(whole)] == "the recording of a complete dialogue"
    assert reasons[str(turns / "Ses01F_impro01_MXX0.wav")] == "no line of labels"
    assert reasons["Ses01F_impro01_F003"] == "labeled, but without audio"


def test_an_unknown_name_is_an_error_or_skipped(tmp_path):
    stray = write(tmp_path, "Ses01F_impro01") / "Ses06F_impro01_F000.wav"
    write_blank(tmp_path, stray)
    with pytest.raises(UserError, match="Ses06F_impro01_F000.wav: not a file name of IEMOCAP"):
        parse(tmp_path)
    assert (str(stray), "not a file name of IEMOCAP") in parse(tmp_path, on_unknown="skip").skipped


@pytest.mark.parametrize(
    "broken",
    [
        line("Ses01F_impro01_F000", "joy"),
        line("Ses01F_impro01_F000", "neu", "[2.5, 3.0]"),
        line("Ses01F_impro01_F000", "neu").replace("\t", " "),
    ],
)
def test_a_broken_line_is_named(tmp_path, broken):
    table = tmp_path / "Ses01F_impro01.txt"
    table.write_text(HEADER + line("Ses01F_impro01_F001", "neu") + broken)
    with pytest.raises(UserError, match=r"Ses01F_impro01.txt, line 7: expected \[start - end\]"):
        read_ratings(table)


def test_hidden_files_of_labels_are_ignored(tmp_path):
    write(tmp_path, "Ses01F_impro01")
    (tmp_path / "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt").write_text("[broken")
    assert len(parse(tmp_path).clips) == 6

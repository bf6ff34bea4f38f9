"""Splits: the checks of a new split, leaks, the fingerprint, the table and the file."""

import hashlib
import json

import pytest
from support.reports import typed, whole_report

import ser_hf
from ser_hf.inspection import Inspection
from ser_hf.inspection.finding import Finding
from ser_hf.protocols import PAIRS, PARTS, audit, fingerprint, make_split, save_splits
from ser_hf.protocols.split import Split, rows_where
from ser_hf.utils.errors import UserError

SPEAKERS = {"train": ["x:01", "x:02"], "validation": ["x:03"], "test": ["x:04"]}


def split_of(dataset, speakers=None, name="p", **options):
    rows = {
        part: rows_where(dataset, "speaker", own) for part, own in (speakers or SPEAKERS).items()
    }
    return make_split(name, dataset, rows, **options)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fold", [None, "x:04"])
def test_a_part_without_clips_is_refused(make_corpus, part, fold):
    where = "protocol p, fold x:04" if fold else "protocol p"
    with pytest.raises(UserError) as error:
        split_of(make_corpus(4), {**SPEAKERS, part: []}, fold=fold)
    assert str(error.value) == f"{where}: no clip in {part}"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_a_class_is_refused_where_there_are_no_folds(make_corpus, part):
    dataset = make_corpus(4)
    rows = split_of(dataset).rows
    rows[part] = [row for row in rows[part] if dataset[row]["label"] == 1]
    with pytest.raises(UserError, match=f"^protocol p: .* angry, sad in {part}; "):
        make_split("p", dataset, rows)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_fold_may_lack_classes_with_a_note(make_corpus, part):
    dataset = make_corpus(4)
    rows = split_of(dataset).rows
    rows[part] = [row for row in rows[part] if dataset[row]["label"] == 1]
    split = make_split("p", dataset, rows, fold="x:04", notes=["A note."])
    assert split.notes == (
        "A note.",
        f"No clip of angry, sad in {part}: its scores are means over the other classes.",
    )
    assert split.table(dataset).splitlines()[-2:] == list(split.notes)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (["x:04"], None),
        (
            ["x:03", "x:04"],
            "1 of the 2 test speakers were used to select the checkpoint, so these ",
        ),
        (
            ["x:01", "x:02", "x:03", "x:04"],
            "2 of the 4 test speakers were used for training, so these ",
        ),
    ],
)
def test_a_leak_is_found_by_counting(make_corpus, test, message):
    dataset = make_corpus(4)
    taken = {"train": [*range(6), *range(6, 9)], "validation": [*range(12, 15)]}
    others = set(rows_where(dataset, "speaker", test)) - set(sum(taken.values(), []))
    rows = {**taken, "test": sorted(others)}
    if "x:01" in test:
        rows["train"].remove(5)
        rows["test"].append(5)
    split = make_split("p", dataset, rows)
    assert (
        split.leak is None
        if message is None
        else split.leak.startswith(f"Speaker-dependent: {message}")
    )
    assert split.to_dict()["leak"] == split.leak
    assert ("Speaker-dependent" in split.table(dataset)) == (message is not None)


def test_the_fingerprint_is_of_the_clips_in_each_part_and_not_of_their_order(make_corpus):
    rows = list(range(4 * 6))
    plain, turned = (split_of(make_corpus(4, order=order)) for order in (rows, rows[::-1]))
    assert plain.ids != turned.ids
    assert plain.sha256 == turned.sha256


def test_the_fingerprint_is_known(make_corpus):
    """Published fingerprints must stay comparable."""
    assert (
        split_of(make_corpus(4)).sha256
        == "780fe63e3ad2f4e2e4b86bdb7461709376df96f8ac264ad05ce8941e93f71109"
    )


def test_folds_have_a_common_fingerprint_in_their_order(make_corpus):
    dataset = make_corpus(4)
    one = split_of(dataset)
    other = split_of(dataset, {**SPEAKERS, "validation": ["x:04"], "test": ["x:03"]})
    assert fingerprint([one]) == one.sha256
    assert (
        fingerprint([one, other])
        == hashlib.sha256((one.sha256 + other.sha256).encode()).hexdigest()
    )
    assert len({fingerprint(folds) for folds in ([one], [other], [one, other], [other, one])}) == 4


def test_the_table_counts_clips_speakers_and_labels(make_corpus):
    dataset = make_corpus(4)
    lines = split_of(dataset).table(dataset).splitlines()
    assert lines[0].split() == ["part", "clips", "speakers", "angry", "happy", "sad"]
    assert [line.split() for line in lines[1:4]] == [
        ["train", "12", "2", "4", "4", "4"],
        ["validation", "6", "1", "2", "2", "2"],
        ["test", "6", "1", "2", "2", "2"],
    ]
    assert lines[4:] == ["train: x:01, x:02", "validation: x:03", "test: x:04"]


def test_the_file_has_protocol_fingerprint_audit_and_parts(make_corpus, tmp_path):
    dataset = make_corpus(4)
    split = split_of(dataset, notes=["Ein Wort über die Sätze."])
    audited = audit(split, dataset)
    path = tmp_path / "split.json"
    path.write_text("an older one")
    save_splits([split], [audited], path, ["digest"])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == [
        "protocol",
        "sha256",
        "audit",
        "leak",
        "notes",
        "apart",
        "speakers",
        "ids",
        "clips",
    ]
    expected = {"protocol": "p", "sha256": split.sha256, "audit": audited.to_dict(), "leak": None}
    expected |= {"notes": ["Ein Wort über die Sätze."], "apart": dict.fromkeys(PAIRS, ["speaker"])}
    assert content == expected | {"speakers": SPEAKERS, "ids": split.ids, "clips": ["digest"]}
    assert content["ids"]["test"] == [f"x:04/{take}" for take in range(6)]
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]
    assert "über" in path.read_text(encoding="utf-8")


UNNAMED = {
    "of the same corpus in train": ({"train": "x:unknown"}, "used for training"),
    "of the same corpus in validation": (
        {"validation": "x:unknown"},
        "used to select the checkpoint",
    ),
    "of the same corpus in test": ({"test": "x:unknown"}, "used for training"),
    "of another corpus": ({"train": "y:unknown"}, None),
    'a speaker whose name contains "unknown"': ({"train": "x:unknown 1"}, None),
}


@pytest.mark.parametrize(("renamed", "message"), UNNAMED.values(), ids=UNNAMED)
def test_clips_with_unknown_speakers_may_be_of_a_test_speaker(
    make_corpus, with_column, renamed, message
):
    dataset = make_corpus(4)
    rows = split_of(dataset).rows
    speakers = list(dataset["speaker"])
    for part, name in renamed.items():
        for row in rows[part][:6]:
            speakers[row] = name
    split = make_split("p", with_column(dataset, "speaker", speakers), rows)
    if message is None:
        assert split.leak is None
    else:
        assert split.leak == (
            "Possibly speaker-dependent: clips of x have unknown speakers, so test speakers "
            f"may have been {message}, and these figures may not hold for unseen speakers."
        )
        assert split.table(dataset).endswith(split.leak)


def test_what_functions_return_is_one_line_at_the_prompt(make_corpus):
    split = split_of(make_corpus(4))
    assert repr(split).startswith(f"Split({split.name}, clips: ")
    assert repr(typed(whole_report())).startswith("Report(toy, uar on test: 0.")
    assert (
        repr(ser_hf.read_recipe("quickstart"))
        == "Recipe(quickstart: crnn on synthetic, speaker_independent)"
    )
    found = Inspection("x", None, {}, {}, [], [], [Finding("code", "note", "A note.")])
    assert repr(found) == "Inspection(x, 0 files; Ready for training: 1 note.)"


def test_a_split_shows_its_parts_in_a_notebook():
    rows = {"train": [0, 1], "validation": [2], "test": [3]}
    split = Split(
        name="<rule>",
        rows=rows,
        ids={part: [str(row) for row in rows[part]] for part in rows},
        speakers={"train": ["x:a", "x:b"], "validation": ["x:c"], "test": ["x:a"]},
        apart={},
        notes=("a & b",),
    )
    shown = split._repr_html_()
    assert "<td>train</td><td>2</td><td>2</td><td>x:a, x:b</td>" in shown
    assert "&lt;rule&gt;" in shown
    assert "LEAKY: Speaker-dependent" in shown
    assert "a &amp; b" in shown

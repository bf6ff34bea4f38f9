"""Tables from the names of files: patterns, suggestions, and the way from a flat folder."""

import csv

import numpy as np
import pytest
import soundfile

from ser_hf import cli, load_corpus
from ser_hf.corpora.name_patterns import compile_pattern, suggest, table_of_names
from ser_hf.utils.errors import UserError

PATTERN = "{speaker}_{label}_{take}"


def write_clips(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.normal(size=4000), 16000)
    return folder


@pytest.fixture
def flat(tmp_path):
    names = []
    for speaker in ("anna", "ben", "carl"):
        for label in ("angry", "sad"):
            names += [f"{speaker}_{label}_{take}" for take in ("01", "02")]
    return write_clips(tmp_path / "flat", names)


@pytest.mark.parametrize(
    ("pattern", "name", "groups"),
    [
        (PATTERN, "anna_sad_01", {"speaker": "anna", "label": "sad", "take": "01"}),
        ("{label}-{speaker}", "sad-anna_b", {"label": "sad", "speaker": "anna_b"}),
        ("s{speaker}.{label}", "s03.fear", {"speaker": "03", "label": "fear"}),
        (
            r"(?P<speaker>[A-Z]+)_(?P<label>[a-z]+)(?P<take>\d+)",
            "DC_sa02",
            {"speaker": "DC", "label": "sa", "take": "02"},
        ),
        (
            "{speaker}/{label}_{take}",
            "anna/sad_1",
            {"speaker": "anna", "label": "sad", "take": "1"},
        ),
    ],
)
def test_a_pattern_names_the_parts(pattern, name, groups):
    assert compile_pattern(pattern).fullmatch(name).groupdict() == groups


def test_a_name_with_more_parts_does_not_match():
    assert compile_pattern(PATTERN).fullmatch("anna_lee_sad_01") is None


@pytest.mark.parametrize(
    "pattern", ["{speaker}_{take}", "(?P<label>", "{the label}", "{path}{label}"]
)
def test_a_wrong_pattern_is_refused(pattern):
    with pytest.raises(UserError, match=r"^--pattern: "):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["anna_angry_01", "ben_sad_02", "ben_angry_01", "anna_sad_01"], PATTERN),
        (["01-fear-a", "01-sad-b", "02-sad-a", "02-fear-b"], "{take}-{label}-{speaker}"),
        (["01-fear", "01-sad", "02-sad", "02-fear"], "{speaker}-{label}"),
        (["anna_x_01", "ben_y_02"], None),
        (["recording", "other"], None),
    ],
)
def test_a_pattern_is_suggested_from_names(tmp_path, names, pattern):
    assert suggest(write_clips(tmp_path / "clips", names)) == pattern


def test_files_with_another_name_are_listed(flat):
    write_clips(flat, ["room"])
    table = table_of_names(flat, PATTERN)
    assert table.columns == ["path", "label", "speaker", "take"]
    assert len(table.rows) == 12
    assert [path.name for path in table.unmatched] == ["room.wav"]


def test_from_a_flat_folder_to_a_corpus(flat, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["table", "flat"]) == 2
    assert f"--pattern '{PATTERN}'" in capsys.readouterr().err
    assert cli.main(["table", "flat", "--pattern", PATTERN, "--output", "tables/clips.csv"]) == 0
    printed = capsys.readouterr().out
    assert "speaker: anna 4, ben 4, carl 4" in printed
    assert "next: ser-hf inspect csv tables/clips.csv" in printed
    rows = list(csv.DictReader((tmp_path / "tables" / "clips.csv").open()))
    assert rows[0]["path"] == "../flat/anna_angry_01.wav"
    corpus = load_corpus("csv", tmp_path / "tables" / "clips.csv")
    assert sorted(set(corpus["speaker"])) == ["csv:anna", "csv:ben", "csv:carl"]

    assert cli.main(["table", "flat", "--pattern", PATTERN, "--output", "tables/clips.csv"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_the_table_says_what_is_missing(tmp_path, capsys):
    folder = write_clips(tmp_path / "clips", ["x_angry", "x_wutig"])
    output = tmp_path / "clips.csv"
    arguments = ["table", str(folder), "--pattern", "x_{label}", "--output", str(output)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "no {speaker}" in printed
    assert "corpus.label_map" in printed


def test_no_match_names_a_file_and_the_suggestion(flat):
    with pytest.raises(UserError, match=r"^--pattern: .*anna_angry_01; the names look like"):
        table_of_names(flat, "{label}.{speaker}")


@pytest.mark.parametrize("verb", [["inspect", "audiofolder"]])
def test_a_flat_folder_is_answered_with_the_command_that_helps(flat, verb, capsys, tmp_path):
    output = tmp_path / "page"
    assert cli.main([*verb, str(flat), "--output", str(output)]) == 2
    assert f"ser-hf table {flat} --pattern '{PATTERN}'" in capsys.readouterr().err
    assert not output.exists()

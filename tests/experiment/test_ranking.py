"""A ranking of runs: groups by split, runs without a rank, names, the files and the terminal."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import complaint
from support.html_page import Page

from ser_hf import UserError, cli, rank_runs
from ser_hf.evaluation.metrics import classification_metrics

LABELS = ["angry", "happy", "sad"]
CLIPS = 120
SPEAKERS = [f"toy:{i:02d}" for i in range(12)]


def write_run(folder, draw, right, *, name="toy", sha256="a" * 64, shared=0, part="test"):
    """Write the report and the predictions of a run that recognizes about this share of clips."""
    generator = np.random.default_rng(draw)
    labels = np.arange(CLIPS) % 3
    guesses = generator.integers(3, size=CLIPS)
    predicted = np.where(generator.random(CLIPS) < right, labels, guesses)
    table = {
        "id": [f"toy/{i:03d}" for i in range(CLIPS)],
        "part": [part] * CLIPS,
        "speaker": [SPEAKERS[i % 12] for i in range(CLIPS)],
        "label": [LABELS[i] for i in labels],
        "predicted": [LABELS[i] for i in predicted],
    }
    for number, label in enumerate(LABELS):
        table[f"p_{label}"] = (predicted == number).astype(float)
    metrics = classification_metrics(labels, predicted, 3)
    values = {
        "name": name,
        "judged_on": part,
        "labels": LABELS,
        "confidence": 0.95,
        "protocol": {
            "name": "speaker_independent",
            "sha256": sha256,
            "leak": None,
            "parts": {part: {"clips": CLIPS, "speakers": SPEAKERS}},
        },
        "audit": {"shared": {f"train/{part}": {"speakers": shared}}},
        "metrics": metrics,
        "parts": {"validation": metrics},
        "confusion": np.zeros((3, 3), int).tolist(),
        "intervals": {key: [value - 0.05, value + 0.04] for key, value in metrics.items()},
        "model": {"parameters": 190_000, "learning": 648},
        "seconds": {"training": 60.0 + draw, "per_epoch": None},
    }
    report = folder / "report"
    report.mkdir(parents=True)
    (report / "report.json").write_text(json.dumps(values), encoding="utf-8")
    pq.write_table(pa.table(table), report / "predictions.parquet")
    # A run's folder has a copy of the report beside the model.
    (folder / "model").mkdir()
    (folder / "model" / "report.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two honest runs, and a better one that was trained on test speakers; one of another split."""
    folder = tmp_path / "runs"
    write_run(folder / "weak", 1, 0.3, name="weak")
    write_run(folder / "strong", 2, 0.9, name="strong")
    write_run(folder / "leaky", 3, 0.98, name="leaky", shared=4)
    write_run(folder / "elsewhere", 4, 0.5, name="elsewhere", sha256="b" * 64)
    return folder


def test_runs_are_ranked_among_those_on_the_same_split(runs):
    first, second = rank_runs([runs], resamples=200).groups
    assert [(row.rank, row.run.name) for row in first.runs] == [
        (1, "strong"),
        (2, "weak"),
        (None, "leaky"),
    ]
    assert first.runs[0].behind_first is None
    assert first.runs[1].behind_first.startswith("shown (p = ")
    assert "its training had these speakers" in first.runs[2].reason
    assert [(row.rank, row.run.name) for row in second.runs] == [(1, "elsewhere")]
    assert (first.sha256, second.sha256) == ("a" * 64, "b" * 64)
    assert first.ranked == 2


def test_other_labels_or_another_part_are_another_group(tmp_path):
    write_run(tmp_path / "test", 1, 0.5, name="one")
    write_run(tmp_path / "validation", 2, 0.6, name="two", part="validation")
    assert [group.part for group in rank_runs([tmp_path]).groups] == ["test", "validation"]


def test_runs_of_one_recipe_are_named_after_their_folders(tmp_path):
    for folder, draw in (("a/seed1", 1), ("b/seed1", 2), ("b/seed2", 3)):
        write_run(tmp_path / folder, draw, 0.5)
    names = {row.run.name for row in rank_runs([tmp_path]).groups[0].runs}
    assert names == {"a/seed1", "b/seed1", "b/seed2"}


def test_the_files_hold_the_ranking_and_no_place_of_this_machine(runs, tmp_path):
    output = tmp_path / "ranking"
    rank_runs([runs], output=output, title="Toys <1>")
    names = {path.name for path in output.iterdir()}
    assert names == {"index.html", "ranking.json", "ranking.csv", "README.md"}
    for path in output.iterdir():
        assert str(tmp_path) not in path.read_text(encoding="utf-8")

    content = json.loads((output / "ranking.json").read_text(encoding="utf-8"))
    assert [len(group["runs"]) for group in content["groups"]] == [3, 1]
    with open(output / "ranking.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["run"]) for row in rows] == [
        ("1", "strong"),
        ("2", "weak"),
        ("", "leaky"),
        ("1", "elsewhere"),
    ]
    assert float(rows[0]["uar"]) == content["groups"][0]["runs"][0]["run"]["metrics"]["uar"]

    page = Page((output / "index.html").read_text(encoding="utf-8"))
    assert "Toys <1>" in page.text
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "sdk: static" in card
    assert "app_file: index.html" in card


def test_each_split_has_a_chart_also_as_pdf_and_without_it_later(runs, tmp_path):
    output = tmp_path / "ranking"
    rank_runs([runs], output=output, pictures="pdf")
    for name in ("ranking_1.pdf", "ranking_2.pdf"):
        assert (output / name).read_bytes().startswith(b"%PDF")
    page = Page((output / "index.html").read_text(encoding="utf-8"))
    charts = page.all("img")
    assert len(charts) == 2
    assert charts[0]["alt"].startswith("Bar chart of UAR with intervals: strong ")
    rank_runs([runs], output=output)
    assert not list(output.glob("*.pdf"))


def test_an_earlier_ranking_is_replaced_and_other_files_are_not(runs, tmp_path):
    output = tmp_path / "ranking"
    rank_runs([runs], output=output)
    rank_runs([runs], output=output)
    (output / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"^--output: .*notes\.txt"):
        rank_runs([runs], output=output)
    assert (output / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_mistakes_name_what_is_wrong(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: .*no report.json"):
        rank_runs([tmp_path / "empty"])
    with pytest.raises(UserError, match="--metric: 'ccc'"):
        rank_runs([runs], metric="ccc")
    with pytest.raises(UserError, match="the same run as"):
        rank_runs([runs, runs / "weak"])


def test_the_command_prints_a_table_for_each_split(runs, tmp_path, capsys):
    output = tmp_path / "ranking"
    assert cli.main(["rank", str(runs), "--output", str(output), "--metric", "wa"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("speaker_independent, split ") == 2
    assert "strong" in printed
    assert (output / "index.html").resolve().as_uri() in printed

    assert cli.main(["rank", str(runs), "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["metric"] == "uar"

    assert cli.main(["rank", str(tmp_path / "nowhere"), "--output", str(output)]) == 2
    assert "nowhere" in complaint(capsys)

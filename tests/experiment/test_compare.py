"""Comparison of runs: sources, pairs, warnings and the command."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import complaint
from support.compared_runs import (
    CLIPS,
    SPEAKERS,
    better_and_worse,
    compare,
    finished_run,
    predict,
    report,
    write,
)
from support.reports import whole_report

from ser_hf import UserError, cli
from ser_hf.experiment.compare import FILES
from ser_hf.experiment.comparison_page import tables


@pytest.fixture
def two(tmp_path):
    """A better run, and a worse one with another order of classes."""
    return better_and_worse(tmp_path)


def test_runs_with_robustness_have_the_area_of_noise(two, tmp_path):
    compared = compare(
        *two, finished_run(tmp_path / "noisy", 2, 0.8, robustness=whole_report()["robustness"])
    )
    assert {row.name: row.noise for row in compared.runs} == {
        "good": None,
        "poor": None,
        "noisy": 0.4,
    }
    assert ["in noise" in tables(comparison)[0] for comparison in (compared, compare(*two))] == [
        True,
        False,
    ]


def test_the_better_run_comes_first_and_the_difference_is_tested(two):
    compared = compare(*reversed(two))
    assert [row.name for row in compared.runs] == ["good", "poor"]
    (pair,) = compared.pairs
    difference = pair.metrics["uar"]
    good, poor = compared.runs
    # Metrics of the predictions equal those of the reports: clips and classes are in the same
    # order.
    assert difference.a == pytest.approx(good.metrics["uar"])
    assert difference.b == pytest.approx(poor.metrics["uar"])
    assert difference.interval[0] > 0
    assert pair.verdict == "good is better"
    assert pair.clips == CLIPS
    assert pair.speakers == SPEAKERS
    assert pair.p_holm == difference.p == pytest.approx(2 / 301)


def test_the_bootstrap_uses_all_seeds(tmp_path):
    folders = []
    for name, seeds in (("three", (3, 1, 2)), ("two", (2, 3)), ("others", (8, 9))):
        tables, metrics = zip(
            *[predict(10 * seed + len(name), 0.6, seed=seed) for seed in seeds], strict=True
        )
        mean = {key: float(np.mean([of_seed[key] for of_seed in metrics])) for key in metrics[0]}
        seeded = {
            str(seed): {"metrics": of_seed, "validation": of_seed}
            for seed, of_seed in zip(seeds, metrics, strict=True)
        }
        values = report(name, mean, seeds=seeded, deviations={"uar": 0.01})
        folders.append(write(tmp_path / name, values, pa.concat_tables(tables)))
    compared = compare(*folders)
    row = next(row for row in compared.runs if row.name == "three")
    assert (row.seeds, row.folds) == (3, 0)
    assert row.deviations == {"uar": 0.01}
    for pair in compared.pairs:
        sides = {row.name: row.metrics["uar"] for row in compared.runs}
        assert pair.metrics["uar"].a == pytest.approx(sides[pair.a])


def test_folds_are_pooled_by_clip(tmp_path):
    table, metrics = predict(0, 0.8)
    fold = [1 if int(name[-3:]) < 40 else 2 for name in table["id"].to_pylist()]
    folded = table.append_column("fold", pa.array(fold))
    folds = {
        str(number): {"metrics": metrics, "validation": metrics, "parts": {}} for number in (1, 2)
    }
    values = report("folds", metrics)
    values["protocol"] |= {"folds": folds}
    compared = compare(
        write(tmp_path / "folds", values, folded), finished_run(tmp_path / "plain", 5, 0.8)
    )
    (pair,) = compared.pairs
    assert pair.clips == CLIPS
    assert sorted(row.folds for row in compared.runs) == [0, 2]
    assert any("pool the clips of all folds" in warning for warning in compared.warnings)


def test_runs_that_cannot_be_paired(two, tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    shutil.copy(finished_run(tmp_path / "alone", 7, 0.5) / "report" / "report.json", published)
    table, metrics = predict(4, 0.6, clips=90)
    fewer = write(tmp_path / "fewer", report("fewer", metrics, sha256="b" * 64), table)
    renamed = finished_run(tmp_path / "renamed", 5, 0.6, labels=["sad", "angry", "calm"])
    shifted, metrics = predict(6, 0.6)
    labels = pa.array(
        ["sad" if label == "happy" else label for label in shifted["label"].to_pylist()]
    )
    relabelled = shifted.set_column(shifted.column_names.index("label"), "label", labels)
    merged = write(tmp_path / "merged", report("merged", metrics), relabelled)
    compared = compare(*two, published, fewer, renamed, merged)
    assert {(pair.a, pair.b) for pair in compared.pairs} == {("good", "poor")}
    assert "alone: not paired, its predictions are missing." in compared.warnings
    groups = next(
        warning
        for warning in compared.warnings
        if warning.startswith("Only runs with the same clips")
    )
    assert sorted(groups.partition(": ")[2].rstrip(".").split("; ")) == [
        "fewer",
        "good, poor",
        "merged",
        "renamed",
    ]
    assert any("different splits" in warning for warning in compared.warnings)


def test_a_leaky_run_is_marked_everywhere(two, tmp_path):
    leaky = finished_run(tmp_path / "leaky", 8, 0.97)
    path = leaky / "report" / "report.json"
    values = json.loads(path.read_text())
    values["protocol"]["leak"] = "Speaker-dependent: all test speakers are in the training split."
    path.write_text(json.dumps(values))
    compared = compare(*two, leaky, output=tmp_path / "out")
    assert (
        "leaky: LEAKY: Speaker-dependent: all test speakers are in the training split."
        in compared.warnings
    )
    assert "speaker_independent aaaaaaaa LEAKY" in tables(compared)[0].to_string()
    page = (tmp_path / "out" / "index.html").read_text()
    assert "leaky: LEAKY: Speaker-dependent" in page


def test_few_speakers_and_single_trainings(tmp_path):
    for seed, name in enumerate(("a", "b")):
        folder = finished_run(tmp_path / name, seed, 0.6)
        path = folder / "report" / "predictions.parquet"
        table = pq.read_table(path)
        speakers = pa.array([f"toy:{int(name[-3:]) % 4}" for name in table["id"].to_pylist()])
        pq.write_table(
            table.set_column(table.column_names.index("speaker"), "speaker", speakers), path
        )
    compared = compare(tmp_path / "a", tmp_path / "b")
    assert compared.pairs[0].speakers == 4
    assert any(
        warning.startswith("Differences on fewer than 10 speakers") for warning in compared.warnings
    )
    assert any("one training" in warning for warning in compared.warnings)


def test_runs_of_the_same_name_and_without_speakers(tmp_path):
    for name in ("first", "second"):
        table, metrics = predict(len(name), 0.6)
        values = report("crnn", metrics)
        del values["model"], values["seconds"]
        speakers = pa.nulls(len(table), pa.string())
        write(
            tmp_path / name,
            values,
            table.set_column(table.column_names.index("speaker"), "speaker", speakers),
        )
    compared = compare(tmp_path / "first", f"{tmp_path / 'second'}/")
    assert {row.name for row in compared.runs} == {
        str(tmp_path / "first"),
        str(tmp_path / "second"),
    }
    (pair,) = compared.pairs
    assert pair.speakers is None
    assert pair.metrics["uar"].interval == pair.metrics["uar"].clip_interval


def test_a_sweep_is_represented_by_its_winner(two, tmp_path):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"sweep: contains no report"):
        compare(two[0], sweep)
    finished_run(sweep / "best", 4, 0.7)
    compared = compare(two[0], sweep)
    assert str(sweep) in {row.source for row in compared.runs}


def _damaged(folder):
    finished_run(folder, 3, 0.5)
    (folder / "report" / "predictions.parquet").write_bytes(b"PAR1")


def _no_report(folder):
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.json").write_text('{"name": "x", "metrics": {}}')


def _same_run(folder):
    shutil.copytree(folder.parent / "good", folder)


def test_a_folder_without_a_report_is_refused(two, tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError) as error:
        compare(*two, tmp_path / "x")
    assert str(error.value).startswith(
        f"{tmp_path / 'x'}: contains no report; name the folder of a finished run"
    )


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (lambda folder: None, "x"),
        (lambda folder: folder.write_text("{"), "x"),
        (_damaged, "x/report/predictions.parquet"),
        (_no_report, "x/report/report.json"),
        (_same_run, "x"),
    ],
)
def test_a_mistake_names_its_file_in_one_line(two, tmp_path, make, file):
    make(tmp_path / "x")
    with pytest.raises(UserError) as error:
        compare(*two, tmp_path / "x")
    assert str(error.value).startswith(f"{tmp_path / file}: ")
    assert "\n" not in str(error.value)


def test_the_command(two, tmp_path, capsys):
    good, poor = map(str, two)
    out = tmp_path / "out"
    assert cli.main(["compare", good, poor, "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    assert all(
        words in printed for words in ("good over poor", "good is better", "190,000", "121.0 min")
    )
    assert {path.name for path in out.iterdir()} == {*FILES} - {"comparison.pdf"}
    assert complaint(capsys, "compare", good).startswith(f"error: {good}: ")
    line = complaint(capsys, "compare", good, poor, "--output", good)
    assert line.startswith("error: --output: ")
    assert cli.main(["compare", good, poor, "--output", str(out), "--metric", "wa"]) == 0
    assert json.loads((out / "comparison.json").read_text())["metric"] == "wa"

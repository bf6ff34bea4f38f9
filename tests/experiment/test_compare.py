"""Comparison of runs: sources, pairs, warnings, the terminal, and the files."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import Markup
from support.commands import complaint
from support.html_page import Page
from support.reports import whole_report

from ser_hf import UserError, cli, compare_runs
from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.experiment.compare import FILES
from ser_hf.experiment.comparison_page import bar_chart, breakable, paper_table, tables

LABELS = ["sad", "angry", "happy"]
SPEAKERS = 12
CLIPS = 120


def predict(draw, right, labels=LABELS, clips=CLIPS, part="test", **more):
    """A run's table of predictions in random order, and its metrics."""
    generator = np.random.default_rng(draw)
    true = np.arange(clips) % 3
    predicted = np.where(generator.random(clips) < right, true, generator.integers(3, size=clips))
    order = generator.permutation(clips)
    # The emotion of a clip does not depend on the order of the classes.
    names = [sorted(labels)[i] for i in true], [sorted(labels)[i] for i in predicted]
    columns = {
        "id": [f"toy/{i:03d}" for i in order],
        "part": [part] * clips,
        "speaker": [f"toy:{i % SPEAKERS:02d}" for i in order],
        "label": [names[0][i] for i in order],
        "predicted": [names[1][i] for i in order],
    }
    columns |= {f"p_{name}": [float(names[1][i] == name) for i in order] for name in labels}
    columns |= {key: [value] * clips for key, value in more.items()}
    return pa.table(columns), classification_metrics(true, predicted, 3)


def report(name, metrics, labels=LABELS, sha256="a" * 64, **changes):
    parts = {"test": {"clips": CLIPS, "speakers": [f"toy:{i:02d}" for i in range(SPEAKERS)]}}
    return {
        **{"name": name, "judged_on": "test", "labels": labels, "confidence": 0.95},
        "protocol": {"name": "speaker_independent", "sha256": sha256, "leak": None, "parts": parts},
        "audit": {"shared": {"train/test": {"speakers": 0}}},
        **{"metrics": metrics, "parts": {"validation": metrics}},
        "confusion": np.zeros((3, 3), int).tolist(),
        "intervals": {name: [value - 0.05, value + 0.04] for name, value in metrics.items()},
        "model": {"parameters": 190_000, "learning": 648},
        "seconds": {"training": 7260.0, "per_epoch": None},
    } | changes


def write(folder, values, table=None):
    """The folder of a finished run."""
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.json").write_text(json.dumps(values), encoding="utf-8")
    if table is not None:
        pq.write_table(table, folder / "report" / "predictions.parquet")
    return folder


def run(folder, seed, right, **changes):
    labels = changes.get("labels", LABELS)
    table, metrics = predict(seed, right, labels)
    return write(folder, report(folder.name, metrics, **changes), table)


@pytest.fixture
def two(tmp_path):
    """A better run, and a worse one with another order of classes."""
    return [run(tmp_path / "good", 0, 0.9), run(tmp_path / "poor", 1, 0.4, labels=sorted(LABELS))]


def compare(*sources, **options):
    return compare_runs(sources, resamples=300, **options)


def test_runs_with_robustness_have_the_area_of_noise(two, tmp_path):
    compared = compare(
        *two, run(tmp_path / "noisy", 2, 0.8, robustness=whole_report()["robustness"])
    )
    assert {row.name: row.noise for row in compared.runs} == {
        "good": None,
        "poor": None,
        "noisy": 0.4,
    }
    assert ["in noise" in tables(own)[0] for own in (compared, compare(*two))] == [True, False]


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
        mean = {key: float(np.mean([own[key] for own in metrics])) for key in metrics[0]}
        seeded = {
            str(seed): {"metrics": own, "validation": own}
            for seed, own in zip(seeds, metrics, strict=True)
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
    compared = compare(write(tmp_path / "folds", values, folded), run(tmp_path / "plain", 5, 0.8))
    (pair,) = compared.pairs
    assert pair.clips == CLIPS
    assert sorted(row.folds for row in compared.runs) == [0, 2]
    assert any("pool the clips of all folds" in warning for warning in compared.warnings)


def test_runs_that_cannot_be_paired(two, tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    shutil.copy(run(tmp_path / "alone", 7, 0.5) / "report" / "report.json", published)
    table, metrics = predict(4, 0.6, clips=90)
    fewer = write(tmp_path / "fewer", report("fewer", metrics, sha256="b" * 64), table)
    renamed = run(tmp_path / "renamed", 5, 0.6, labels=["sad", "angry", "calm"])
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
    leaky = run(tmp_path / "leaky", 8, 0.97)
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
        folder = run(tmp_path / name, seed, 0.6)
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
    run(sweep / "best", 4, 0.7)
    compared = compare(two[0], sweep)
    assert str(sweep) in {row.source for row in compared.runs}


def _damaged(folder):
    run(folder, 3, 0.5)
    (folder / "report" / "predictions.parquet").write_bytes(b"PAR1")


def _no_report(folder):
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.json").write_text('{"name": "x", "metrics": {}}')


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: None, r"x: no such folder here"),
        (
            lambda folder: folder.mkdir(),
            r"x: contains no report; name the folder of a finished run",
        ),
        (_damaged, r"x/report/predictions.parquet: not a table of predictions of ser_hf"),
        (_no_report, r"x/report/report.json: not a report of ser_hf: "),
        (lambda folder: folder.write_text("{"), r"x: cannot be read as JSON: Expecting"),
        (
            lambda folder: shutil.copytree(folder.parent / "good", folder),
            r"x: the same run as .*good; name it once",
        ),
    ],
)
def test_mistakes_print_one_line(two, tmp_path, make, expected):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=expected) as caught:
        compare(*two, tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_the_command(two, tmp_path, capsys):
    good, poor = map(str, two)
    out = tmp_path / "out"
    assert cli.main(["compare", good, poor, "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    assert all(
        words in printed for words in ("good over poor", "good is better", "190,000", "121.0 min")
    )
    assert {path.name for path in out.iterdir()} == {*FILES}
    assert "a comparison needs two runs or more" in complaint(capsys, "compare", good)
    assert "is not of a comparison" in complaint(capsys, "compare", good, poor, "--output", good)
    assert cli.main(["compare", good, poor, "--output", str(out), "--metric", "wa"]) == 0
    assert json.loads((out / "comparison.json").read_text())["metric"] == "wa"


def test_tables_for_papers_mark_the_best_where_the_difference_is_shown(two, tmp_path, capsys):
    assert cli.main(["compare", *map(str, two), "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    compared = compare(*two)
    uar = compared.runs[0].metrics["uar"]
    assert rf"good & \textbf{{{uar:.3f}}} & {uar - 0.05:.3f} to {uar + 0.04:.3f}" in latex
    assert f"| good | **{uar:.3f}** | {uar - 0.05:.3f} to {uar + 0.04:.3f} |" in paper_table(
        compared, "markdown"
    )
    (row, _) = csv.DictReader(paper_table(compared, "csv").splitlines())
    assert float(row["intervals.uar.low"]) == pytest.approx(uar - 0.05)
    leaky = replace(compared.runs[0].protocol, shared_speakers=2)
    runs = [replace(compared.runs[0], protocol=leaky), compared.runs[1]]
    marked = paper_table(replace(compared, runs=runs), "markdown")
    assert f"| good (knows test speakers) | {uar:.3f} |" in marked
    equal = compare(two[0], run(tmp_path / "a_|b", 2, 0.9))
    assert r"a_\|b" in paper_table(equal, "markdown")
    assert r"a\_|b" in paper_table(equal, "latex")
    assert "**" not in paper_table(equal, "markdown")


def test_the_files_say_the_same(two, tmp_path):
    out = tmp_path / "out"
    third = run(tmp_path / "$x^ <b>&", 5, 0.6)
    compared = compare(*two, third, output=out)
    assert json.loads((out / "comparison.json").read_text()) == compared.to_dict()
    with (out / "comparison.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["metrics.uar"]) for line in lines] == [
        row.metrics["uar"] for row in compared.runs
    ]
    assert lines[0]["seconds"] == "7260.0"
    text = (out / "index.html").read_text()
    page = Page(text)
    assert "<b>" not in text.partition("</style>")[2].replace("<b>&amp;", "")
    assert "$x^ <b>& over poor" in page.text
    assert page.text.count("better") >= 3
    (image,) = page.all("img")
    assert image["src"].startswith("data:image/svg+xml;base64,")
    assert "good 0." in image["alt"]
    (narrow,) = page.all("source")
    assert narrow["srcset"].startswith("data:image/svg+xml;base64,")
    assert narrow["srcset"] != image["src"]
    assert not [tag for tag in ("script", "link", "iframe") if page.all(tag)]
    assert {link["href"] for link in page.all("a")} <= {path.name for path in out.iterdir()}
    first = (out / "comparison.svg").read_bytes()
    compare(*two, third, output=out)
    assert (out / "comparison.svg").read_bytes() == first


def test_names_are_divided_between_words_and_the_axis_ends_at_one(two):
    assert breakable("cremad_wavlm-lora is <b>") == Markup(
        "cremad_<wbr>wavlm-<wbr>lora is &lt;b&gt;"
    )
    assert breakable("0.512 to -0.634") == "0.512 to -0.634"
    assert breakable(3) == "3"
    rows = compare(*two).runs
    (axes,) = bar_chart(rows, "uar").axes
    assert axes.get_xlim() == (0, 1)
    assert max(axes.get_xticks()) <= 1

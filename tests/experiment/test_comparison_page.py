"""The files of a comparison: page, chart and tables."""

import csv
import json
from dataclasses import replace

import pytest
from markupsafe import Markup
from support.compared_runs import better_and_worse, compare, finished_run
from support.html_page import Page

from ser_hf import cli
from ser_hf.experiment.compare import PublishedResults
from ser_hf.experiment.comparison_page import (
    bar_chart,
    breakable,
    paper_table,
    published_tables,
)


@pytest.fixture
def two(tmp_path):
    """A better run, and a worse one with another order of classes."""
    return better_and_worse(tmp_path)


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
    equal = compare(two[0], finished_run(tmp_path / "a_|b", 2, 0.9))
    assert r"a_\|b" in paper_table(equal, "markdown")
    assert r"a\_|b" in paper_table(equal, "latex")
    assert "**" not in paper_table(equal, "markdown")


def test_the_chart_is_a_pdf_for_a_paper_on_request(two, tmp_path, capsys):
    arguments = ["compare", *map(str, two), "--pictures", "pdf"]
    assert cli.main(arguments) == 2
    assert "--pictures: needs --output" in capsys.readouterr().err
    for _ in range(2):  # a comparison with the picture may be replaced
        assert cli.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    content = (tmp_path / "out" / "comparison.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/MediaBox [ 0 0 240." in content  # 8.5 cm in points


def test_the_files_say_the_same(two, tmp_path):
    out = tmp_path / "out"
    third = finished_run(tmp_path / "$x^ <b>&", 5, 0.6)
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


def test_published_figures_are_beside_those_of_the_runs(two):
    compared = compare(*two)
    assert published_tables(compared) == {}
    name = compared.runs[0].name
    results = PublishedResults(
        protocol="someone/toy",
        runs=[name],
        figures={"their network": {"uar": 0.001}, "their best": {"uar": 0.999, "wa": 0.9}},
        figures_source="https://example.org",
    )
    tables = published_tables(replace(compared, published=[results]))
    (table,) = tables.values()
    assert list(tables) == ["Published under someone/toy (https://example.org)"]
    systems = ["their best", f"{name} (this comparison)", "their network"]
    assert table["system"].tolist() == systems
    assert table["WA"].tolist()[0] == "0.900"
    assert table["WA"].tolist()[2] == "-"


def test_latex_has_the_test_in_its_caption(two, capsys):
    assert cli.main(["compare", *map(str, two), "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.startswith("\\begin{table}[t]\n\\centering\n")
    caption = next(line for line in latex.splitlines() if line.startswith(r"\caption{"))
    assert r"95 \% intervals." in caption
    assert "Holm" in caption
    assert not any(line.startswith("%") for line in latex.splitlines())

"""The leaderboard of a sweep: its page, its table, and the importances of the parameters."""

import importlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from stubs import Runs, grid, table

from ser_hf.sweeps.leaderboard import _cell
from ser_hf.utils.errors import UserError

RATES = grid(1e-3, 1.2e-3, 1.4e-3, 1.6e-3, 5e-3)


class Text(HTMLParser):
    """The tags that are open, and the text without them."""

    VOID = ("meta", "br", "line", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.stack, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def text_of(folder):
    parser = Text()
    parser.feed((folder / "leaderboard.html").read_text(encoding="utf-8"))
    assert parser.stack == []
    return " ".join(parser.text.split())


def test_the_page_shows_every_trial_and_needs_no_network(swept):
    def before(recipe, epoch):
        if recipe.training.arguments["learning_rate"] == 1.4e-3:
            raise UserError("<script>alert(1)</script> & so on")

    swept({**RATES, "pruner": {"kind": "median", "startup_trials": 2}}, Runs(before=before))
    page, text = (swept.folder / "leaderboard.html").read_text(encoding="utf-8"), text_of(swept.folder)
    assert "5 of 5 trials by grid, selected by UAR on validation" in text
    assert "Validation selected among 2 complete trials and 2 pruned ones" in text
    assert "Best: trial 0" in text
    assert "UAR 0.870 0.870 0.770 0.720 to 0.820" in text
    assert "<script>" not in page
    assert "<script>alert(1)</script> & so on" in text
    assert page.count("<circle") == 4
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page
    assert not list(swept.folder.glob("*.partial"))


def test_the_page_links_the_reports_of_the_trials_and_of_the_best(swept):
    def write_page(recipe, report):
        (Path(recipe.output_dir) / "report" / "index.html").touch()

    swept(grid(5e-3, 1e-3), Runs(change=write_page))
    (swept.folder / "trials" / "0" / "report" / "index.html").unlink()
    swept(grid(5e-3, 1e-3))
    links = re.findall(r'href="([^"]+)"', (swept.folder / "leaderboard.html").read_text())
    assert sorted(links) == ["best/report/index.html", "trials/1/report/index.html"]


def test_the_best_recipe_and_the_page_are_written_after_each_trial(swept):
    seen = []

    def look(recipe, epoch):
        seen.append(("best.yaml" in (swept.folder / "leaderboard.html").read_text(), swept.folder / "best.yaml"))
        seen[-1] = (seen[-1][0], seen[-1][1].is_file())

    swept(grid(5e-3, 1e-3), Runs(epochs=1, before=look), test=False)
    assert seen == [(False, False), (True, True)]
    head = (swept.folder / "best.yaml").read_text().splitlines()[:2]
    assert head == [
        f"# ser-hf train {swept.folder / 'best.yaml'}",
        "# trial 1 of 2, uar 0.8700 on validation: training.learning_rate=0.001",
    ]


def test_importances_are_shown_from_ten_trials_on(swept, monkeypatch):
    space = {
        "search": "random",
        "trials": 12,
        "space": {
            "training.learning_rate": {"low": 1e-3, "high": 5e-3},
            "training.loss.label_smoothing": {"low": 0.0, "high": 0.2},
        },
    }
    swept(space, trials=9, test=False)
    assert "Importance of the parameters" not in text_of(swept.folder)
    swept(space, test=False)
    text = text_of(swept.folder)
    shares = dict(re.findall(r"(training\.\S+) (\d+) %", text[text.index("Importance of the parameters") :]))
    assert int(shares["training.learning_rate"]) > 80 > 20 > int(shares["training.loss.label_smoothing"])

    def nothing(*_, **__):
        raise RuntimeError("Encountered zero total variance in all trees.")

    # Imported here, as `optuna.importance` is a placeholder until its first use.
    monkeypatch.setattr(importlib.import_module("optuna.importance"), "get_param_importances", nothing)
    swept(space, test=False)
    assert "Importance of the parameters" not in text_of(swept.folder)


def test_a_table_has_one_column_a_key_and_is_empty_where_a_trial_does_not_set_it(swept):
    kinds = {"plain": {}, "smooth": {"space": {"training.loss.label_smoothing": [0.1, 0.2]}}}
    swept({"search": "grid", "trials": None, "space": {"kind": kinds}}, test=False)
    rows = [(row["kind"], row["training.loss.label_smoothing"]) for _, row in sorted(table(swept.folder).items())]
    assert rows == [("plain", ""), ("smooth", "0.1"), ("smooth", "0.2")]


@pytest.mark.parametrize(
    ("value", "cell"), [("=1", "'=1"), ("-x", "'-x"), (-0.5, "-0.5"), ("plain", "plain"), (None, "null")]
)
def test_no_cell_of_the_table_is_a_formula(value, cell):
    assert _cell(value) == cell

"""The leaderboard of a sweep: its page, its table, and the importances of the parameters."""

import html
import re
from pathlib import Path

import pytest
from stubs import Runs, grid, rate_of, table
from support.browser import chromium, forget, show

from ser_hf.utils.errors import UserError


def text_of(folder):
    page = (folder / "leaderboard.html").read_text(encoding="utf-8")
    text = re.sub("<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return html.unescape(" ".join(text.split()))


def test_the_page_shows_every_trial_and_needs_no_network(swept):
    def before(recipe, epoch):
        if rate_of(recipe) == 1.4e-3:
            raise UserError("<script>alert(1)</script> & so on")

    rates = grid(1e-3, 1.2e-3, 1.4e-3, 1.6e-3, 5e-3, pruner={"kind": "median", "startup_trials": 2})
    swept(rates, Runs(before=before))
    page = (swept.folder / "leaderboard.html").read_text(encoding="utf-8")
    text = text_of(swept.folder)
    assert "5 of 5 trials by grid, selected by UAR on validation" in text
    assert "Validation selected among 2 complete trials and 2 pruned ones" in text
    assert "Best: trial 0" in text
    assert "UAR 0.870 0.870 0.770 0.720 to 0.820" in text
    assert "<script>" not in page
    assert "<script>alert(1)</script> & so on" in text
    assert not re.search(r"(src|href)=.(?!data:)|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page
    assert not list(swept.folder.glob("*.partial"))


@pytest.mark.slow
def test_every_figure_is_in_sight_on_a_phone(swept, tmp_path):
    swept(grid(1e-3, 1.2e-3, 5e-3, pruner={"kind": "median", "startup_trials": 2}))
    with chromium(tmp_path / "browser") as browser:
        forget(browser)
        show(browser, (swept.folder / "leaderboard.html").as_uri(), 390)
        assert browser.get_log("browser") == []
        wide = (
            "return [...document.querySelectorAll('*')]"
            ".filter(e => e.scrollWidth > 390).map(e => e.outerHTML)"
        )
        assert browser.execute_script(wide) == []


def test_the_page_links_reports_and_the_best_recipe_is_written_after_each_trial(swept):
    written = []

    def before(recipe, epoch):
        written.append((swept.folder / "best.yaml").is_file())

    def write_page(recipe, report):
        (Path(recipe.output_dir) / "report" / "index.html").touch()

    swept(grid(5e-3, 1e-3), Runs(epochs=1, before=before, change=write_page))
    assert written == [False, True, True]
    (swept.folder / "trials" / "0" / "report" / "index.html").unlink()
    swept(grid(5e-3, 1e-3))
    links = re.findall(r'href="([^"]+)"', (swept.folder / "leaderboard.html").read_text())
    assert sorted(links) == ["best/report/index.html", "trials/1/report/index.html"]
    head = (swept.folder / "best.yaml").read_text().splitlines()[:2]
    assert head == [
        f"# ser-hf train {swept.folder / 'best.yaml'}",
        "# trial 1 of 2, uar 0.8700 on validation: training.learning_rate=0.001",
    ]


def test_a_table_has_one_column_a_key(swept):
    kinds = {
        "plain": {"model.dropout": 0.2},
        "smooth": {"space": {"training.loss.label_smoothing": [0.1, 0.2]}},
    }
    space = {"search": "grid", "trials": None, "space": {"kind": kinds}}
    _, _, lines = swept(space, Runs(epochs=1), test=False)
    rows = [row for _, row in sorted(table(swept.folder).items())]
    assert [row["model.dropout"] for row in rows] == ["0.2", "", ""]
    assert [row["training.loss.label_smoothing"] for row in rows] == ["", "0.1", "0.2"]
    # The name of a set of keys is in the table, on the page and in the lines of the trials.
    assert [row["kind"] for row in rows] == ["plain", "smooth", "smooth"]
    assert "kind plain" in text_of(swept.folder)
    trials = [line.partition(": ")[2] for line in lines if line.startswith("trial ")]
    assert trials == [
        "kind=plain",
        "kind=smooth, training.loss.label_smoothing=0.1",
        "kind=smooth, training.loss.label_smoothing=0.2",
    ]


def test_a_set_within_a_set_has_a_column_of_its_own(swept):
    inner = {
        "weak": {"training.loss.label_smoothing": 0.1},
        "strong": {"training.loss.label_smoothing": 0.2},
    }
    kinds = {"plain": {"model.dropout": 0.2}, "smooth": {"space": {"how": inner}}}
    space = {"search": "grid", "trials": None, "space": {"kind": kinds}}
    swept(space, Runs(epochs=1), test=False)
    rows = [row for _, row in sorted(table(swept.folder).items())]
    assert sorted(row["kind.smooth.how"] for row in rows) == ["", "strong", "weak"]

"""Pages of real runs in Chromium, from their files: they load nothing, fit the window and are
accessible.

Needs Chromium with its driver (Debian: chromium, chromium-driver) and axe-core (`npm install
--prefix .venv/axe axe-core`, or AXE_CORE with the path of its axe.min.js).
"""

import contextlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import PATIENCE, chromium, forget, missing, requests, show
from support.reports import undescribed

import ser_hf
from ser_hf import cli

pytestmark = pytest.mark.slow  # trains, and starts a browser
ROOT = Path(__file__).parents[1]
WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")
SECTIONS = {
    "results",
    "protocol",
    "classes",
    "training",
    "confusion",
    "per_class",
    "slices",
    "calibration",
    "hardest",
    "sources",
    "cost",
    "environment",
    "recipe",
    "cite",
    "files",
}


@pytest.fixture(scope="module")
def axe():
    path = Path(os.environ.get("AXE_CORE", ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"))
    return path.read_text(encoding="utf-8") if path.is_file() else missing("axe-core")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def drawn(rendered):
    """A context in which the SVG pictures of pages are drawn, but not the PNG files beside them."""
    from ser_hf.report import plots

    def save(figure, path):
        path.write_bytes(plots.svg(figure) if path.suffix == ".svg" else b"a picture")

    @contextlib.contextmanager
    def real():
        with rendered(), pytest.MonkeyPatch.context() as patched:
            patched.setattr("ser_hf.report.write.save_figure", save)
            yield

    return real


@pytest.fixture(scope="module")
def ravdess(real_corpora, tmp_path_factory, drawn):
    """Real speech: six actors, and a network that is fitted in a second."""
    folder = tmp_path_factory.mktemp("runs") / "ravdess"
    root = tmp_path_factory.mktemp("RAVDESS")
    for actor in range(1, 7):
        (root / f"Actor_{actor:02d}").symlink_to(real_corpora("RAVDESS") / f"Actor_{actor:02d}")
    changes = [f"corpus.root={root}", f"output_dir={folder}", "evaluation.bootstrap=100"]
    changes += [
        "protocol.train=[1-3]",
        "protocol.validation=[4]",
        "protocol.test=[5, 6]",
        "training.grid.C=[0.01]",
    ]
    changes += ["protocol.near_duplicates=skip"]
    with drawn():
        ser_hf.run_recipe(ROOT / "recipes" / "ravdess_mfcc_linear.yaml", changes)
    return folder / "report"


@pytest.fixture(scope="module")
def built_in(tmp_path_factory, drawn):
    """Two seeds of the built-in corpus, evaluated under a leaky protocol."""
    folder = tmp_path_factory.mktemp("runs") / "built_in"
    changes = [
        "corpus.speakers=8",
        "corpus.takes=4",
        "training.num_train_epochs=2",
        "evaluation.bootstrap=100",
    ]
    changes += ["protocol={name: random, validation: 0.2, test: 0.3}", "training.seeds=[1, 2]"]
    changes += ["model.channels=[4, 4, 4]", f"output_dir={folder}"]
    with drawn():
        ser_hf.run_recipe(ROOT / "recipes" / "quickstart.yaml", changes)
    return folder / "report"


@pytest.fixture(params=["ravdess", "built_in"])
def report(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def comparison(ravdess, built_in, tmp_path_factory, drawn):
    """The page of both runs side by side."""
    folder = tmp_path_factory.mktemp("others") / "comparison"
    with drawn():
        assert (
            cli.main(
                ["compare", str(ravdess.parent), str(built_in.parent), "--output", str(folder)]
            )
            == 0
        )
    return folder


def test_a_comparison_loads_nothing_and_is_accessible(browser, axe, comparison):
    forget(browser)
    open_page(browser, comparison)
    assert browser.get_log("browser") == []
    assert requested(browser, comparison) == {(comparison / "index.html").as_uri()}
    for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
        open_page(browser, comparison, width, scheme)
        assert violations(browser, axe, scheme) == []
    open_page(browser, comparison, 390)
    boxes = browser.find_elements(By.CSS_SELECTOR, ".scroll, img")
    assert all(box.get_property("scrollWidth") <= 358 for box in boxes), (
        "on a phone every figure is in sight"
    )


def test_report_json_follows_its_schema(report):
    content = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert (report / content["$schema"]).is_file()
    assert undescribed(content) == []


def open_page(browser, report, *size):
    show(browser, (report / "index.html").as_uri(), *size)


def requested(browser, report):
    """Every address that the page requested."""
    own = (report / "index.html").as_uri()
    return {url for url in requests(browser, own) if not url.startswith("data:")}


def test_the_page_opens_without_messages_and_loads_nothing(browser, report):
    forget(browser)
    open_page(browser, report)
    headings = {heading.get_attribute("id") for heading in browser.find_elements(By.TAG_NAME, "h2")}
    assert headings >= SECTIONS
    drawn = "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    assert browser.execute_script(drawn)
    assert browser.get_log("browser") == []
    assert requested(browser, report) == {(report / "index.html").as_uri()}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_axe_finds_nothing(browser, axe, report, width, scheme):
    open_page(browser, report, width, scheme)
    assert violations(browser, axe, scheme) == []


def violations(browser, axe, scheme):
    """What axe finds on the open page, which fits its window and has the colors of its scheme."""
    browser.execute_script(
        "document.querySelectorAll('details').forEach((own) => { own.open = true; })"
    )
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth"), (
        "nothing to scroll sideways"
    )
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    browser.execute_script(axe)
    found = browser.execute_async_script("const [done] = arguments; axe.run().then(done)")
    assert len(found["passes"]) > 20
    return [(one["id"], one["nodes"][0]["target"], one["help"]) for one in found["violations"]]


def test_the_confusion_matrix_works_by_pointer_and_by_keys(browser, ravdess):
    open_page(browser, ravdess)
    matrix = browser.find_element(By.CSS_SELECTOR, "#confusion ~ .scroll table")
    readout = browser.find_element(By.CSS_SELECTOR, "#confusion ~ .readout")
    first, second = matrix.find_elements(By.CSS_SELECTOR, "td[data-readout]")[:2]
    assert matrix.find_elements(By.CSS_SELECTOR, "td[tabindex='0']") == [first], "one tab stop"
    ActionChains(browser).move_to_element(second).perform()
    assert readout.text == second.get_attribute("data-readout")
    first.click()
    assert readout.text == first.get_attribute("data-readout")
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element == second
    assert re.fullmatch(r"angry predicted as \w+: \d+ of \d+ \(\d+ %\)", readout.text)
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert browser.switch_to.active_element == first


def test_players_play_and_name_missing_files(browser, ravdess):
    open_page(browser, ravdess)
    players = browser.find_elements(By.TAG_NAME, "audio")
    assert len(players) == 20
    seconds = browser.execute_async_script(
        "const [player, done] = arguments; player.preload = 'metadata';"
        "player.addEventListener('loadedmetadata', () => done(player.duration)); player.load()",
        players[0],
    )
    assert 2 < seconds < 6
    browser.execute_script(
        "arguments[0].preload = 'auto'; arguments[0].src = 'gone%20away.wav'", players[1]
    )
    end = time.monotonic() + PATIENCE
    while len(browser.find_elements(By.TAG_NAME, "audio")) == 20 and time.monotonic() < end:
        time.sleep(0.05)
    lines = [line.text for line in browser.find_elements(By.CSS_SELECTOR, ".clips p")]
    assert [line for line in lines if "file" in line] == ["The file is missing: gone away.wav"]


def test_the_recipe_can_be_copied(browser, ravdess):
    open_page(browser, ravdess)
    browser.execute_script("document.getElementById('recipe-text').closest('details').open = true")
    button = browser.find_element(By.CSS_SELECTOR, "button[data-copies='recipe-text']")
    button.click()
    end = time.monotonic() + PATIENCE
    while button.text == "Copy" and time.monotonic() < end:
        time.sleep(0.05)
    assert button.text == "Copied" or browser.execute_script(
        "return getSelection().toString()"
    ).startswith("name:")


def test_a_leak_is_first_and_runs_are_linked(browser, built_in):
    open_page(browser, built_in)
    banner = browser.find_element(By.CSS_SELECTOR, "main > :first-child")
    assert "Leaky protocol (random)." in banner.text
    red, green, blue = map(
        int, re.findall(r"\d+", banner.value_of_css_property("background-color"))[:3]
    )
    assert red > 2 * max(green, blue)
    browser.find_element(By.LINK_TEXT, "seed 2").click()
    assert browser.current_url == (built_in.parent / "seed-2" / "report" / "index.html").as_uri()
    browser.find_element(By.PARTIAL_LINK_TEXT, "Report of all runs").click()
    assert browser.current_url == (built_in / "index.html").as_uri()

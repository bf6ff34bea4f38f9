"""Pages of real runs in Chromium, from their files: they load nothing, fit the window and are accessible.

Needs Chromium with its driver (Debian: chromium, chromium-driver) and axe-core (`npm install --prefix .venv/axe
axe-core`, or AXE_CORE with the path of its axe.min.js).
"""

import contextlib
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.reports import undescribed

import ser_hf
from ser_hf import cli

pytestmark = pytest.mark.slow  # trains, and starts a browser
ROOT = Path(__file__).parents[1]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 120  # seconds, for machines with other work
WIDTHS, SCHEMES = (360, 1280), ("light", "dark")
SECTIONS = {
    *("results", "protocol", "classes", "training", "confusion", "per_class", "slices", "calibration", "hardest"),
    *("sources", "cost", "environment", "recipe", "cite", "files"),
}


def missing(what):
    (pytest.fail if os.environ.get("SER_HF_NEEDS_BROWSER") else pytest.skip)(f"{what} is not installed")


@pytest.fixture(scope="module")
def axe():
    path = Path(os.environ.get("AXE_CORE", ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"))
    return path.read_text(encoding="utf-8") if path.is_file() else missing("axe-core")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        missing("chromium or its driver")
    options = Options()
    options.binary_location, driver = programs
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def drawn(rendered):
    """A context in which the SVG pictures of pages are drawn, but not the PNG files beside them."""
    from ser_hf.report import plots

    @contextlib.contextmanager
    def real():
        with rendered(), pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                "ser_hf.report.write.save_figure",
                lambda figure, path: path.write_bytes(plots.svg(figure) if path.suffix == ".svg" else b"a picture"),
            )
            yield

    return real


@pytest.fixture(scope="module")
def ravdess(real_corpora, tmp_path_factory, drawn):
    """Real speech: six actors, and a network that is fitted in a second."""
    folder, root = tmp_path_factory.mktemp("runs") / "ravdess", tmp_path_factory.mktemp("RAVDESS")
    for actor in range(1, 7):
        (root / f"Actor_{actor:02d}").symlink_to(real_corpora("RAVDESS") / f"Actor_{actor:02d}")
    changes = [f"corpus.root={root}", f"output_dir={folder}", "evaluation.bootstrap=100"]
    changes += ["protocol.train=[1-3]", "protocol.validation=[4]", "protocol.test=[5, 6]", "training.grid.C=[0.01]"]
    changes += ["protocol.near_duplicates=skip"]
    with drawn():
        ser_hf.run_recipe(ROOT / "recipes" / "ravdess_mfcc_linear.yaml", changes)
    return folder / "report"


@pytest.fixture(scope="module")
def built_in(tmp_path_factory, drawn):
    """Two seeds of the built-in corpus, evaluated under a leaky protocol."""
    folder = tmp_path_factory.mktemp("runs") / "built_in"
    changes = ["corpus.speakers=8", "corpus.takes=4", "training.num_train_epochs=2", "evaluation.bootstrap=100"]
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
        assert cli.main(["compare", str(ravdess.parent), str(built_in.parent), "--output", str(folder)]) == 0
    return folder


def test_a_comparison_loads_nothing_and_is_accessible(browser, axe, comparison):
    browser.get_log("browser"), browser.get_log("performance")
    open_page(browser, comparison)
    assert browser.get_log("browser") == []
    assert requests(browser, comparison) == {(comparison / "index.html").as_uri()}
    for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
        open_page(browser, comparison, width, scheme)
        assert violations(browser, axe, scheme) == []


def test_report_json_follows_its_schema(report):
    content = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert (report / content["$schema"]).is_file()
    assert undescribed(content) == []


def open_page(browser, report, width=1280, scheme="light"):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get((report / "index.html").as_uri())


def test_the_page_opens_without_messages_and_loads_nothing(browser, report):
    browser.get_log("browser"), browser.get_log("performance")
    open_page(browser, report)
    headings = {heading.get_attribute("id") for heading in browser.find_elements(By.TAG_NAME, "h2")}
    assert headings >= SECTIONS
    assert browser.execute_script(
        "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    )
    assert browser.get_log("browser") == []
    assert requests(browser, report) == {(report / "index.html").as_uri()}


def requests(browser, report):
    """Every address that the page requested."""
    own, found = (report / "index.html").as_uri(), set()
    for line in browser.get_log("performance"):
        message = json.loads(line["message"])["message"]
        # The browser's start page requests its own pictures.
        if message["method"] == "Network.requestWillBeSent" and message["params"]["documentURL"] == own:
            found.add(message["params"]["request"]["url"])
    return {url for url in found if not url.startswith("data:")}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_axe_finds_nothing(browser, axe, report, width, scheme):
    open_page(browser, report, width, scheme)
    assert violations(browser, axe, scheme) == []


def violations(browser, axe, scheme):
    """What axe finds on the open page, which fits into its window and has the colors of its scheme."""
    browser.execute_script("document.querySelectorAll('details').forEach((own) => { own.open = true; })")
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth"), "nothing to scroll sideways"
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
    browser.execute_script("arguments[0].preload = 'auto'; arguments[0].src = 'gone%20away.wav'", players[1])
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
    assert button.text == "Copied" or browser.execute_script("return getSelection().toString()").startswith("name:")


def test_a_leak_is_first_and_runs_are_linked(browser, built_in):
    open_page(browser, built_in)
    banner = browser.find_element(By.CSS_SELECTOR, "main > :first-child")
    assert "Leaky protocol (random)." in banner.text
    red, green, blue = map(int, re.findall(r"\d+", banner.value_of_css_property("background-color"))[:3])
    assert red > 2 * max(green, blue)
    browser.find_element(By.LINK_TEXT, "seed 2").click()
    assert browser.current_url == (built_in.parent / "seed-2" / "report" / "index.html").as_uri()
    browser.find_element(By.PARTIAL_LINK_TEXT, "Report of all runs").click()
    assert browser.current_url == (built_in / "index.html").as_uri()

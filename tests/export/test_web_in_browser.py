"""The page of an exported model in Chromium: files and the microphone get the predictions of
`ser-hf predict`, and nothing leaves the page's server.

Needs Chromium with its driver (Debian: chromium, chromium-driver), and axe-core and onnxruntime-web
(`npm install --prefix .venv/axe axe-core onnxruntime-web@1.30.0`; or AXE_CORE with the path of
axe.min.js, and ONNXRUNTIME_WEB with the folder of the package).
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from export.models_exported import LABELS, write_model
from selenium.webdriver.common.by import By
from support.browser import PATIENCE, chromium, forget, missing, requests, show
from support.page_server import served

import ser_hf
from ser_hf.corpora.synthesis import utterance
from ser_hf.models.preparation import Preparation

pytestmark = pytest.mark.slow  # exports, and starts a browser
ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
TOOLS = ROOT / ".venv/axe/node_modules"
REAL = [
    CORPORA / "RAVDESS" / "Actor_01" / "03-01-05-02-01-01-01.flac",  # 16 kHz
    CORPORA / "RAVDESS-original-sample" / "Actor_01" / "03-01-01-01-01-01-01.wav",  # 48 kHz
]
TOLERANCE = 1e-3
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def axe():
    path = Path(os.environ.get("AXE_CORE", TOOLS / "axe-core/axe.min.js"))
    return path.read_text(encoding="utf-8") if path.is_file() else missing("axe-core")


@pytest.fixture(scope="module")
def runtime():
    path = Path(os.environ.get("ONNXRUNTIME_WEB", TOOLS / "onnxruntime-web"))
    return path if path.is_dir() else missing("onnxruntime-web")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network whose predictions depend on the whole clip, and which knows its loudness."""
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder, preparation=Preparation(trim_silence=40, level="loudness"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, runtime):
    written = ser_hf.export_web(model, tmp_path_factory.mktemp("site") / "voices", runtime=runtime)
    return written.folder


@pytest.fixture(scope="module")
def page(folder):
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The fake microphone plays a made voice."""
    folder = tmp_path_factory.mktemp("browser")
    voice = soxr.resample(utterance(1, "happy", 1, 0).astype(np.float32), 16000, 48000)
    soundfile.write(folder / "voice.wav", voice, 48000)
    capture = f"--use-file-for-fake-audio-capture={folder / 'voice.wav'}"
    with chromium(folder, *MICROPHONE, capture) as opened:
        yield opened


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of several formats and rates, made ones and real ones where these exist."""
    folder = tmp_path_factory.mktemp("clips")
    voice = utterance(1, "angry", 0, 0).astype(np.float32)
    second = utterance(2, "sad", 0, 0).astype(np.float32)[: len(voice)]
    stereo = np.stack([voice[: len(second)], 0.5 * second], axis=1)
    soundfile.write(folder / "plain.wav", voice, 16000)
    soundfile.write(folder / "float.wav", voice, 16000, subtype="FLOAT")
    soundfile.write(folder / "stereo.wav", stereo, 16000)
    soundfile.write(folder / "opposed.wav", np.stack([voice, -voice], axis=1), 16000)
    for rate in (8000, 22050, 44100, 48000):
        soundfile.write(folder / f"at_{rate}.flac", soxr.resample(voice, 16000, rate), rate)
    return [*sorted(folder.iterdir()), *filter(Path.is_file, REAL)]


def until(look, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        result = look()
        if result:
            return result
        time.sleep(0.05)
    raise TimeoutError


def text_of(browser, name):
    return browser.find_element(By.ID, name).text


def open_page(browser, address, width=1200, scheme="light"):
    show(browser, address, width, scheme)
    until(lambda: text_of(browser, "state").startswith("Ready") or text_of(browser, "problem"))
    return browser.find_element(By.ID, "files")


def give(browser, files, expected):
    """Choose files, and wait for this number of predictions in all."""
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "article")) == expected)


def predictions(browser):
    """The probabilities of each recording, by its name, with all digits."""
    table = browser.execute_script("return rows")
    return {name: [float(value) for value in values] for name, _, *values in table}


def test_files_get_the_predictions_of_ser_hf(browser, page, model, clips):
    forget(browser)
    open_page(browser, page)
    give(browser, clips, len(clips))
    expected = ser_hf.predict(model, clips)
    assert expected.labels == LABELS
    shown = predictions(browser)
    for clip, probabilities in zip(clips, expected.probabilities, strict=True):
        assert shown[clip.name] == pytest.approx(probabilities.tolist(), abs=TOLERANCE), clip.name
    assert len({round(values[0], 2) for values in shown.values()}) > 2, "clips differ"
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []
    sent = requests(browser, page)
    assert any(url.endswith("model.onnx") for url in sent)
    assert [url for url in sent if not url.startswith((page, f"blob:{page}", "data:"))] == []


def test_the_browser_refuses_to_send_a_recording_elsewhere(browser, page):
    open_page(browser, page)
    send = """
      const [address, done] = arguments;
      fetch(address, {method: "POST", body: "a recording"})
        .then(() => done("sent"), () => done("refused"));
    """
    assert browser.execute_async_script(send, "https://example.org/") == "refused"


def test_bars_are_ranked_and_have_the_colors_of_reports(browser, page, clips):
    open_page(browser, page)
    give(browser, clips[:1], 1)
    (values,) = predictions(browser).values()
    order = sorted(range(len(LABELS)), key=lambda i: -values[i])
    rows = browser.find_elements(By.CSS_SELECTOR, "article li")
    assert [row.text.split("\n") for row in rows] == [
        [LABELS[i], f"{values[i]:.3f}"] for i in order
    ]
    assert browser.find_element(By.CSS_SELECTOR, "article strong").text == LABELS[order[0]]
    colors = json.loads(browser.execute_script("return JSON.stringify(facts.colors)"))
    assert colors[LABELS.index("angry")] == "#d55e00"


def test_the_microphone_is_predicted_at_its_own_rate(browser, page):
    open_page(browser, page)
    button = browser.find_element(By.ID, "record")
    button.click()
    until(lambda: text_of(browser, "clock") >= "1.5 s")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "article"))
    (values,) = predictions(browser).values()
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert browser.find_element(By.CSS_SELECTOR, "article h3").text == "microphone"


def test_problems_with_files_are_said_in_plain_words(browser, page, tmp_path):
    (tmp_path / "notes.wav").write_text("this is text")
    soundfile.write(tmp_path / "short.wav", np.full(800, 0.1), 16000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    files = [str(tmp_path / name) for name in ("notes.wav", "short.wav", "silence.wav")]
    open_page(browser, page).send_keys("\n".join(files))
    until(lambda: "silence.wav is silent." in text_of(browser, "problem"))
    assert "notes.wav cannot be decoded" in text_of(browser, "problem")
    assert "short.wav is shorter than 0.1 s." in text_of(browser, "problem")
    assert browser.find_elements(By.CSS_SELECTOR, "article") == []


def test_a_refused_microphone_is_said_in_plain_words(browser, page):
    open_page(browser, page)
    refuse = (
        "navigator.mediaDevices.getUserMedia = "
        "() => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    browser.execute_script(refuse)
    browser.find_element(By.ID, "record").click()
    until(lambda: text_of(browser, "problem").startswith("The microphone was refused."))


def test_a_changed_runtime_is_not_run(browser, folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.rglob("*"):
        target = copy / path.relative_to(folder)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    with (copy / "runtime" / "ort.wasm.min.js").open("a") as script:
        script.write("// changed")
    with served(copy) as address:
        open_page(browser, address)
        assert "The runtime could not be loaded" in text_of(browser, "problem")


def test_a_long_recording_is_the_mean_of_windows(browser, page, folder, tmp_path):
    """Longer than 30 s, the page predicts windows as `ser-hf predict FILE.onnx --window 30`."""
    voice = np.resize(utterance(3, "fear", 0, 0).astype(np.float32), 40 * 16000)
    soundfile.write(tmp_path / "long.wav", voice, 16000)
    open_page(browser, page)
    give(browser, [tmp_path / "long.wav"], 1)
    file = folder / "model.onnx"
    (expected,) = ser_hf.predict(file, [tmp_path / "long.wav"], window=30.0).probabilities
    (values,) = predictions(browser).values()
    assert values == pytest.approx(expected.tolist(), abs=TOLERANCE)
    assert "mean of 2 windows" in browser.find_element(By.CSS_SELECTOR, "article p").text


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_it_fits_the_window_and_is_accessible(browser, page, clips, axe, width, scheme):
    open_page(browser, page, width, scheme)
    give(browser, clips[:2], 2)
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.execute_script(axe)
    result = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    assert [problem["id"] for problem in result["violations"]] == []

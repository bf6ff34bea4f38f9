"""ser-hf demo in Chromium: uploads and the microphone get the pipeline's predictions, and nothing
leaves the machine.

Needs gradio, and Chromium with its driver (Debian: chromium, chromium-driver).
"""

import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from support.browser import PATIENCE, chromium, forget, missing, requests, show
from support.pages import blocks
from support.tiny_model import REPORT, tiny_model
from transformers.audio_utils import load_audio

from ser_hf import cli
from ser_hf.corpora.schema import EMOTION_COLORS
from ser_hf.corpora.synthesis import utterance

pytestmark = pytest.mark.slow  # loads torch in another process, and starts a browser
ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "corpora" / "RAVDESS" / "Actor_01" / "03-01-05-02-01-01-01.flac"
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class Demo(NamedTuple):
    address: str
    clip: Path
    expected: dict[str, float]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Real speech if available."""
    if REAL.is_file():
        return REAL
    path = tmp_path_factory.mktemp("clips") / "synthetic.flac"
    soundfile.write(path, utterance(1, "angry", 0, 0), 16000)
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory, clip):
    """A model evaluated under a leaky protocol. Ctrl-C ends the page without temporary files."""
    if importlib.util.find_spec("gradio") is None:
        missing("gradio")
    folder = tmp_path_factory.mktemp("demo")
    classifier = tiny_model(folder / "model")
    leaky = REPORT["protocol"] | {
        "name": "random",
        "leak": "Test speakers are in the training data.",
    }
    (folder / "model" / "report.json").write_text(json.dumps(REPORT | {"protocol": leaky}))
    shutil.copy(ROOT / "recipes" / "quickstart.yaml", folder / "model" / "recipe.yaml")
    audio = load_audio(str(clip), sampling_rate=16000)
    expected = {row["label"]: row["score"] for row in classifier(audio, top_k=None)}
    (folder / "tmp").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        proxy = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        environment = os.environ | {
            "TMPDIR": str(folder / "tmp"),
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }
        environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy)
        program = "import sys, ser_hf.cli; sys.exit(ser_hf.cli.main())"
        command = [sys.executable, "-c", program, "demo", str(folder / "model")]
        with (folder / "log").open("w") as log:
            # A suite that runs in the background ignores Ctrl-C, and so would its children.
            interruptible = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=interruptible,
            )
        try:
            line = process.stdout.readline()
            assert line.startswith("listening at http://127.0.0.1:"), (folder / "log").read_text()
            yield Demo(line.split()[-1], clip, expected)
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(PATIENCE)
        assert status == 0
        assert list((folder / "tmp").glob("ser-hf-demo-*")) == []
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):  # no request went out
            elsewhere.accept()


@pytest.fixture(scope="module")
def browser(tmp_path_factory, clip):
    folder = tmp_path_factory.mktemp("browser")
    soundfile.write(
        folder / "voice.wav", load_audio(str(clip), sampling_rate=48000), 48000, subtype="PCM_16"
    )
    with chromium(
        folder, *MICROPHONE, f"--use-file-for-fake-audio-capture={folder / 'voice.wav'}"
    ) as opened:
        yield opened


def until(look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (NoSuchElementException, StaleElementReferenceException):
            pass  # drawn again meanwhile
        time.sleep(0.05)
    raise TimeoutError


def test_a_program_gets_the_probabilities(demo, monkeypatch, capsys):
    """The block of the page about serving."""
    (block,) = [
        block for block in blocks(ROOT / "docs/serving.md", "python") if "gradio_client" in block
    ]
    monkeypatch.chdir(demo.clip.parent)
    block = block.replace("http://127.0.0.1:7860", demo.address).replace("clip.wav", demo.clip.name)
    names = {}
    exec(compile(block, "serving.md", "exec"), names)
    answer = names["answer"]
    assert answer["probabilities"] == pytest.approx(demo.expected, abs=1e-4)
    assert answer["label"] == max(demo.expected, key=demo.expected.get)
    assert answer["seconds"] == pytest.approx(soundfile.info(demo.clip).duration, abs=1e-3)
    assert answer["label"] in capsys.readouterr().out


def test_a_program_is_told_what_is_wrong(demo, tmp_path):
    import gradio_client

    client = gradio_client.Client(demo.address, verbose=False)
    (tmp_path / "words.wav").write_text("no audio")
    with pytest.raises(gradio_client.exceptions.AppError, match="cannot be read as audio"):
        client.predict(path=gradio_client.handle_file(tmp_path / "words.wav"), api_name="/classify")
    with pytest.raises(gradio_client.exceptions.AppError, match="missing"):
        client.predict(path=None, api_name="/classify")


def open_page(browser, demo, *size):
    show(browser, demo.address, *size)
    return until(lambda: browser.find_elements(By.CSS_SELECTOR, "input[type=file]"))[0]


def shown(browser, place):
    """The probabilities that the page shows, by label."""
    rows = until(lambda: browser.find_elements(By.CSS_SELECTOR, f"#{place} .prediction li"))
    texts = [row.text.split("\n") for row in rows]
    return {label: float(value) for label, value in texts}


def rounded(probabilities):
    return {label: pytest.approx(value, abs=6e-4) for label, value in probabilities.items()}


def color(element, name):
    return [int(value) for value in re.findall(r"\d+", element.value_of_css_property(name))[:3]]


def test_an_uploaded_clip_gets_the_predictions_of_the_pipeline(browser, demo):
    forget(browser)
    open_page(browser, demo).send_keys(str(demo.clip))
    assert shown(browser, "recording") == rounded(demo.expected)
    assert max(demo.expected.values()) > 1.2 * sorted(demo.expected.values())[-2], "no coin tossed"
    for row in browser.find_elements(By.CSS_SELECTOR, "#recording .prediction li"):
        red, green, blue = bytes.fromhex(EMOTION_COLORS[row.text.split("\n")[0]][1:])
        assert color(row.find_element(By.TAG_NAME, "i"), "background-color") == [red, green, blue]
    best = max(demo.expected, key=demo.expected.get)
    assert browser.find_element(By.CSS_SELECTOR, "#recording strong").text == best
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    requested = requests(browser, demo.address)
    assert len(requested) > 10
    assert [
        url
        for url in requested
        if not url.startswith((demo.address, "data:", f"blob:{demo.address}"))
    ] == []


def test_it_describes_the_model_before_anything_is_uploaded(browser, demo):
    open_page(browser, demo)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".about h1"))
    banner = browser.find_element(By.CSS_SELECTOR, ".note.leak")
    assert banner.text == "Leaky protocol (random). Test speakers are in the training data."
    assert (
        "UAR 0.512 (95 % interval 0.431 to 0.590)"
        in browser.find_element(By.CSS_SELECTOR, ".about").text
    )
    assert browser.find_elements(By.CSS_SELECTOR, "[aria-label=Share], [title=Share]") == []
    places = [
        browser.find_element(By.CSS_SELECTOR, own).rect["y"]
        for own in ("button[role=tab]", ".note.limits")
    ]
    assert places == sorted(places), "the input comes before the limits"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_page_fits_desktop_and_phone(browser, demo, tmp_path, width, scheme):
    """With a minute of speech, whose waveform is wider than a phone."""
    audio = load_audio(str(demo.clip), sampling_rate=16000)
    soundfile.write(tmp_path / "minute.wav", np.resize(audio, 60 * 16000), 16000)
    open_page(browser, demo, width, scheme).send_keys(str(tmp_path / "minute.wav"))
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".strips svg"))
    waveform = "document.querySelector('#waveform div')?.shadowRoot?.querySelector('.scroll')"
    until(lambda: browser.execute_script(f"return {waveform}?.scrollWidth > 1000"))
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth"), (
        "nothing to scroll sideways"
    )
    ground = color(browser.find_element(By.TAG_NAME, "body"), "background-color")
    assert (sum(ground) < 200) == (scheme == "dark")


def test_the_microphone_gets_predictions_while_it_records(browser, demo):
    """Chromium's fake microphone repeats the clip."""
    open_page(browser, demo)
    tabs = until(lambda: browser.find_elements(By.CSS_SELECTOR, "button[role=tab]"))
    next(tab for tab in tabs if tab.is_displayed() and tab.text == "Live").click()

    def button(word):
        return until(
            lambda: [
                one for one in browser.find_elements(By.TAG_NAME, "button") if one.text == word
            ]
        )[0]

    button("Record").click()
    until(lambda: "the last 4.0 s" in browser.find_element(By.ID, "live").text)
    # The page may update between two rows, so that not every reading sums to one.
    until(lambda: sum(shown(browser, "live").values()) == pytest.approx(1, abs=0.01))
    assert browser.find_elements(By.CSS_SELECTOR, "#live_over_time path")
    button("Stop").click()


def test_a_port_that_is_taken_prints_one_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["demo", str(tmp_path), "--port", str(port)]) == 2
    assert f"error: --port: {port} cannot be used" in capsys.readouterr().err

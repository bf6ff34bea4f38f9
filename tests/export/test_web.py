"""The folder of a page that runs a model in the browser; test_web_in_browser.py opens it."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from export.models_exported import LABELS, write_model
from support.tiny_model import REPORT

import ser_hf
from ser_hf.corpora.schema import EMOTION_COLORS
from ser_hf.export import web
from ser_hf.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "voices"
    write_model(folder, unknown_threshold=0.4)
    leaky = REPORT["protocol"] | {"name": "random", "leak": "Speakers are shared."}
    text = json.dumps(REPORT | {"name": "a <b> c", "protocol": leaky})
    (folder / "report.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    return ser_hf.export_web(model, tmp_path_factory.mktemp("page") / "site").folder


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A stand-in for onnxruntime-web, with its hashes."""
    folder = tmp_path / "npm" / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    hashes = {}
    for name in web.RUNTIME_FILES:
        (folder / name).write_text(name)
        digest = hashlib.sha384(name.encode()).digest()
        hashes[name] = base64.b64encode(digest).decode()
    monkeypatch.setattr(web, "RUNTIME_FILES", hashes)
    return tmp_path / "npm"


@pytest.mark.slow
def test_the_folder_has_the_files_of_the_page_and_nothing_else(page):
    assert {path.name for path in page.iterdir()} == web.PAGE_FILES - {web.RUNTIME}


@pytest.mark.slow
def test_facts_describe_the_model(page):
    facts = json.loads((page / "facts.json").read_text())
    assert facts["labels"] == LABELS
    assert facts["colors"] == [EMOTION_COLORS[label] for label in LABELS]
    assert facts["sampling_rate"] == 16000
    assert facts["task"] == "emotions"
    assert facts["unknown_threshold"] == 0.4
    assert facts["bytes"] == (page / facts["model"]).stat().st_size
    assert facts["runtime"]["base"].startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@")


@pytest.mark.slow
def test_the_page_says_how_the_model_was_evaluated(page):
    html = (page / "index.html").read_text()
    assert "<h1>a &lt;b&gt; c</h1>" in html
    assert "Leaky protocol (random). Speakers are shared." in html
    assert "UAR 0.512 (95 % interval 0.431 to 0.590)" in html
    assert "article 5(1)(f)" in html


def policy(folder):
    html = (folder / "index.html").read_text()
    (content,) = re.findall(r'"Content-Security-Policy" content="([^"]*)"', html)
    return dict(rule.strip().split(maxsplit=1) for rule in content.split(";"))


@pytest.mark.slow
def test_the_page_connects_to_its_server_and_the_runtime_only(page, model, runtime, tmp_path):
    assert policy(page)["connect-src"].split() == ["'self'", "blob:", web.CDN]
    local = ser_hf.export_web(model, tmp_path / "site", runtime=runtime)
    assert local.local_runtime
    assert policy(local.folder)["connect-src"].split() == ["'self'", "blob:"]
    assert web.CDN not in (local.folder / "index.html").read_text()
    copied = {path.name for path in (local.folder / web.RUNTIME).iterdir()}
    assert copied == set(web.RUNTIME_FILES)


@pytest.mark.slow
def test_the_page_of_a_space_links_its_model_and_loads_from_the_hub(model, tmp_path):
    folder = ser_hf.export_web(model, tmp_path / "site", hub_model="tester/voices").folder
    html = (folder / "index.html").read_text()
    assert 'href="https://huggingface.co/tester/voices"' in html
    assert "https://*.hf.co" in policy(folder)["connect-src"].split()


def test_a_missing_or_other_runtime_is_refused_before_the_export(model, runtime, tmp_path):
    with pytest.raises(UserError, match=r"^--runtime: .* npm install onnxruntime-web@"):
        ser_hf.export_web(model, tmp_path / "site", runtime=tmp_path)
    script = runtime / "node_modules" / "onnxruntime-web" / "dist" / "ort.wasm.min.js"
    script.write_text("another version")
    with pytest.raises(UserError, match=r"^--runtime: .*ort\.wasm\.min\.js is not that of version"):
        ser_hf.export_web(model, tmp_path / "site", runtime=runtime)
    assert not (tmp_path / "site").exists()


@pytest.mark.slow
def test_it_replaces_a_page_and_nothing_else(model, page, tmp_path):
    before = (page / "facts.json").read_text()
    int8 = ser_hf.export_web(model, page, int8=True)
    assert int8.bytes == (page / "model.onnx").stat().st_size
    assert (page / "facts.json").read_text() != before
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"^--web: .* holds thesis\.tex"):
        ser_hf.export_web(model, tmp_path)
    with pytest.raises(UserError, match="is a file"):
        ser_hf.export_web(model, tmp_path / "thesis.tex")


def test_labels_that_are_no_emotions_get_colors_of_their_own():
    colors = web._colors(["angry", "wistful", "proud"])
    assert colors[0] == EMOTION_COLORS["angry"]
    assert len(set(colors)) == 3


def test_continuous_integration_installs_the_runtime_of_the_page():
    text = (ROOT / ".ci" / "run").read_text()
    assert f"onnxruntime-web@{web.RUNTIME_VERSION}" in text

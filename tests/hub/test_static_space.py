"""The files of a static Space, which runs the model in the browser."""

import pytest
from huggingface_hub import SpaceCard
from support.tiny_model import REPORT

from ser_hf.hub.static_space import require_page, write_static_space
from ser_hf.report.report import Report
from ser_hf.utils.errors import UserError


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "page"
    (folder / "runtime").mkdir(parents=True)
    for name in ("index.html", "facts.json", "runtime/ort.js"):
        (folder / name).write_text("a page")
    (folder / "model.onnx").write_bytes(b"0" * 2_500_000)
    return folder


def test_it_is_the_page_with_a_card(page, tmp_path):
    require_page(page)
    folder = tmp_path / "space"
    leaky = REPORT["protocol"] | {"name": "random", "leak": "Speakers are shared."}
    report = Report.from_dict(REPORT | {"protocol": leaky})
    write_static_space(folder, page, model="tester/voices", report=report)
    names = {path.name for path in folder.iterdir()}
    assert names == {"index.html", "facts.json", "model.onnx", "runtime", "README.md"}
    card = SpaceCard.load(folder / "README.md")
    assert card.data.sdk == "static"
    assert card.data.app_file == "index.html"
    assert card.data.models == ["tester/voices"]
    assert len(card.data.to_dict()["short_description"]) <= 60
    assert "[tester/voices](https://huggingface.co/tester/voices)" in card.text
    assert "2.50 MB" in card.text
    assert "Leaky protocol (random). Speakers are shared." in card.text
    assert "article 5(1)(f)" in card.text


def test_another_folder_is_refused(page):
    (page / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"^space_page: .* has no model\.onnx"):
        require_page(page)

"""Names in scripts that matplotlib's font lacks: installed fonts, or numbers and a warning."""

import logging
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from ser_hf.report import fonts
from ser_hf.report.plots import confusion_figure, save_figure, svg

NAMES = ["高兴", "悲伤", "angry"]
COUNTS = np.eye(3, dtype=int)
MESSAGE = "no installed font can show these names in pictures: "


@pytest.fixture(autouse=True)
def only_fonts_of_matplotlib(monkeypatch):
    """A machine without further fonts, and a process that has drawn nothing."""
    data = str(Path(matplotlib.get_data_path()))
    manager = fonts.fontManager
    own = [entry for entry in manager.ttflist if entry.fname.startswith(data)]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(fonts, "_numbers", {})
    fonts._fonts_with.cache_clear()
    manager._findfont_cached.cache_clear()
    yield
    fonts._fonts_with.cache_clear()
    manager._findfont_cached.cache_clear()


def write_font(path, name, characters):
    """A font file whose characters are all the same square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    glyphs = [".notdef", *[f"uni{ord(character):04X}" for character in characters]]
    font = FontBuilder(1000)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
    font.setupGlyf(dict.fromkeys(glyphs, square))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, usWeightClass=400)
    font.setupPost()
    font.save(path)


def drawn_labels(figure, path):
    """Draw a figure without a warning of a library, and return its labels."""
    with warnings.catch_warnings(action="error"):
        save_figure(figure, path)
        figure.set_layout_engine("none")
        svg(figure)
    axes = figure.axes[0]
    title = axes.get_title()
    return [label.get_text() for label in axes.get_yticklabels()], title, axes


def test_without_a_font_names_are_numbers_and_a_warning_explains_them(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ser_hf"):
        figure = confusion_figure({"语料库: UAR 0.5": COUNTS}, NAMES)
        labels, title, _ = drawn_labels(figure, tmp_path / "a.png")
        again = confusion_figure({"again": COUNTS}, ["悲伤", "angry", "高兴"])
        labels_again, _, _ = drawn_labels(again, tmp_path / "b.png")
    assert sorted({*labels, title.split(":")[0]}) == ["[1]", "[2]", "[3]", "angry"]
    assert title.endswith(": UAR 0.5")
    # A name has the same number in all pictures.
    assert labels_again == [labels[1], "angry", labels[0]]

    (message,) = [record.getMessage() for record in caplog.records]  # once
    assert message.startswith(MESSAGE)
    assert f"{labels[0]} is 高兴" in message
    assert f"{labels[1]} is 悲伤" in message
    assert message.endswith("apt install fonts-noto-cjk")


def test_the_package_for_other_scripts(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ser_hf"):
        drawn_labels(confusion_figure({"a": COUNTS}, ["खुश", "기쁨", "angry"]), tmp_path / "a.png")
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("apt install fonts-noto-cjk fonts-noto-core")


def test_a_font_that_was_installed_later_is_used(tmp_path, caplog, monkeypatch):
    write_font(tmp_path / "some.ttf", "Some Han", "高兴悲")
    write_font(tmp_path / "more.ttf", "Some Sans Han", "伤悲")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    files = [str(path) for path in tmp_path.glob("*.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: files)
    figure = confusion_figure({"a": COUNTS}, NAMES)
    labels, _, axes = drawn_labels(figure, tmp_path / "a.png")
    assert labels == NAMES
    families = [label.get_fontfamily() for label in axes.get_yticklabels()]
    assert families[0][1:] == families[1][1:] == ["Some Sans Han", "Some Han"]
    assert families[2][1:] == []
    assert not caplog.records


def test_names_that_the_usual_font_has_stay_as_they_are(tmp_path, caplog):
    names = ["fröhlich", "весёлый", "خوشحال"]
    labels, _, axes = drawn_labels(confusion_figure({"a": COUNTS}, names), tmp_path / "a.png")
    assert labels == names
    assert len(axes.get_yticklabels()[2].get_fontfamily()) == 1
    assert not caplog.records

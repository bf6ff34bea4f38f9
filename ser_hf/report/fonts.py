"""Fonts for the names in pictures, in scripts that the font of matplotlib lacks, such as Chinese.

Names come from recipes and files, in any script. A name that no installed font can show is replaced
by a number, and a warning has its meaning and the package to install.
"""

import functools
import logging
import re
import unicodedata
from collections.abc import Iterator

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, fontManager
from matplotlib.text import Text

logger = logging.getLogger(__name__)

# Scripts, as in the names of their characters, whose fonts Debian has in `fonts-noto-cjk`.
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC")
# A font of matplotlib that has a box for every character.
_BOXES = "Last Resort High-Efficiency"
_REGULAR = ("normal", "regular", 400)
# Words are divided by spaces and by the punctuation of titles.
_WORD = re.compile(r"[^\s,:;()]+")

# Word -> its number in all pictures of this process.
_numbers: dict[str, int] = {}


def make_readable(figure: Figure) -> None:
    """Give the texts of a figure fonts that have their characters.

    Without such a font, words are replaced by numbers, and a warning lists them. Each word is
    listed once.
    """
    texts = list(_texts(figure))
    characters = {character for text in texts for character in text.get_text()}
    usual_font = font_manager.findfont(FontProperties())
    missing = frozenset(characters - _characters_of(usual_font) - {"\n"})
    if not missing:
        return
    fonts, unreadable = _fonts_with(missing)
    for text in texts:
        if missing.intersection(text.get_text()):
            text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), *fonts])))
    if unreadable:
        _number_words(figure, texts, unreadable)


def _texts(figure: Figure) -> Iterator[Text]:
    """The texts of a figure, with those of ticks, which are usually set when it is drawn."""
    for axes in figure.axes:
        axes.get_xticklabels()
        axes.get_yticklabels()
    for text in figure.findobj(Text):
        if text.get_text() and not text.get_text().isascii():
            yield text


@functools.cache
def _characters_of(path: str) -> frozenset[str]:
    """The characters that a font file can show."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@functools.cache
def _fonts_with(characters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """The names of installed fonts that together have the characters, and what none of them has."""
    _add_new_fonts()
    names = []
    left = characters
    for entry in sorted(fontManager.ttflist, key=_preference):
        if not left:
            break
        if entry.style != "normal" or entry.weight not in _REGULAR or entry.name == _BOXES:
            continue
        if left & _characters_of(entry.fname):
            names.append(entry.name)
            left -= _characters_of(entry.fname)
    return names, left


def _preference(entry: FontEntry) -> tuple[int, str]:
    """Sort key of fonts: Noto Sans first, then others without serifs."""
    if entry.name.startswith("Noto Sans"):
        return 0, entry.name
    if "Sans" in entry.name:
        return 1, entry.name
    return 2, entry.name


def _add_new_fonts() -> None:
    """Add the fonts that were installed after matplotlib made its list of fonts."""
    listed = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(font_manager.findSystemFonts()):
        if path not in listed:
            try:
                fontManager.addfont(path)
            except Exception as error:  # many types, for files that are no usable font
                logger.debug("%s: %s", path, error)


def _number_words(figure: Figure, texts: list[Text], unreadable: frozenset[str]) -> None:
    """Replace each word with an unreadable character by its number, and explain new numbers."""
    explained = len(_numbers)

    def numbered(match: re.Match[str]) -> str:
        word = match[0]
        if not unreadable.intersection(word):
            return word
        return f"[{_numbers.setdefault(word, len(_numbers) + 1)}]"

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if unreadable.intersection("".join(labels)):
                # The texts of ticks are set again from these labels when the figure is drawn.
                axis.set_ticklabels([_WORD.sub(numbered, label) for label in labels])
    for text in texts:
        text.set_text(_WORD.sub(numbered, text.get_text()))

    new_words = list(_numbers.items())[explained:]
    if new_words:
        listed = ", ".join(f"[{number}] is {word}" for word, number in new_words)
        logger.warning(
            "no installed font can show these names in pictures: %s; install a font, as with: "
            "apt install %s",
            listed,
            " ".join(_packages(unreadable)),
        )


def _packages(characters: frozenset[str]) -> list[str]:
    """The Debian packages with fonts for some characters."""
    packages = set()
    for character in characters:
        script = unicodedata.name(character, "").split(" ")[0]
        packages.add("fonts-noto-cjk" if script.startswith(_EAST_ASIAN) else "fonts-noto-core")
    return sorted(packages)

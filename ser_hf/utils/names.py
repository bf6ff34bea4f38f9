"""One comparison of names: of speakers, labels, columns and files.

People, spreadsheets and systems write one name in several ways: Anna and ANNA, composed and
decomposed accents (macOS decomposes them in file names), full-width letters, invisible characters
from web pages, 1 and 1.0 and 01. `compared` gives all of these the same text.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

_NUMBER = re.compile(r"([+-]?)0*([0-9]+?)(?:\.([0-9]*?)0*)?", re.ASCII)
_LONGEST_NUMBER = 40
# Characters that have no width, and that web pages and editors leave at the ends of a text.
_INVISIBLE = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\ufeff"


def compared(name: str) -> str:
    """The text by which a name is compared with others.

    Two names have the same text if they differ only in upper and lower case, in their Unicode form
    (NFC, NFD), in the width of their characters, in invisible characters, in spaces at the ends or
    in the kind of spaces, or in the way in which a number is written.
    """
    if name.isascii():
        folded = name.lower()
    else:
        # Folding may decompose a letter, and composing may give a letter to be folded.
        folded = unicodedata.normalize("NFKC", name).casefold()
        folded = unicodedata.normalize("NFKC", folded)
        folded = "".join(
            character for character in folded if unicodedata.category(character) != "Cf"
        )
    folded = " ".join(folded.split())
    number = _NUMBER.fullmatch(folded) if len(folded) <= _LONGEST_NUMBER else None
    return folded if number is None else _number_text(number)


def _number_text(number: re.Match[str]) -> str:
    """A number without zeros that do not change it, and without a plus sign."""
    sign, integer, fraction = number.groups()
    text = f"{integer}.{fraction}" if fraction else integer
    return f"-{text}" if sign == "-" and text != "0" else text


def composed(name: str) -> str:
    """The name in composed form (NFC), in which most systems and keyboards write it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def trimmed(text: str) -> str:
    """The text without spaces and invisible characters at its ends."""
    stripped = text.strip()
    if stripped.isascii():
        return stripped
    shorter = stripped.strip(_INVISIBLE).strip()
    while shorter != stripped:
        stripped = shorter
        shorter = stripped.strip(_INVISIBLE).strip()
    return stripped


def shown(name: str) -> str:
    """A name in quotation marks for messages, in which its invisible differences can be seen.

    Characters beyond ASCII that look like others are written as escapes if the name has them.
    """
    if unicodedata.is_normalized("NFKC", name) and name.isprintable():
        return repr(name)
    return ascii(name)


def spellings(names: Iterable[str]) -> dict[str, Counter[str]]:
    """The names that have several spellings: compared text -> spelling -> number of its uses."""
    counts: dict[str, Counter[str]] = {}
    for name, uses in Counter(names).items():
        counts.setdefault(compared(name), Counter())[name] = uses
    return {text: spelled for text, spelled in counts.items() if len(spelled) > 1}


def usual_spelling(counts: Mapping[str, int]) -> str:
    """The spelling with most uses; of several with equal numbers the first in sorted order."""
    return min(counts, key=lambda spelling: (-counts[spelling], spelling))


def matching(name: str, candidates: Iterable[str]) -> list[str]:
    """The candidate that equals the name; otherwise all that are the same by `compared`."""
    listed = list(candidates)
    if name in listed:
        return [name]
    text = compared(name)
    return [candidate for candidate in listed if compared(candidate) == text]

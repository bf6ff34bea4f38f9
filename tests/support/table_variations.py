"""Tables as strangers write them: the same clips in many dialects, with what is right for each.

`VARIATIONS` has a table for each name. `random_table` writes a table whose rows are known in a
dialect drawn at random.
"""

import csv
import dataclasses
import io
import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from ser_hf.corpora import corpus_settings, tables
from ser_hf.corpora.read import refusal
from ser_hf.inference.recordings import from_paths
from ser_hf.utils.errors import UserError
from ser_hf.utils.tables import read_table

from .blank import write_blank

HEADER = ("path", "label", "speaker")
SPEAKERS = ("anna", "ben", "carl", "jürgen")
LABELS = ("angry", "sad")
# One clip of each label by each speaker.
ROWS = tuple((f"{name}_{label}.wav", label, name) for name in SPEAKERS for label in LABELS)
FILES = tuple(path for path, _, _ in ROWS)


@dataclasses.dataclass(frozen=True)
class Variation:
    """A table, and what a reader must make of it.

    Attributes:
        content: the bytes of the table.
        clips, speakers: how many there are; None if the table must be refused.
        message: a pattern in the error, or in a note.
        options: settings of the corpus.
    """

    content: bytes
    clips: int | None = len(ROWS)
    speakers: int | None = len(SPEAKERS)
    message: str | None = None
    options: dict = dataclasses.field(default_factory=dict)


def written(
    rows: Sequence[Sequence[object]] = ROWS,
    header: Sequence[str] | None = HEADER,
    encoding: str = "utf-8",
    **dialect: object,
) -> bytes:
    """A table as the module csv writes it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, **({"lineterminator": "\n"} | dialect))
    if header is not None:
        writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue().encode(encoding)


def plain(rows: Sequence[Sequence[str]], header: Sequence[str], separator: str = "\t") -> bytes:
    """A table without any quoting."""
    return "".join(separator.join(row) + "\n" for row in (header, *rows)).encode()


def changed(column: int, change: Callable[[int, str], object]) -> list[list[object]]:
    """The rows with one column changed by a function of the row's number and its cell."""
    rows = []
    for number, row in enumerate(ROWS):
        cells: list[object] = list(row)
        cells[column] = change(number, row[column])
        rows.append(cells)
    return rows


def with_column(values: Sequence[object], name: str = "remark") -> tuple[list, tuple[str, ...]]:
    """The rows with a further column, whose values repeat, and the header."""
    rows = [(*row, values[number % len(values)]) for number, row in enumerate(ROWS)]
    return rows, (*HEADER, name)


def refused(content: bytes, message: str, **options: object) -> Variation:
    return Variation(content, None, None, message, options)


def _every_other(change: Callable[[str], object]) -> Callable[[int, str], object]:
    def changed_cell(number: int, cell: str) -> object:
        return change(cell) if number % 2 else cell

    return changed_cell


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _numbers(write: Callable[[int], object]) -> list[list[object]]:
    """The rows with numbers as speakers; every other one is written by a function."""
    return changed(2, lambda i, cell: write(i // 2 + 1) if i % 2 else i // 2 + 1)


def _missing_speaker(word: str) -> bytes:
    return written(changed(2, lambda i, cell: word if i in (1, 4) else cell))


_TEXT = written().decode()
_LINES = _TEXT.splitlines(keepends=True)

VARIATIONS: dict[str, Variation] = {
    # Separators and line ends.
    "commas": Variation(written()),
    "semicolons": Variation(written(delimiter=";")),
    "tabs": Variation(written(delimiter="\t")),
    "bars": Variation(written(delimiter="|")),
    "windows line ends": Variation(written(lineterminator="\r\n")),
    "old mac line ends": Variation(written(lineterminator="\r")),
    "no last line end": Variation(written().rstrip()),
    "sep line of excel": Variation(b"sep=;\r\n" + written(delimiter=";", lineterminator="\r\n")),
    "spaces as separators": refused(plain(ROWS, HEADER, " "), "no column 'path'"),
    "commas and a semicolon in the text": Variation(
        written(*with_column(["a; b", "c"]), delimiter=",")
    ),
    "semicolons and decimal commas": Variation(
        written(*with_column(["0,5", "1,5"], "rating"), delimiter=";")
    ),
    # Encodings.
    "utf-8 with a mark": Variation(written(encoding="utf-8-sig")),
    "unicode text of excel": Variation(
        written(encoding="utf-16", delimiter="\t", lineterminator="\r\n")
    ),
    "utf-16 big endian": Variation(b"\xfe\xff" + written(encoding="utf-16-be")),
    "utf-32": Variation(written(encoding="utf-32")),
    "windows-1252": refused(written(encoding="cp1252"), "line 8: cannot be read as UTF-8"),
    "latin-1 in one late line": refused(written() + "ä\n".encode("latin-1"), "line 10: cannot"),
    "utf-16 without a mark": refused(written(encoding="utf-16-le"), "no column|cannot be read"),
    "cut within a character": refused(
        written()[: written().rindex("ü".encode()) + 1], "line 9: cannot be read as UTF-8"
    ),
    # Headers.
    "capital header": Variation(written(header=("PATH", "Label", "Speaker"))),
    "spaces in the header": Variation(written(header=(" path", "label ", "\u00a0speaker"))),
    "invisible characters in the header": Variation(
        written(header=("\ufeffpath", "label\u200b", "speaker"))
    ),
    "decomposed header": Variation(
        written(header=("path", "label", _decomposed("sprécher"))), options={"speaker": "sprécher"}
    ),
    "no header": refused(written(header=None), "the first line is the header"),
    "a column twice": refused(written(*with_column(["x"], "label")), "'label' is in its header"),
    "a column twice in other letters": refused(
        written(*with_column(["x"], "Label"), delimiter=",").replace(b",label,", b",LABEL,", 1),
        "'LABEL' and 'Label' differ in their spelling only",
    ),
    "a title above the header": refused(b"My clips\n" + written(), "more cells|no column"),
    "empty lines above the header": Variation(b"\n\n" + written()),
    "other names of columns": Variation(
        written(header=("file", "emotion", "who")),
        options={"path": "file", "label": "emotion", "speaker": "who"},
    ),
    "index column of pandas": Variation(
        written([(i, *row) for i, row in enumerate(ROWS)], ("", *HEADER))
    ),
    "named index column": Variation(
        written([(i, *row) for i, row in enumerate(ROWS)], ("Unnamed: 0", *HEADER))
    ),
    # Lines.
    "empty lines between rows": Variation("\n".join(_LINES).encode()),
    "blank rows of excel at the end": Variation(written() + b",,\n" * 100),
    "rows of spaces": Variation(written() + b"  , ,\t\n"),
    "more separators than columns": Variation(
        "".join(line.rstrip("\n") + ",,,\n" for line in _LINES).encode()
    ),
    "a row with too many cells": refused(
        written() + b"x.wav,sad,anna,more\n", "line 10: more cells than the header"
    ),
    "a row that is cut": refused(written() + b"anna_angry2.wav,sa", "line 10: 'sa' is not a known"),
    "a row without its last cell": refused(written()[:-8], "line 9: no speaker is given"),
    "the header again at the end": refused(
        written() + written([]), "line 10: 'label' is not a known"
    ),
    "the rows twice": refused(
        written() + written(header=None), "line 10: .* is also in .*, line 2"
    ),
    "only the header": refused(written([]), "holds no clip"),
    "an empty file": refused(b"", "it has none"),
    # Quotation marks.
    "everything in quotes": Variation(written(quoting=csv.QUOTE_ALL)),
    "everything in quotes with tabs": Variation(written(delimiter="\t", quoting=csv.QUOTE_ALL)),
    "quotes within a text with tabs": Variation(plain(*with_column(['he said "no"', "x"]))),
    "opening quotes in a text with tabs": Variation(plain(*with_column(['"Oh no', "x", "y"]))),
    "one opening quote with tabs": Variation(plain(*with_column(["x"] * 7 + ['"Oh no']))),
    "text of excel with tabs": Variation(
        written(*with_column(['She said "no"', "x"]), delimiter="\t", lineterminator="\r\n")
    ),
    "line breaks in cells": Variation(
        written(*with_column(["two\nlines", "x"])), message="line breaks in a cell"
    ),
    "line breaks in cells with tabs": Variation(
        written(*with_column(["two\nlines", "x"]), delimiter="\t"), message="line breaks in a cell"
    ),
    "an opening quote": refused(
        plain(*with_column(["x", '"Oh no', "y"]), separator=","), "line 3: a cell begins with a"
    ),
    "one opening quote at the end": refused(
        plain(*with_column(["x"] * 6 + ['"Oh no', "y"]), separator=","), "line 8: a cell begins"
    ),
    "an opening and a closing quote": refused(
        plain(*with_column(["x", '"Oh no', "y", 'the end"']), separator=","),
        "line 3: a cell begins with a quotation mark up to line 5",
    ),
    "inches": Variation(plain(*with_column(['5" pipe', "x"]), separator=",")),
    # Speakers.
    "speakers in capitals": Variation(
        written(changed(2, _every_other(str.upper))), message="spelled in several ways"
    ),
    "speakers with spaces": Variation(written(changed(2, _every_other(lambda cell: f" {cell} ")))),
    "speakers with other spaces": Variation(
        written(changed(2, _every_other(lambda cell: f"{cell}\u00a0\u200b")))
    ),
    "decomposed speakers": Variation(
        written(changed(2, _every_other(_decomposed))), message="spelled in several ways"
    ),
    "speakers in wide letters": Variation(
        written(changed(2, lambda i, cell: "ａｎｎａ" if i == 1 else cell)), message="spelled"
    ),
    "speakers with a decimal point": Variation(
        written(_numbers(float)), message="spelled in several ways"
    ),
    "speakers with zeros": Variation(
        written(_numbers(lambda number: f"{number:03}")), message="spelled in several ways"
    ),
    "missing speakers as N/A": refused(_missing_speaker("N/A"), "line 3: .*'N/A'"),
    "missing speakers as ?": refused(_missing_speaker("?"), r"line 3: .*'\?'"),
    "missing speakers as unk.": refused(_missing_speaker("Unk."), "line 3: .*'Unk.'"),
    "missing speakers left out": Variation(
        _missing_speaker("-"),
        clips=6,
        message="missing: speaker '-'",
        options={"no_speaker": "skip"},
    ),
    # Labels.
    "labels in capitals and spaces": Variation(
        written(changed(1, _every_other(lambda cell: f" {cell.upper()}\u00a0")))
    ),
    "other words for labels": Variation(
        written(changed(1, lambda i, cell: {"angry": "Anger", "sad": "SADNESS"}[cell]))
    ),
    "labels as numbers": refused(
        written(changed(1, lambda i, cell: LABELS.index(cell))), "numbers without names"
    ),
    "labels as mapped floats": Variation(
        written(changed(1, lambda i, cell: float(LABELS.index(cell)))),
        options={"label_map": {"0": "angry", "1": "sad"}},
    ),
    "missing labels": refused(
        written(changed(1, lambda i, cell: "n/a" if i == 2 else cell)), "line 4: no label"
    ),
    "missing labels left out": Variation(
        written(changed(1, lambda i, cell: "NaN" if i == 2 else cell)),
        clips=7,
        options={"on_unknown": "skip"},
    ),
    "unknown labels": refused(
        written(changed(1, lambda i, cell: f"cluster_{cell}")),
        r"'cluster_angry' is not a known emotion \(4 rows\), nor 'cluster_sad'",
    ),
    # Files.
    "decomposed files": Variation(written(changed(0, lambda i, cell: _decomposed(cell)))),
    "backslashes": Variation(written(changed(0, lambda i, cell: f".\\{cell}"))),
    "slashes that lead nowhere": Variation(written(changed(0, lambda i, cell: f"./x/../{cell}"))),
    "files in capitals": refused(
        written(changed(0, lambda i, cell: cell.upper())), "there is 'anna_angry.wav'"
    ),
    "files that are gone": refused(
        written(changed(0, lambda i, cell: f"x{cell}" if i > 2 else cell)),
        r"line 5: no file .*\(5 rows have no audio\)",
    ),
    "empty paths": refused(
        written(changed(0, lambda i, cell: "" if i == 2 else cell)), "line 4: the cell of 'path'"
    ),
    # Other columns.
    "segments": refused(
        written([(*row, 0.0, 0.4) for row in ROWS], (*HEADER, "onset", "offset")),
        "times of segments",
    ),
    "empty segments": Variation(
        written([(*row, "", "") for row in ROWS], (*HEADER, "start", "end"))
    ),
    "mixed types": Variation(written(*with_column([1, "two", 3.0, "NA"], "rating"))),
    "missing ages": Variation(
        written(*with_column(["31", "n/a", "?"], "age")), message="missing: age 'n/a'"
    ),
}


def random_table(draw: random.Random) -> tuple[bytes, str]:
    """A table of `ROWS` in a random dialect and spelling, and the suffix of its file.

    A reader may refuse it, but if it reads it, there are all rows, and no person is two speakers.
    """
    remarks = ("", "x", '"Oh no', 'no"', '"no"', "two\nlines", "a;b", "a\tb", "a,b", "NA", "ü" * 50)
    spelling = draw.choice((str, str, str.upper, _decomposed, lambda name: f" {name}\u200b"))
    rows = []
    for path, label, speaker in ROWS:
        name = spelling(speaker) if draw.random() < 0.5 else speaker
        rows.append([path, draw.choice((label, label.upper())), name, draw.choice(remarks)])
    draw.shuffle(rows)
    header = [draw.choice((name, name.upper(), f" {name}")) for name in (*HEADER, "remark")]
    separator = draw.choice(",;\t|")
    end = draw.choice(("\n", "\r\n", "\r"))
    if draw.random() < 0.5:
        content = written(rows, header, delimiter=separator, lineterminator=end).decode()
    else:
        lines = [separator.join(map(str, row)) for row in (header, *rows)]
        content = end.join(lines) + draw.choice(("", end))
    if draw.random() < 0.3:
        content = content.replace(end, end * 2)
    if draw.random() < 0.2:
        content += draw.choice((separator * 3, " ", end)) + end
    encoding = draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    return content.encode(encoding), draw.choice((".csv", ".tsv"))


def one_known_table(draw: random.Random, folder: Path) -> str | None:
    """One table of known rows: read completely by corpora and predictions, or refused in one line.

    Returns the message of the refusal, or None if the table is read.
    """
    write_blank(folder, *FILES)
    content, suffix = random_table(draw)
    table = folder / f"clips{suffix}"
    table.write_bytes(content)
    settings = corpus_settings("csv", table)
    try:
        listing = tables.parse(settings)
    except UserError as error:
        message = str(error)
        assert message.isprintable(), content
        assert refusal(settings) == message, content
        return message
    read = read_table(table)
    further = sum(last - first for first, last in read.spans)
    assert read.heading + len(read.rows) + further + len(read.blank) == read.lines, content
    assert len(listing.clips) == len(from_paths([table])) == len(ROWS), content
    speaker_of_person = {clip.id.partition("_")[0]: clip.speaker for clip in listing.clips}
    speakers = {clip.speaker for clip in listing.clips}
    assert speakers == set(speaker_of_person.values()), content
    assert len(speakers) == len(SPEAKERS), content
    assert refusal(settings) is None, content
    return None

"""Tables from the names of audio files: a pattern names the parts of `anna_angry_01.wav`.

A pattern is a text with fields in braces, such as ``{speaker}_{label}_{take}``, or a regular
expression with named groups. It describes the whole name of a file without its suffix; a pattern
with a slash describes the path below the folder, such as ``{speaker}/{take}_{label}``. A pattern is
never guessed: `suggest` makes one from the names, which the user has to confirm.
"""

import csv
import dataclasses
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import UserError
from ..utils.names import compared
from .files import audio_files
from .schema import EMOTIONS, SYNONYMS

# Fields of these names have a meaning in a table; others are kept as further columns.
_FIRST_COLUMNS = ("path", "label", "speaker")
_FIELD = re.compile(r"\{([^{}]*)\}")
_SEPARATORS = re.compile(r"([_\-. ]+)")
# The share of the names that must have the suggested parts.
_COMMON = 0.8
_WORDS = {compared(word) for word in (*EMOTIONS, *SYNONYMS)}


@dataclasses.dataclass(frozen=True)
class NameTable:
    """The rows of the files whose names match a pattern.

    Args:
        columns: path, label, speaker, and the further fields of the pattern.
        rows: the cells of each file; the path is absolute.
        unmatched: the paths of the files whose names do not match.
    """

    columns: list[str]
    rows: list[dict[str, str]]
    unmatched: list[Path]

    def counts(self, column: str) -> dict[str, int]:
        """How many files have each value of a column, sorted by value."""
        return dict(sorted(Counter(row[column] for row in self.rows).items()))

    def unknown_labels(self) -> list[str]:
        """The labels that are not known as an emotion."""
        return [label for label in self.counts("label") if compared(label) not in _WORDS]

    def to_csv(self, folder: Path) -> str:
        """The table as CSV, with paths relative to the folder that it is written to."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow(row | {"path": Path(os.path.relpath(row["path"], folder)).as_posix()})
        return text.getvalue()


def table_of_names(folder: str | Path, pattern: str) -> NameTable:
    """Make a table of the audio files below a folder from their names.

    Raises:
        UserError: if the pattern is wrong or has no field ``label``, or if it matches no file.
    """
    expression = compile_pattern(pattern)
    files = audio_files(folder, "the table", key="FOLDER")
    rows = []
    unmatched = []
    for path in files:
        match = expression.fullmatch(_described(path, Path(folder), "/" in pattern))
        if match is None:
            unmatched.append(path)
        else:
            rows.append({"path": os.path.abspath(path), **match.groupdict(default="")})
    if not rows:
        example = _described(files[0], Path(folder), "/" in pattern)
        raise UserError(
            f"--pattern: {pattern} matches none of {len(files)} files, such as {example}"
            f"{_or_suggestion(folder)}"
        )
    fields = list(expression.groupindex)
    known = [name for name in _FIRST_COLUMNS if name == "path" or name in fields]
    columns = known + [name for name in fields if name not in known]
    return NameTable(columns, rows, unmatched)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to a regular expression with a named group for each field.

    A field in braces matches what contains neither a slash nor a separator of the pattern.
    """
    text = pattern if "(?P<" in pattern else _expression(pattern)
    try:
        expression = re.compile(text)
    except re.error as error:
        raise UserError(f"--pattern: {pattern}: {error}; correct it") from None
    if "label" not in expression.groupindex:
        raise UserError(
            f"--pattern: {pattern} has no field label; write it such as "
            "{speaker}_{label}_{take}"
        )
    if "path" in expression.groupindex:
        raise UserError("--pattern: path is the file itself; give the field another name")
    return expression


def _expression(pattern: str) -> str:
    """The regular expression of a pattern with fields in braces."""
    literal = "".join(_FIELD.split(pattern)[::2])
    separators = sorted(set(re.findall(r"[^\w]|_", literal)) | {"/"})
    excluded = "".join(map(re.escape, separators))
    expression = ""
    for i, piece in enumerate(_FIELD.split(pattern)):
        if i % 2 == 0:
            expression += re.escape(piece)
        elif not piece.isidentifier():
            raise UserError(f"--pattern: {{{piece}}}: a field is a word, such as {{speaker}}")
        else:
            expression += f"(?P<{piece}>[^{excluded}]+)"
    return expression


def suggest(folder: str | Path) -> str | None:
    """A pattern for the names of the files below a folder; None if no part is an emotion.

    The label is the part with known emotions. Of the other parts the speaker may be the one that
    is not a number, or has few numbers.
    """
    stems = [path.stem for path in audio_files(folder, "the table", key="FOLDER")]
    splits = [_SEPARATORS.split(stem) for stem in stems]
    layouts = Counter((len(pieces), *pieces[1::2]) for pieces in splits)
    (layout, count), *_ = layouts.most_common(1)
    if count < _COMMON * len(stems) or layout[0] < 3:
        return None
    parts = [pieces[::2] for pieces in splits if (len(pieces), *pieces[1::2]) == layout]
    columns = list(zip(*parts, strict=True))
    label = _label_column(columns)
    if label is None:
        return None
    names = _names_of_columns(columns, label)
    pattern = f"{{{names[0]}}}"
    for separator, name in zip(layout[1:], names[1:], strict=True):
        pattern += f"{separator}{{{name}}}"
    return pattern


def _label_column(columns: Sequence[Sequence[str]]) -> int | None:
    """The column in which most values are known emotions; None if there is none."""
    best = None
    best_share = 0.5
    for i, values in enumerate(columns):
        share = sum(compared(value) in _WORDS for value in values) / len(values)
        if share > best_share and len(set(values)) > 1:
            best, best_share = i, share
    return best


def _names_of_columns(columns: Sequence[Sequence[str]], label: int) -> list[str]:
    """A field for each column: label, speaker, take, and numbered parts."""
    names = [f"part{i + 1}" for i in range(len(columns))]
    names[label] = "label"
    several = []
    for i, values in enumerate(columns):
        if i != label and 1 < len(set(values)) < len(values):
            several.append(i)
    words = [i for i in several if not all(value.isdigit() for value in columns[i])]
    candidates = words or several
    if candidates:
        names[candidates[0]] = "speaker"
    numbers = [i for i, name in enumerate(names) if name.startswith("part")]
    numbers = [i for i in numbers if all(value.isdigit() for value in columns[i])]
    if numbers:
        names[numbers[-1]] = "take"
    return names


def _described(path: Path, folder: Path, with_folders: bool) -> str:
    """What a pattern describes: the name of a file, or its path below the folder; no suffix."""
    name = path.relative_to(folder) if with_folders else Path(path.name)
    return name.with_suffix("").as_posix()


def _or_suggestion(folder: str | Path) -> str:
    """The end of a message: the suggested pattern, if there is one."""
    suggestion = suggest(folder)
    return "; correct it" if suggestion is None else f"; the names look like {suggestion}"


def hint(folder: str | Path) -> str:
    """What to do about a folder whose labels are in the names of its files."""
    pattern = suggest(folder) or "{speaker}_{label}_{take}"
    return f"ser-hf table {folder} --pattern '{pattern}'"

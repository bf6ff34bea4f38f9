"""Databases in audEERING's audformat, as `audb` publishes them (corpus name `audformat`).

`corpus.root` is the folder of a database, with its `db.yaml`, as `audb.load_to("data/emodb", "emodb")` downloads it.
`corpus.label` and `corpus.speaker` are schemes (or columns, or labels of a scheme, such as the gender in a scheme of
speakers), looked up in all tables; `corpus.tables` chooses the tables of the labels if several have them: a database
often has one table of votes and one of intended emotions. `corpus.columns` names the schemes for sex, age, language,
sentence, intensity and take; gender and transcription are read as sex and sentence.

Tables that belong to a split fill the column `split` (dev is validation), which the protocol `column` reads. Segments
of longer recordings are cut once, into the cache (`ser_hf.corpora.segments`).

Reading needs the package `audformat`: ``pip install "ser_hf[audformat]"``.
Source: Wagner J, Wierstorf H, Derington A, Eyben F, Schuller B. audformat, https://audeering.github.io/audformat/
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from .schema import Listing
from .segments import Segment
from .tables import KNOWN, Row, RowParser, facts, split_name

__all__ = ["ROW_OPTIONS", "facts", "parse"]

ROW_OPTIONS = RowParser
# The usual names in databases of columns with another name in ser_hf.
_USUAL = {"sex": "gender", "sentence": "transcription"}


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    tables: list[str] | None = None,
    label: str = "emotion",
    speaker: str = "speaker",
    corpus_name: str = "audformat",
    **options: Any,
) -> Listing:
    """Reads the labels of a database.

    Args:
        root: the folder of the database.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out.
        tables: the tables of the labels; by default all that have them.
        label, speaker: schemes (above).
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and `ser_hf.corpora.tables.facts`.

    Raises:
        UserError: for a missing package, database, scheme or table, and for tables that contradict each other.
    """
    parser = RowParser.from_options(corpus_name, options)
    try:
        import audformat
    except ImportError:
        raise UserError(
            'corpus.name: audformat needs the package of that name: pip install "ser_hf[audformat]"'
        ) from None
    if root is None or not (Path(root) / "db.yaml").is_file():
        raise UserError(
            f"corpus.root: {root or 'missing'}; audformat needs the folder of a database, with its db.yaml (such as "
            'audb.load_to(folder, "emodb") makes)'
        )
    root = Path(root)
    database = _loaded(audformat, root)
    for name in tables or ():
        if name not in database.tables:
            raise UserError(f"corpus.tables: no table {name!r}; the database has {', '.join(database.tables)}")
    schemes = _schemes(database)
    if label not in schemes:
        raise UserError(f"corpus.label: the database has no scheme {label!r}; it has {', '.join(sorted(schemes))}")
    wanted = {name: _scheme(name, parser, schemes) for name in KNOWN}
    others = dict.fromkeys((speaker, *wanted.values(), "session"))
    extra = [name for name in others if name in schemes and name != label]
    try:
        frame = database.get(label, extra, tables=tables)
    except (ValueError, TypeError) as error:
        having = ", ".join(_tables_with(database, label))
        raise UserError(
            f"corpus.tables: choose among the tables of {label}, {having}; they contradict each other: "
            + _message(error)
        ) from None
    splits = _splits(database, tables or _tables_with(database, label))
    rows = []
    for entry, values in zip(frame.index, frame.to_dict("records"), strict=True):
        file, start, end = entry if isinstance(entry, tuple) else (entry, None, None)
        first, last = _seconds(start) or 0.0, _seconds(end)
        complete = not first and last is None
        cells = {parser.column(name): _cell(values.get(scheme)) for name, scheme in wanted.items()}
        own = {"split": splits.get(entry), "session": _text(values.get("session"))}
        stem = re.sub(r"\.[A-Za-z0-9]{1,4}$", "", file)
        row = Row(
            where=f"{root / 'db.yaml'}, {label} of {file}" + ("" if complete else f" from {first:g} s"),
            path=root / file,
            name=stem if complete else f"{stem}/{first:.3f}-{'end' if last is None else f'{last:.3f}'}",
            place=file,
            label=_text(values[label]),
            speaker=_text(values.get(speaker)),
            cells=cells,
            extra={name: value for name, value in own.items() if value},
            missing=None
            if (root / file).is_file()
            else f"no file {root / file}; complete the database, or set corpus.on_unknown: skip",
            segment=None if complete else Segment(root / file, first, last),
        )
        rows.append(row)
    return Listing(corpus_name, *parser.clips(rows, on_unknown))


def _loaded(audformat: Any, root: Path) -> Any:
    """The database with all tables loaded, so that an error names the damaged table."""
    header = root / "db.yaml"
    try:
        database = audformat.Database.load(str(root))
    except Exception as error:  # of several kinds: YAML, missing keys, wrong types
        raise UserError(f"{header}: cannot be read as the header of a database: {_message(error)}") from None
    for name, table in (*database.tables.items(), *database.misc_tables.items()):
        try:
            table.load(str(root / f"db.{name}"))
        except Exception as error:  # as above, of CSV, parquet and pickle
            raise UserError(
                f"{root / f'db.{name}'}.csv (or .parquet): the table {name} cannot be read: {_message(error)}"
            ) from None
    return database


def _message(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _schemes(database: Any) -> set[str]:
    """Everything that `Database.get` finds: schemes, columns, and labels of schemes."""
    names = set(database.schemes)
    for table in (*database.tables.values(), *database.misc_tables.values()):
        names |= set(table.columns)
    for scheme in database.schemes.values():
        if isinstance(scheme.labels, dict):
            names |= {key for entry in scheme.labels.values() if isinstance(entry, dict) for key in entry}
    return names


def _scheme(name: str, parser: RowParser, schemes: set[str]) -> str:
    """The database's name for one of `KNOWN`."""
    column = parser.column(name)
    return column if column in schemes else _USUAL.get(name, column)


def _tables_with(database: Any, label: str) -> list[str]:
    """The tables with a column of that scheme or name."""
    return [
        name
        for name, table in database.tables.items()
        if any(label in (column_name, column.scheme_id) for column_name, column in table.columns.items())
    ]


def _splits(database: Any, tables: Sequence[str]) -> dict[Any, str]:
    """Entry of an index -> the split of the first table that has the entry and a split."""
    splits: dict[Any, str] = {}
    for name in tables:
        split = database[name].split_id
        if split is not None:
            for entry in database[name].index:
                splits.setdefault(entry, split_name(split) or split)
    return splits


def _seconds(value: Any) -> float | None:
    return None if value is None or value != value else value.total_seconds()  # NaT differs from itself


def _cell(value: Any) -> Any:
    """A value of a data frame as Python has it; None where it is missing."""
    if value is None or str(value) in ("nan", "NaT", "<NA>"):
        return None
    return value.item() if hasattr(value, "item") else value


def _text(value: Any) -> str | None:
    value = _cell(value)
    return None if value is None else str(value)

"""Databases in audEERING's audformat, as `audb` publishes them (corpus name `audformat`).

`corpus.root` is the folder of a database, with its `db.yaml`, as `audb.load_to("data/emodb", "emodb")` fetches one.
`corpus.label` and `corpus.speaker` are schemes (or columns, or labels of a scheme, such as the gender that a scheme of
speakers tells), looked up in all tables; `corpus.tables` says which tables' labels are meant where several hold them,
as a database often has one of the votes and one of the intentions. `corpus.columns` names the schemes for sex, age,
language, sentence, intensity and take; gender and transcription are known as sex and sentence.

Tables that belong to a split make a column `split` (dev is validation), which the protocol `column` reads. Segments of
longer recordings are cut out once, into the cache (`ser_hf.corpora.segments`).

Reading needs the package `audformat`: ``pip install "ser_hf[audformat]"``.
Source: Wagner J, Wierstorf H, Derington A, Eyben F, Schuller B. audformat, https://audeering.github.io/audformat/
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from .schema import Listing
from .segments import Piece
from .tables import KNOWN, NoSpeaker, Reading, Row, clips_of, facts, part_of

__all__ = ["facts", "parse"]

# What databases call the columns that are known by another name here.
_USUAL = {"sex": "gender", "sentence": "transcription"}


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    tables: list[str] | None = None,
    label: str = "emotion",
    speaker: str = "speaker",
    columns: dict[str, str] | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    corpus_name: str = "audformat",
    language: str | None = None,
    **told: Any,
) -> Listing:
    """Reads the labels of a database.

    Args:
        root: the folder of the database.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out and told.
        tables: the tables whose labels are meant; by default all that have them.
        label, speaker, columns: schemes (above).
        label_map, speaker_pattern, no_speaker, corpus_name, language: see `ser_hf.corpora.tables.Reading`.
        told: what `ser_hf.corpora.tables.facts` takes.

    Raises:
        UserError: where the package or the database is missing, a scheme or table is not there, or tables contradict
            each other.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
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
    wanted = {name: _scheme(name, reading, schemes) for name in KNOWN}
    others = dict.fromkeys((speaker, *wanted.values(), "session"))
    extra = [name for name in others if name in schemes and name != label]
    try:
        frame = database.get(label, extra, tables=tables)
    except (ValueError, TypeError) as error:
        having = ", ".join(_tables_with(database, label))
        raise UserError(
            f"corpus.tables: name the tables whose {label} is meant, of {having}; they contradict each other: "
            + _said(error)
        ) from None
    splits = _splits(database, tables or _tables_with(database, label))
    rows = []
    for entry, values in zip(frame.index, frame.to_dict("records"), strict=True):
        file, start, end = entry if isinstance(entry, tuple) else (entry, None, None)
        first, last = _seconds(start) or 0.0, _seconds(end)
        whole = not first and last is None
        cells = {reading.column(name): _cell(values.get(scheme)) for name, scheme in wanted.items()}
        own = {"split": splits.get(entry), "session": _text(values.get("session"))}
        stem = re.sub(r"\.[A-Za-z0-9]{1,4}$", "", file)
        row = Row(
            where=f"{root / 'db.yaml'}, {label} of {file}" + ("" if whole else f" from {first:g} s"),
            path=root / file,
            name=stem if whole else f"{stem}/{first:.3f}-{'end' if last is None else f'{last:.3f}'}",
            place=file,
            label=_text(values[label]),
            speaker=_text(values.get(speaker)),
            cells=cells,
            extra={name: value for name, value in own.items() if value},
            absent=None
            if (root / file).is_file()
            else f"no file {root / file}; complete the database, or set corpus.on_unknown: skip",
            piece=None if whole else Piece(root / file, first, last),
        )
        rows.append(row)
    return Listing(corpus_name, *clips_of(rows, reading, on_unknown))


def _loaded(audformat: Any, root: Path) -> Any:
    """The database with all its tables, so that what is damaged is told by its own name.

    Raises:
        UserError: for a header or a table that cannot be read.
    """
    header = root / "db.yaml"
    try:
        database = audformat.Database.load(str(root))
    except Exception as error:  # whatever its parts meet: YAML, keys that are missing, values of other types
        raise UserError(f"{header}: cannot be read as the header of a database: {_said(error)}") from None
    for name, table in (*database.tables.items(), *database.misc_tables.items()):
        try:
            table.load(str(root / f"db.{name}"))
        except Exception as error:  # as above, of CSV, parquet and pickle
            raise UserError(
                f"{root / f'db.{name}'}.csv (or .parquet): the table {name} cannot be read: {_said(error)}"
            ) from None
    return database


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _schemes(database: Any) -> set[str]:
    """Everything that `Database.get` finds: schemes, columns, and labels of schemes."""
    names = set(database.schemes)
    for table in (*database.tables.values(), *database.misc_tables.values()):
        names |= set(table.columns)
    for scheme in database.schemes.values():
        if isinstance(scheme.labels, dict):
            names |= {key for told in scheme.labels.values() if isinstance(told, dict) for key in told}
    return names


def _scheme(name: str, reading: Reading, schemes: set[str]) -> str:
    """What the database calls one of `KNOWN`."""
    called = reading.column(name)
    return called if called in schemes else _USUAL.get(name, called)


def _tables_with(database: Any, label: str) -> list[str]:
    """The tables with a column of that scheme or name."""
    return [
        name
        for name, table in database.tables.items()
        if any(label in (column_name, column.scheme_id) for column_name, column in table.columns.items())
    ]


def _splits(database: Any, tables: Sequence[str]) -> dict[Any, str]:
    """Entry of an index -> the part of the first table that has it and tells one."""
    splits: dict[Any, str] = {}
    for name in tables:
        told = database[name].split_id
        if told is not None:
            for entry in database[name].index:
                splits.setdefault(entry, part_of(told) or told)
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

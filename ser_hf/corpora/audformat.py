"""Databases in audEERING's audformat, as `audb` publishes them (corpus name `audformat`).

`corpus.root` is the folder of a database, with its `db.yaml`, as `audb.load_to("data/emodb",
"emodb")` downloads it. `corpus.label` and `corpus.speaker` are schemes (or columns, or labels of a
scheme, such as the gender in a scheme of speakers), looked up in all tables; `corpus.tables`
chooses the tables of the labels if several have them. `corpus.columns` names the schemes for sex,
age, language, sentence, intensity and take; gender and transcription are read as sex and sentence.
Tables that belong to a split fill the column `split` (dev is validation), which the protocol
`column` reads. Segments of recordings are not supported. Tables are read from Parquet or CSV: a
pickle may run code.

Reading needs the package `audformat`: ``pip install "ser_hf[audformat]"``. Source: Wagner J,
Wierstorf H, Derington A, Eyben F, Schuller B. audformat, https://audeering.github.io/audformat/
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from ..utils.errors import UserError, one_line
from . import tables
from .schema import Listing
from .tables import KNOWN, NO_LABEL, Row, RowParser, absent, split_name, text

ROW_OPTIONS = RowParser
facts = tables.facts
# The usual names in databases of columns with another name in ser_hf.
_USUAL = {"sex": "gender", "sentence": "transcription"}


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    tables: list[str] | None = None,
    label: str | None = "emotion",
    ratings: list[str] | None = None,
    speaker: str = "speaker",
    corpus_name: str = "audformat",
    **options: Any,
) -> Listing:
    """Read the labels of a database.

    Args:
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are
            left out.
        tables: the tables of the labels; by default all that have them.
        label: the scheme of the emotions; null (with ratings) makes every clip one of the emotion
            other.
        ratings: schemes of numbers to keep as columns, such as ``[arousal, valence]``.
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and
            `ser_hf.corpora.tables.facts`.
    """
    parser = RowParser.from_options(corpus_name, options)
    try:
        import audformat
    except ImportError:
        raise UserError(
            'corpus.name: audformat needs that package: pip install "ser_hf[audformat]"'
        ) from None
    root = Path(root or "")
    if not (root / "db.yaml").is_file():
        raise UserError(
            f"corpus.root: {root}; audformat needs the folder of a database, with its db.yaml"
        )
    with tempfile.TemporaryDirectory(prefix="ser_hf-audformat-") as copy:
        try:
            _copy_data(root, Path(copy))
            database = audformat.Database.load(copy)
            schemes = _schemes(database)
        except UserError:
            raise
        except Exception as error:
            # of several kinds: YAML, missing keys, wrong types, CSV, parquet
            raise UserError(
                f"{root / 'db.yaml'}: the database cannot be read: {one_line(error)}"
            ) from None
        for name in tables or ():
            if name not in database.tables:
                raise UserError(
                    f"corpus.tables: no table {name!r}; the database has {', '.join(database.tables)}"
                )
        wanted_schemes = [*([] if label is None else [label]), *(ratings or ())]
        for key, scheme in [("label", label)] * (label is not None) + [
            ("ratings", own) for own in ratings or ()
        ]:
            if scheme not in schemes:
                there = ", ".join(sorted(schemes))
                raise UserError(
                    f"corpus.{key}: the database has no scheme {scheme!r}; it has {there}"
                )
        if not wanted_schemes:
            raise UserError(
                "corpus.ratings: missing; without a label, name the schemes of the ratings"
            )
        first, *more = wanted_schemes
        columns = {name: parser.column(name) for name in KNOWN}
        wanted = {
            name: column if column in schemes else _USUAL.get(name, column)
            for name, column in columns.items()
        }
        others = dict.fromkeys((*more, speaker, *wanted.values(), "session"))
        having = _tables_with(database, first)
        try:
            frame = database.get(
                first, [name for name in others if name in schemes - {first}], tables=tables
            )
        except Exception as error:  # of several kinds, as above
            raise UserError(
                f"corpus.tables: the tables of {first}, {', '.join(having)}, are damaged or contradict each other; "
                f"choose among them: {one_line(error)}"
            ) from None
        splits = _splits(database, tables or having)
    rows = []
    for entry, values in zip(frame.index, frame.to_dict("records"), strict=True):
        file, start, end = entry if isinstance(entry, tuple) else (entry, None, None)
        where = f"{root / 'db.yaml'}, {first} of {file}"
        if start or not pd.isna(end):
            raise UserError(
                f"{where}: segments are not supported; cut them into files for corpus.name: csv"
            )
        cells = {name: None if pd.isna(value) else value for name, value in values.items()}
        own = {"split": splits.get(file), "session": text(cells.get("session"))}
        own |= {name: cells.get(name) for name in ratings or ()}
        rows.append(
            Row(
                where=where,
                path=root / file,
                name=re.sub(r"\.[A-Za-z0-9]{1,4}$", "", file),
                place=file,
                label=cells[label] if label else NO_LABEL,
                speaker=cells.get(speaker),
                cells={columns[name]: cells.get(scheme) for name, scheme in wanted.items()},
                extra={name: value for name, value in own.items() if value is not None},
                missing=absent(root / file),
            )
        )
    return Listing(corpus_name, *parser.clips(rows, on_unknown))


def _copy_data(root: Path, copy: Path) -> None:
    """Fill a folder from which audformat reads the database at `root` without running code that is
    in it.

    audformat prefers pickles to other tables, and makes any Python object that a tag of the header
    names.
    """
    header = yaml.load((root / "db.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (copy / "db.yaml").write_text(
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    for path in (*root.glob("db.*.csv"), *root.glob("db.*.parquet")):
        (copy / path.name).symlink_to(path.resolve())
    for path in root.glob("db.*.pkl"):
        if not any((copy / f"{path.stem}.{kind}").exists() for kind in ("csv", "parquet")):
            raise UserError(
                f"{path}: a pickle, which may run code, is not opened; save the table as CSV or Parquet"
            )


def _schemes(database: Any) -> set[str]:
    """Everything that `Database.get` finds: schemes, columns, and labels of schemes."""
    names = set(database.schemes)
    for table in (*database.tables.values(), *database.misc_tables.values()):
        names |= set(table.columns)
    for scheme in database.schemes.values():
        if isinstance(scheme.labels, dict):
            names |= {
                key for entry in scheme.labels.values() if isinstance(entry, dict) for key in entry
            }
    return names


def _tables_with(database: Any, label: str) -> list[str]:
    """The tables with a column of that scheme or name."""
    return [
        name
        for name, table in database.tables.items()
        if any(
            label in (column_name, column.scheme_id)
            for column_name, column in table.columns.items()
        )
    ]


def _splits(database: Any, tables: Sequence[str]) -> dict[str, str]:
    """File -> the split of the first table that has the file and a split."""
    splits: dict[str, str] = {}
    for table in (database[name] for name in tables):
        for file in table.files if table.split_id else ():
            splits.setdefault(file, split_name(table.split_id) or table.split_id)
    return splits

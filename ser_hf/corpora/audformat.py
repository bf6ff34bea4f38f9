"""Databases in audEERING's audformat, as `audb` publishes them (corpus name `audformat`).

`corpus.root` is the folder of a database, which contains `db.yaml`. For example,
`audb.load_to("data/emodb", "emodb")` downloads such a folder. `corpus.label` and `corpus.speaker`
name schemes (or columns, or labels of a scheme, such as the gender in a scheme of speakers); they
are searched in all tables. If several tables contain labels, `corpus.tables` chooses among them.
`corpus.columns` names the schemes for sex, age, language, sentence, intensity and take; by default
gender and transcription are read as sex and sentence. If tables belong to splits, the column
`split` contains the split of each file (dev is validation), and the protocol `column` can use it.
Segmented tables, whose rows have a start and an end, are read as segments of their recordings.
Tables are read from Parquet or CSV only, because a pickle
may run code.

Reading needs the package `audformat`: ``pip install "ser_hf[audformat]"``. Source: Wagner J,
Wierstorf H, Derington A, Eyben F, Schuller B. audformat, https://audeering.github.io/audformat/
"""

import dataclasses
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
import yaml
from pydantic import Field, model_validator

from ..utils.bounds import require_bounded_table
from ..utils.cells import text
from ..utils.errors import UserError, one_line
from ..utils.files import link_or_copy
from ..utils.find_file import FileFinder
from ..utils.segments import Segment, SegmentColumns
from ..utils.yaml import check_bounds, read_text
from .columns import split_name
from .rows import STANDARD_COLUMNS, Row, RowParser, TableSettings, absent
from .schema import NO_LABEL, Listing
from .settings import refuse

# Limits of db.yaml. Databases of 100,000 speakers with three values each have half as much.
_MOST_HEADER_BYTES = 2**25
_MOST_HEADER_VALUES = 10**6
_SECTIONS = ("tables", "misc_tables")
# audformat reads the table NAME from the file db.NAME.csv, so a name is a part of a path.
_TABLE_NAME = re.compile(r"\w[\w.@+ -]{0,199}")
_HeaderLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# audformat indexes a segmented table by file, start and end.
_TIMES = SegmentColumns("start", "end")

# Column of ser_hf -> the scheme that databases in audformat usually have for it.
_USUAL_SCHEMES = {"sex": "gender", "sentence": "transcription"}


class AudformatSettings(TableSettings):
    """Settings of a database in audformat. The root is the folder that contains ``db.yaml``."""

    name: Annotated[Literal["audformat"], Field(description="a database in audformat")] = (
        "audformat"
    )
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "audformat"
    tables: Annotated[
        list[str] | None,
        Field(description="the tables of the labels; null: all that have them"),
    ] = None
    label: Annotated[
        str | None,
        Field(description="the scheme of the emotions; null, for ratings: every clip is of other"),
    ] = "emotion"
    ratings: Annotated[
        list[str] | None,
        Field(description="schemes of numbers to keep as columns, such as [arousal, valence]"),
    ] = None
    speaker: Annotated[str, Field(description="the scheme of the speakers")] = "speaker"

    @property
    def schemes(self) -> list[str]:
        """The names of all schemes that are read as label or rating."""
        label_schemes = [] if self.label is None else [self.label]
        return [*label_schemes, *(self.ratings or ())]

    @model_validator(mode="after")
    def _check_schemes(self) -> Self:
        if not self.schemes:
            message = "missing; without a label, name the schemes of the ratings"
            refuse(self.ratings, message, "ratings")
        return self


@dataclasses.dataclass(frozen=True)
class _Content:
    """The content of a database that becomes rows.

    Attributes:
        frame: one column per scheme, indexed by file, or by file, start and end.
        scheme_of_column: a name of `STANDARD_COLUMNS` -> the scheme that contains its values.
        splits: file -> split.
    """

    frame: pd.DataFrame
    scheme_of_column: dict[str, str]
    splits: dict[str, str]


def parse(settings: AudformatSettings) -> Listing:
    """Read the clips and labels of a database.

    Raises:
        UserError: if the database is wrong, or if the package audformat is not installed.
    """
    root = Path(settings.root or "")
    parser = RowParser(settings.corpus_name, settings)
    content = _read(root, parser, settings)
    first_scheme = settings.schemes[0]
    finder = FileFinder()
    rows = []
    values_of_rows = content.frame.to_dict("records")
    for entry, values in zip(content.frame.index, values_of_rows, strict=True):
        file, start, end = entry if isinstance(entry, tuple) else (entry, None, None)
        where = f"{root / 'db.yaml'}, {first_scheme} of {file}"
        segment = _TIMES.segment({"start": start, "end": end}, where)
        if segment == Segment(0.0, None):  # audformat's way to write a whole file
            segment = None
        cells = {name: None if pd.isna(value) else value for name, value in values.items()}
        row = _row(where, finder.find(root / file), file, cells, content, parser)
        rows.append(dataclasses.replace(row, segment=segment))
    return parser.listing(rows)


def _row(
    where: str,
    path: Path,
    file: str,
    cells: Mapping[str, Any],
    content: _Content,
    parser: RowParser,
) -> Row:
    """Make the row of a file; `cells` maps each scheme to its value for this file."""
    settings = parser.settings
    extra = {"split": content.splits.get(file), "session": text(cells.get("session"))}
    for rating in settings.ratings or ():
        extra[rating] = cells.get(rating)
    cells_of_columns = {}
    for name, scheme in content.scheme_of_column.items():
        cells_of_columns[parser.column(name)] = cells.get(scheme)
    return Row(
        where=where,
        path=path,
        name=re.sub(r"\.[A-Za-z0-9]{1,4}$", "", file),
        searched_path=file,
        label=cells[settings.label] if settings.label else NO_LABEL,
        speaker=cells.get(settings.speaker),
        cells=cells_of_columns,
        extra={name: value for name, value in extra.items() if value is not None},
        missing=absent(path),
    )


def _read(root: Path, parser: RowParser, settings: AudformatSettings) -> _Content:
    """Read the values of all schemes that the settings name."""
    try:
        import audformat
    except ImportError:
        raise UserError(
            'corpus.name: audformat needs that package: pip install "ser_hf[audformat]"'
        ) from None
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
            # audformat raises many types of errors: for YAML, keys, types, CSV and Parquet.
            raise UserError(
                f"{root / 'db.yaml'}: the database cannot be read: {one_line(error)}"
            ) from None
        _require_names(database, schemes, settings)

        scheme_of_column = {}
        for name in STANDARD_COLUMNS:
            column = parser.column(name)
            if column not in schemes:
                column = _USUAL_SCHEMES.get(name, column)
            scheme_of_column[name] = column
        first_scheme, *other_schemes = settings.schemes
        candidates = [*other_schemes, settings.speaker, *scheme_of_column.values(), "session"]
        additional_schemes = [
            name for name in dict.fromkeys(candidates) if name in schemes and name != first_scheme
        ]
        tables_with_scheme = _tables_with(database, first_scheme)
        try:
            frame = database.get(first_scheme, additional_schemes, tables=settings.tables)
        except Exception as error:  # audformat raises many types of errors, as above
            raise UserError(
                f"corpus.tables: the tables of {first_scheme}, {', '.join(tables_with_scheme)}, "
                f"are damaged or contradict each other; choose among them: {one_line(error)}"
            ) from None
        splits = _splits(database, settings.tables or tables_with_scheme)
    return _Content(frame, scheme_of_column, splits)


def _require_names(database: Any, schemes: set[str], settings: AudformatSettings) -> None:
    """Raise a UserError if the settings name a table or a scheme that the database lacks."""
    for name in settings.tables or ():
        if name not in database.tables:
            raise UserError(
                f"corpus.tables: no table {name!r}; the database has {', '.join(database.tables)}"
            )
    key_of_scheme = dict.fromkeys(settings.ratings or (), "ratings")
    if settings.label is not None:
        key_of_scheme[settings.label] = "label"
    for scheme in settings.schemes:
        if scheme not in schemes:
            raise UserError(
                f"corpus.{key_of_scheme[scheme]}: the database has no scheme {scheme!r}; "
                f"it has {', '.join(sorted(schemes))}"
            )


def _copy_data(root: Path, copy: Path) -> None:
    """Fill the folder `copy` with a safe copy of the database, which cannot run code when read.

    The original is not safe to load: audformat prefers pickles to other tables, it creates any
    Python object that a YAML tag in `db.yaml` names, and it takes the name of a table for a path.
    """
    header = _read_header(root / "db.yaml")
    safe_header = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    (copy / "db.yaml").write_text(safe_header, encoding="utf-8")
    for path in (*root.glob("db.*.csv"), *root.glob("db.*.parquet")):
        require_bounded_table(path)
        link_or_copy(path, copy / path.name)
    for path in root.glob("db.*.pkl"):
        readable = [copy / f"{path.stem}.csv", copy / f"{path.stem}.parquet"]
        if not any(table.exists() for table in readable):
            raise UserError(
                f"{path}: a pickle, which may run code, is not opened; "
                "save the table as CSV or Parquet"
            )


def _read_header(path: Path) -> dict[str, Any]:
    """Read `db.yaml` as data: bounded, without tags, and with names that lead nowhere.

    Raises:
        UserError: if the file is no header of a database.
    """
    content = read_text(path, _MOST_HEADER_BYTES)
    try:
        check_bounds(content, _MOST_HEADER_BYTES, _MOST_HEADER_VALUES)
        header = yaml.load(content, Loader=_HeaderLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: the database cannot be read: {one_line(error)}") from None
    if not isinstance(header, dict):
        raise UserError(f"{path}: the database cannot be read: it holds no mapping")
    for key in ("name", "source", "usage"):
        # Without these audformat looks for the database one level deeper.
        if key not in header:
            raise UserError(f"{path}: the database cannot be read: {key} is missing")
    for section in _SECTIONS:
        names = header.get(section)
        if names is not None and not isinstance(names, dict):
            raise UserError(f"{path}: {section}: expected a mapping of names")
        for name in names or ():
            if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
                raise UserError(
                    f"{path}: {section}: {name!r:.100} names no table beside it; "
                    "a name has letters, digits, dots, hyphens, underscores and spaces"
                )
    # Files that a database offers for download beside its clips are not read.
    header.pop("attachments", None)
    return header


def _schemes(database: Any) -> set[str]:
    """All names that `Database.get` accepts: schemes, columns, and labels of schemes."""
    names = set(database.schemes)
    for table in (*database.tables.values(), *database.misc_tables.values()):
        names.update(table.columns)
    for scheme in database.schemes.values():
        if isinstance(scheme.labels, dict):
            for entry in scheme.labels.values():
                if isinstance(entry, dict):
                    names.update(entry)
    return names


def _tables_with(database: Any, scheme: str) -> list[str]:
    """The names of the tables that have a column with this scheme or this name."""
    names = []
    for name, table in database.tables.items():
        for column_name, column in table.columns.items():
            if scheme in (column_name, column.scheme_id):
                names.append(name)
                break
    return names


def _splits(database: Any, tables: Sequence[str]) -> dict[str, str]:
    """Map each file to the split of the first table that has the file and belongs to a split."""
    splits: dict[str, str] = {}
    for name in tables:
        table = database[name]
        if table.split_id:
            split = split_name(table.split_id) or table.split_id
            for file in table.files:
                splits.setdefault(file, split)
    return splits

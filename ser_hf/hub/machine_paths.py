"""Paths of this machine, of which nobody else learns anything: taken out of what is published, and looked for."""

import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError

TEXTS = (".html", ".json", ".md", ".csv", ".svg", ".txt", ".yaml", ".py")


def machine_paths(*given: str | Path | None, recipe: Mapping[str, Any] | None = None) -> list[str]:
    """The home folder, the working folder, those that are given, and those that a recipe names, absolute, the longest
    first; each as it is written and as it is where a link leads."""
    named = [Path.home(), Path.cwd(), *(place for place in given if place)]
    named += [word for word in _words(recipe or {}) if Path(word).is_absolute()]
    if recipe:
        items = [recipe.get("corpus") or {}, *((recipe.get("corpus") or {}).get("corpora") or ())]
        named += [item[key] for item in items for key in ("root", "audio_root") if item.get(key)]
    found = {form for place in named for form in (os.path.abspath(place), os.path.realpath(place))}
    # A path of one letter or none would be found everywhere.
    return sorted((place for place in found if len(place) > 2), key=lambda place: (-len(place), place))


def without_paths(text: str, places: Sequence[str]) -> str:
    """The text with each of the places named by its last part alone: ``/home/me/data/RAVDESS/a.wav`` becomes
    ``RAVDESS/a.wav``."""
    for place in places:
        text = _grammar(place).sub(lambda _, name=Path(place).name: name, text)
    return text


def require_no_paths(folder: Path, places: Sequence[str]) -> None:
    """Refuses a folder of which any file holds one of the places, tables of parquet in any column of words too.

    Raises:
        UserError: naming the file and the path.
    """
    grammars = [_grammar(place) for place in places]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for text in _texts(path):
            found = next((match for grammar in grammars if (match := grammar.search(text))), None)
            if found:
                name = path.relative_to(folder).as_posix()
                raise UserError(f"{name}: holds {found[0]}, a path of this machine, and is not published so")


def _texts(path: Path) -> Iterable[str]:
    if path.suffix == ".parquet":
        return _cells(path)
    return [path.read_text(encoding="utf-8")] if path.suffix in TEXTS else []


def _cells(path: Path) -> Iterator[str]:
    """The words in a table, and of its audio the names of files."""
    table = pq.ParquetFile(path)
    wanted = [
        name
        for name, kind in zip(_leaves(table), table.schema_arrow.types, strict=True)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_struct(kind)
    ]
    for batch in table.iter_batches(columns=wanted) if wanted else ():
        for column in batch.columns:
            column = column.field("path") if pa.types.is_struct(column.type) else column
            yield "\n".join(value for value in column.to_pylist() if value)


def _leaves(table: pq.ParquetFile) -> list[str]:
    """The columns; of audio the names alone, as nobody needs to read hours of it for them."""
    return [f"{field.name}.path" if pa.types.is_struct(field.type) else field.name for field in table.schema_arrow]


def _grammar(place: str) -> re.Pattern[str]:
    """The place as text or HTML has it, and nothing that only begins or ends like it."""
    forms = "|".join(sorted({re.escape(place), re.escape(html.escape(place))}))
    return re.compile(rf"(?<![\w.-])(?:{forms})(?![\w-])")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)

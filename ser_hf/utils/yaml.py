"""Reads and writes YAML 1.2, with bounds.

PyYAML follows YAML 1.1, which reads ``3e-5`` as a string and ``no`` as false. Size and depth are
bounded, and aliases and tags are refused, before any value is built, so that a file from anywhere
is read in bounded time.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError
from .validation import described

# Bounds of a YAML text: characters, values, nested collections, and digits of a whole number.
LARGEST = 1_000_000
MOST_VALUES = 30_000
DEEPEST = 32
MOST_DIGITS = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """`yaml.SafeLoader` with YAML 1.2 booleans and numbers, which refuses a key written twice."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            problem = None
            if not isinstance(key_node, yaml.ScalarNode):
                problem = "a key must be one word"
            elif key_node.tag.endswith(":merge"):
                problem = "merge keys (<<) are not supported"
            elif (key := self.construct_object(key_node, deep=True)) in seen:
                problem = f"the key '{key}' is there twice"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        text = self.construct_scalar(node)
        if len(text) > MOST_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, "a number of too many digits", node.start_mark
            )
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Quotes exactly the words that `_Loader` would read as something else. libyaml is four times
    as fast.
    """

    yaml_implicit_resolvers = dict(_Loader.yaml_implicit_resolvers)

    def ignore_aliases(self, data):
        return True


_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
    r"|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF"
    )
    _side.add_implicit_resolver("tag:yaml.org,2002:int", _INT, "-+0123456789")
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, "-+0123456789.")


def dump_yaml(value: Any) -> str:
    """The text that `parse_yaml` reads back as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` (a file or a command-line override) is named when it is
    malformed.
    """
    try:
        check_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml counts a line after the last one
        line = min(mark.line, text.count("\n")) + 1 if mark else None
        where = f"{source}, line {line}" if mark else source
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{where}: not valid YAML: {problem}") from None


def check_bounds(text: str, most_characters: int = LARGEST, most_values: int = MOST_VALUES) -> None:
    """Refuse a text that takes long to build, or builds more than it says.

    Aliases multiply values, and tags make objects.

    Raises:
        ValueError, yaml.YAMLError: for a text beyond the bounds, or one that is not YAML.
    """
    if len(text) > most_characters:
        raise ValueError(f"more than {most_characters:,} characters")
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem = None
        if count > most_values:
            problem = f"more than {most_values:,} values"
        elif depth > DEEPEST:
            problem = f"nested more than {DEEPEST} deep"
        elif isinstance(event, yaml.AliasEvent):
            problem = "aliases (*name) are not supported; write the value out"
        elif getattr(event, "tag", None) not in (None, "!"):
            problem = "tags (!name) are not supported"
        if problem is not None:
            raise yaml.parser.ParserError(None, None, problem, event.start_mark)


def read_text(path: str | Path, most: int | None = None) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; `most` bounds its bytes."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe may never end
            raise ValueError("not a file")
        if most is not None and status.st_size > most:
            raise ValueError(f"{status.st_size:,} bytes, expected at most {most:,}")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as UTF-8 text: {getattr(error, 'strerror', error)}"
        ) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: for a file that cannot be read, is not valid YAML, or holds no mapping.
    """
    value = parse_yaml(read_text(path, LARGEST), str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected sections with keys, found {described(value)}")
    return value

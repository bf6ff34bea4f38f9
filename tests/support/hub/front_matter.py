"""The metadata at the head of a README.md, read as the Hub reads it."""

import math
import re
from datetime import date
from typing import Any

import yaml

_FENCED = re.compile(r"\A\s*---[ \t]*\r?\n(?:(.*?)\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def front_matter(content: str) -> tuple[dict[str, Any] | None, str | None]:
    """The metadata, None where a README.md has none; or what is wrong with the YAML."""
    fenced = _FENCED.match(content)
    if not fenced:
        return None, None
    try:
        metadata = yaml.load(fenced[1] or "", _Loader)
    except (yaml.YAMLError, ValueError) as error:
        return None, f"Invalid YAML: {error}"
    if metadata is not None and not isinstance(metadata, dict):
        return None, '"YAML" must be of type object'
    return _plain(metadata), None


class _Loader(yaml.SafeLoader):
    """As YAML 1.2 is read: a key stands once, `no` is a word, only true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise yaml.constructor.ConstructorError(None, None, f"duplicated mapping key: {key}", node.start_mark)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _plain(value: Any) -> Any:
    """As JSON can carry it: dates are texts, and what is no number is nothing."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value

"""Random mistakes in the shipped recipes and in settings of networks; each `one_` function tries
one of them.

Every mistake is a `UserError` of one short line; any other exception, or a long message, is a
defect.
"""

import copy
import dataclasses
import functools
import math
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from ser_hf.experiment.reading import read_recipe
from ser_hf.models import ARCHITECTURES
from ser_hf.utils.errors import MOST, UserError
from ser_hf.utils.yaml import dump_yaml, parse_yaml
from support.testing import tiny_config

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
WORDS = [
    "",
    "x",
    "a/b",
    "..",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "é",
    "x" * 5000,
    "null",
    "1e5",
    "no",
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    0.5,
    1.5,
    -0.1,
    1e-300,
    1e300,
    math.inf,
    -math.inf,
    math.nan,
    2**31,
    2**64,
    10**400,
]
SMALL = [1, 2, 3, 4, 5, 7, 8, 16, 33, 64]
BYTES = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"&a ",
    b"*a",
    b"!!set ",
    b"[" * 2000,
    b"\t",
    b"- ",
    b": ",
    b'"',
    b"{",
    b"%",
]


# The keys of each network in a recipe.
_COMMON = {field.name for field in dataclasses.fields(PreTrainedConfig)}
OPTIONS = {
    name: [
        field.name
        for field in dataclasses.fields(network.config_class)
        if field.name not in _COMMON
    ]
    for name, network in ARCHITECTURES.items()
}


@functools.cache
def _recipes() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each shipped recipe as it is written, and with every default."""
    return [
        (parse_yaml(path.read_text(), str(path)), read_recipe(path).to_dict()) for path in RECIPES
    ]


def any_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 3 else 5)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 4:
        return rng.choice(WORDS)
    if kind == 4:
        return rng.choice([None, True, False])
    if kind < 7:
        return [
            any_value(rng, depth + 1)
            for _ in range(rng.choice([0, 1, 2, 3, 200]) if depth == 0 else 1)
        ]
    if kind == 7:
        return {
            rng.choice([*WORDS, 1, None, True, "name", "probability"]): any_value(rng, depth + 1)
        }
    value: Any = rng.choice(NUMBERS)
    for _ in range(40):
        value = rng.choice([[value], {"a": value}])
    return value


def one_recipe(rng: random.Random) -> str | None:
    """Read a recipe with a few wrong values, as a mapping or by overrides. Returns the message, or
    None.
    """
    values, complete = map(copy.deepcopy, rng.choice(_recipes()))
    overrides = []
    for _ in range(rng.randint(1, 3)):
        path = []
        own = values
        schema = complete
        while isinstance(schema, dict) and schema and (not path or rng.random() < 0.8):
            key = rng.choice([*schema]) if rng.random() < 0.95 else rng.choice([*WORDS, 1, None])
            path.append(key)
            own, schema = (of.get(key) if isinstance(of, dict) else None for of in (own, schema))
        value = any_value(rng) if rng.random() < 0.8 else rng.choice([own, schema])
        if rng.random() < 0.3 and all(isinstance(key, str) for key in path):
            overrides.append(
                f"{'.'.join(path)}={value if rng.random() < 0.5 else dump_yaml(repr(value))}"
            )
            continue
        target = values
        for key in path[:-1]:
            target = (
                target[key] if isinstance(target.get(key), dict) else target.setdefault(key, {})
            )
            if not isinstance(target, dict):
                break
        else:
            if rng.random() < 0.2:
                target.pop(path[-1], None)
            else:
                target[path[-1]] = value
    return _refusal(values, overrides)


def one_text(rng: random.Random) -> str | None:
    """Read the text of a recipe with random bytes changed. Returns the message, or None."""
    content = bytearray(rng.choice(RECIPES).read_bytes())
    for _ in range(rng.randint(1, 4)):
        at, until = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        piece = rng.choice([rng.choice(BYTES), content[at:until], bytes([rng.randrange(256)])])
        content[at : rng.choice([at, at + 1, until])] = piece
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(content)
        file.flush()
        return _refusal(file.name, ["name=fuzz"])


def _checked(message: str) -> str:
    assert len(message) <= MOST, message
    assert message.isprintable(), message
    return message


def _named(message: str, keys: list[str]) -> str:
    assert message.partition(":")[0] in keys, message
    return message


def _refusal(source: Any, overrides: list[str]) -> str | None:
    try:
        recipe = read_recipe(source, overrides)
    except UserError as error:
        return _checked(str(error))
    assert read_recipe(parse_yaml(recipe.to_yaml(), "resolved")) == recipe
    return None


def one_network(rng: random.Random) -> str | None:
    """Change a few settings of a small network; what is accepted processes the shortest clip."""
    name = rng.choice([name for name in ARCHITECTURES if "feature_set" not in OPTIONS[name]])
    config = tiny_config(name)
    settings = {key: getattr(config, key) for key in OPTIONS[name]}
    for key in rng.sample([*OPTIONS[name]], rng.randint(1, 3)):
        value = getattr(config, key)
        if isinstance(value, list):
            value = [rng.choice(SMALL) for _ in range(rng.choice([len(value), len(value), 0, 1]))]
        elif isinstance(value, int | None):
            value = rng.choice(
                [not value] if isinstance(value, bool) else [*SMALL, None, 512, 1024]
            )
        elif isinstance(value, float):
            value = rng.choice([0.0, 0.3, 0.99, 1.0, -1.0, 20.0, 4000.0, 7000.0])
        settings[key] = value if rng.random() < 0.95 else any_value(rng)
    try:
        config = type(config)(**settings)
    except ValueError as error:
        return _named(str(error), OPTIONS[name])
    with torch.no_grad():
        logits = ARCHITECTURES[name](config).eval()(torch.randn(1, 1600)).logits
    assert logits.isfinite().all()
    return None


ONES = (one_recipe, one_text, one_network)


def one(rng: random.Random) -> str | None:
    return rng.choice(ONES)(rng)

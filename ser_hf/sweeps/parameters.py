"""What a sweep may vary: ranges of numbers, choices among values, and bundles of keys that are set together."""

import dataclasses
import json
import math
from typing import Any

from ..errors import UserError
from ..strict import dump_yaml, parse_yaml

Settings = dict[str, Any]
Space = dict[str, "Range | Choice | Bundles"]


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are written so. `log` draws their logarithm
    evenly, `step` takes every so manieth."""

    low: Any
    high: Any
    log: bool = False
    step: Any = None

    def __post_init__(self):
        numbers = {"low": self.low, "high": self.high} | ({} if self.step is None else {"step": self.step})
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name}: expected a number, got {value!r}")
        if self.low >= self.high:
            raise ValueError(f"high: expected more than low, {self.low}, got {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: a logarithm needs more than zero, got {self.low}")
        if self.step is not None:
            if self.log:
                raise ValueError("step: not on a logarithm; leave out one of the two, or list the values")
            if self.step <= 0 or (self.whole and not isinstance(self.step, int)):
                expected = "a whole number above zero" if self.whole else "more than zero"
                raise ValueError(f"step: expected {expected}, got {self.step}")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def values(self) -> list[int | float] | None:
        """Every value from `low` on; None where there is no end of them."""
        if self.log or (self.step is None and not self.whole):
            return None
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        # 0.1 + 2 * 0.1 is not 0.3: what people write has fewer digits than that.
        return [self.low + i * step if self.whole else float(f"{self.low + i * step:.12g}") for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of `values`, which may be anything a recipe's key takes; told apart by how they are written."""

    values: tuple[Any, ...]

    def labelled(self) -> dict[str, Any]:
        return {written(value): value for value in self.values}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Recipe keys that are set together, and what varies where they are."""

    settings: Settings
    space: Space


@dataclasses.dataclass(frozen=True)
class Bundles:
    """One of several bundles, by name."""

    options: dict[str, Bundle]


def written(value: Any) -> str:
    """A value in one line: as JSON, or a word that YAML takes for a word. No two values are written alike."""
    return value if isinstance(value, str) and _is_plain(value) else json.dumps(value, ensure_ascii=False)


def overrides(settings: Settings) -> list[str]:
    """Settings as `ser_hf.recipe.read_recipe` takes them."""
    return [f"{key}={dump_yaml(value)}" for key, value in settings.items()]


def described(settings: Settings) -> str:
    """Settings in one line, for people."""
    return ", ".join(f"{key}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def _is_plain(word: str) -> bool:
    try:
        return bool(word) and "\n" not in word and parse_yaml(word, "") == word
    except UserError:
        return False

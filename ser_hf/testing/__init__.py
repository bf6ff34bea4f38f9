"""Public helpers for tests: synthetic corpora in official layouts, tiny networks and checkpoints.

Each is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import CHECKPOINTS, write_checkpoint
    from .corpora import write_corpus
    from .networks import tiny_config

_HOMES = {
    "CHECKPOINTS": "checkpoints",
    "tiny_config": "networks",
    "write_checkpoint": "checkpoints",
    "write_corpus": "corpora",
}

__all__ = ["CHECKPOINTS", "tiny_config", "write_checkpoint", "write_corpus"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

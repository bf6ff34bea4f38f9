"""Public helpers for tests: synthetic corpora in official layouts, tiny networks and checkpoints.

Each is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .corpora import write_corpus
    from .models import CHECKPOINTS, tiny_config, write_checkpoint

_HOMES = {
    "CHECKPOINTS": "models",
    "tiny_config": "models",
    "write_checkpoint": "models",
    "write_corpus": "corpora",
}

__all__ = ["CHECKPOINTS", "tiny_config", "write_checkpoint", "write_corpus"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Fine-tune, judge and publish speech emotion recognisers on the Hugging Face stack.

The public functions are imported on first use, so that `import ser_hf` loads neither torch nor transformers.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import prepare
    from .corpora import load_corpus
    from .errors import UserError
    from .protocols import speaker_independent
    from .recipe import read_recipe
    from .train import run_recipe

try:
    __version__ = version("ser_hf")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "UserError": "errors",
    "load_corpus": "corpora",
    "prepare": "audio",
    "read_recipe": "recipe",
    "run_recipe": "train",
    "speaker_independent": "protocols",
}

__all__ = [
    "UserError",
    "__version__",
    "load_corpus",
    "prepare",
    "read_recipe",
    "run_recipe",
    "speaker_independent",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

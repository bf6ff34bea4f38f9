"""Fine-tune, judge and publish speech emotion recognisers on the Hugging Face stack.

The public functions are imported on first use, so that `import ser_hf` loads neither torch nor transformers.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import near_duplicates, prepare
    from .corpora import load_corpus
    from .errors import UserError
    from .inspection import inspect_corpus, write_inspection
    from .prediction import predict
    from .protocols import audit, speaker_independent, split_corpus
    from .recipe import read_recipe
    from .train import run_recipe

try:
    __version__ = version("ser_hf")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "UserError": "errors",
    "audit": "protocols",
    "inspect_corpus": "inspection",
    "load_corpus": "corpora",
    "near_duplicates": "audio",
    "predict": "prediction",
    "prepare": "audio",
    "read_recipe": "recipe",
    "run_recipe": "train",
    "speaker_independent": "protocols",
    "split_corpus": "protocols",
    "write_inspection": "inspection",
}

__all__ = [
    "UserError",
    "__version__",
    "audit",
    "inspect_corpus",
    "load_corpus",
    "near_duplicates",
    "predict",
    "prepare",
    "read_recipe",
    "run_recipe",
    "speaker_independent",
    "split_corpus",
    "write_inspection",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

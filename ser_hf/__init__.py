"""Fine-tune, evaluate and publish speech emotion recognizers on the Hugging Face stack.

The public functions are imported on first use, so that `import ser_hf` loads neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# ruff: noqa: F401 (the names of _HOMES, for editors and type checkers)
if TYPE_CHECKING:
    from .audio import near_duplicates, prepare
    from .corpora import load_corpus
    from .evaluation.metric_objects import load_metric
    from .experiment.compare import compare_runs
    from .experiment.evaluate import evaluate_model
    from .experiment.recipe_checks import read_recipe
    from .export import export_model
    from .hub.publish import publish
    from .hub.verify import verify
    from .inference.predict import predict
    from .inspection import inspect_corpus, write_inspection
    from .protocols import audit, speaker_independent, split_corpus
    from .train import run_recipe
    from .utils.errors import UserError

from .utils.environment import __version__

_HOMES = {
    "UserError": "utils.errors",
    "audit": "protocols",
    "compare_runs": "experiment.compare",
    "evaluate_model": "experiment.evaluate",
    "export_model": "export",
    "inspect_corpus": "inspection",
    "load_corpus": "corpora",
    "load_metric": "evaluation.metric_objects",
    "near_duplicates": "audio",
    "predict": "inference.predict",
    "prepare": "audio",
    "publish": "hub.publish",
    "read_recipe": "experiment.recipe_checks",
    "run_recipe": "train",
    "speaker_independent": "protocols",
    "split_corpus": "protocols",
    "verify": "hub.verify",
    "write_inspection": "inspection",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

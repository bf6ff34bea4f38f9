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
    from .evaluation.metric_objects import load_metric
    from .export import export_model
    from .hub.corpus_repository import publish_corpus
    from .hub.publish import publish
    from .hub.verify import verify
    from .inspection import inspect_corpus, write_inspection
    from .judging.evaluate_model import evaluate_model
    from .prediction import predict
    from .protocols import audit, speaker_independent, split_corpus
    from .recipe import read_recipe
    from .rewriting import rewrite_report
    from .run_comparison import compare_runs
    from .train import run_recipe

try:
    __version__ = version("ser_hf")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "UserError": "errors",
    "audit": "protocols",
    "compare_runs": "run_comparison",
    "evaluate_model": "judging.evaluate_model",
    "export_model": "export",
    "inspect_corpus": "inspection",
    "load_corpus": "corpora",
    "load_metric": "evaluation.metric_objects",
    "near_duplicates": "audio",
    "predict": "prediction",
    "prepare": "audio",
    "publish": "hub.publish",
    "publish_corpus": "hub.corpus_repository",
    "read_recipe": "recipe",
    "rewrite_report": "rewriting",
    "run_recipe": "train",
    "speaker_independent": "protocols",
    "split_corpus": "protocols",
    "verify": "hub.verify",
    "write_inspection": "inspection",
}

__all__ = [
    "UserError",
    "__version__",
    "audit",
    "compare_runs",
    "evaluate_model",
    "export_model",
    "inspect_corpus",
    "load_corpus",
    "load_metric",
    "near_duplicates",
    "predict",
    "prepare",
    "publish",
    "publish_corpus",
    "read_recipe",
    "rewrite_report",
    "run_recipe",
    "speaker_independent",
    "split_corpus",
    "verify",
    "write_inspection",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

# What `import ser_hf` offers, each imported on first use: `ser_hf/__init__.py` and type checkers
# read this file.
from .audio import prepare
from .audio.near_duplicates import near_duplicates
from .corpora import load_corpus
from .doctor import diagnose
from .evaluation.metric_objects import load_metric
from .evaluation.metrics import compute_metrics
from .experiment.compare import compare_runs
from .experiment.evaluate import evaluate_model
from .experiment.matrix import evaluate_matrix
from .experiment.ranking import rank_runs
from .experiment.reading import read_recipe
from .export import export_model, export_web
from .hub.publish import publish
from .hub.verify import verify
from .inference.predict import predict
from .inspection import inspect_corpus, write_inspection
from .protocols import audit, speaker_independent, split_corpus
from .train import run_recipe
from .training.arguments import EmotionTrainingArguments
from .training.clips import clip_table
from .training.collator import Collator
from .training.trainer import EmotionTrainer
from .utils.errors import UserError

__version__: str
__all__ = [
    "Collator",
    "EmotionTrainer",
    "EmotionTrainingArguments",
    "UserError",
    "__version__",
    "audit",
    "clip_table",
    "compare_runs",
    "compute_metrics",
    "diagnose",
    "evaluate_matrix",
    "evaluate_model",
    "export_model",
    "export_web",
    "inspect_corpus",
    "load_corpus",
    "load_metric",
    "near_duplicates",
    "predict",
    "prepare",
    "publish",
    "rank_runs",
    "read_recipe",
    "run_recipe",
    "speaker_independent",
    "split_corpus",
    "verify",
    "write_inspection",
]

"""Public helpers for tests: synthetic corpora in official layouts, tiny checkpoints of real architectures."""

from .checkpoints import write_checkpoint
from .corpora import write_corpus

__all__ = ["write_checkpoint", "write_corpus"]

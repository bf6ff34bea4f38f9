"""Public helpers for tests: synthetic corpora in official layouts, tiny networks, tiny checkpoints of encoders."""

from .checkpoints import CHECKPOINTS, write_checkpoint
from .corpora import write_corpus
from .networks import tiny_config

__all__ = ["CHECKPOINTS", "tiny_config", "write_checkpoint", "write_corpus"]

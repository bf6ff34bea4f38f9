"""Small corpora in official layouts, tiny networks and pretrained encoders with random weights."""

from .corpora import write_corpus
from .models import CHECKPOINTS, tiny_config, tiny_encoder_config, write_checkpoint

__all__ = ["CHECKPOINTS", "tiny_config", "tiny_encoder_config", "write_checkpoint", "write_corpus"]

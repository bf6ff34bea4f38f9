"""ser-hf train: the same as python -m ser_hf.train."""

from ..train import INTERRUPTED, add_arguments
from ..train import train as run

EXAMPLE = "ser-hf train recipes/quickstart.yaml training.num_train_epochs=5"

__all__ = ["EXAMPLE", "INTERRUPTED", "add_arguments", "run"]

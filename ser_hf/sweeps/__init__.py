"""Sweeps: many runs of one recipe with other values of some keys, selected on validation."""

from ..utils.errors import UserError

try:
    import optuna  # noqa: F401
except ImportError:
    raise UserError("sweeps need Optuna: pip install 'ser_hf[sweep]'") from None

from .settings import SweepOptions
from .study import SweepResult
from .sweep import sweep

__all__ = ["SweepOptions", "SweepResult", "sweep"]

"""A Hugging Face Hub on this machine, for tests: `LoopbackHub`."""

from .server import LoopbackHub

__all__ = ["LoopbackHub"]

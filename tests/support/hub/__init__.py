"""A Hugging Face Hub on this machine, for tests: `LoopbackHub`."""

from .hub import LoopbackHub

__all__ = ["LoopbackHub"]

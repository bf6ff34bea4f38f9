"""Inspection: is this folder the corpus it should be, and what in it would mislead a model? One page and one JSON."""

from .folder import check_folder, write_inspection
from .inspection import Inspection, inspect_corpus

__all__ = ["Inspection", "check_folder", "inspect_corpus", "write_inspection"]

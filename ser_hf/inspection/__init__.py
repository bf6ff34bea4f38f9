"""Inspection of a corpus before training: measurements, findings, an HTML page and a JSON file."""

from .corpus import Inspection, inspect_corpus
from .page import check_folder, write_inspection

__all__ = ["Inspection", "check_folder", "inspect_corpus", "write_inspection"]

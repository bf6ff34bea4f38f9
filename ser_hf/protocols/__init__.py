"""Protocols: rules that turn a corpus into train, validation and test, and the audit that proves they do not leak."""

from .audit import audit
from .speaker_independent import speaker_independent
from .split import PARTS, Split, save_split, split_by_speakers

PROTOCOLS = {"speaker_independent": speaker_independent}

__all__ = ["PARTS", "PROTOCOLS", "Split", "audit", "save_split", "speaker_independent", "split_by_speakers"]

"""Protocols: rules that split a corpus into train, validation and test, and the leakage audit."""

from .audit import Audit, audit, contradictions, require_apart, worst_audit
from .registry import (
    FOILS,
    PROTOCOLS,
    Protocol,
    speaker_independent,
    split_by,
    split_corpus,
)
from .settings import ProtocolSettings
from .split import (
    PAIRS,
    PARTS,
    Split,
    fingerprint,
    make_split,
    may_share,
    save_splits,
    with_training_rows,
)

__all__ = [
    "FOILS",
    "PAIRS",
    "PARTS",
    "PROTOCOLS",
    "Audit",
    "Protocol",
    "ProtocolSettings",
    "Split",
    "audit",
    "contradictions",
    "fingerprint",
    "make_split",
    "may_share",
    "require_apart",
    "save_splits",
    "speaker_independent",
    "split_by",
    "split_corpus",
    "worst_audit",
    "with_training_rows",
]

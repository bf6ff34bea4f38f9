"""Checks of a recipe on its data, which name what keeps a network from learning."""

from .diagnose import CHECKS, diagnose, examine
from .result import CheckResult, Diagnosis, Fault, Outcome, Problem

__all__ = [
    "CHECKS",
    "CheckResult",
    "Diagnosis",
    "Fault",
    "Outcome",
    "Problem",
    "diagnose",
    "examine",
]

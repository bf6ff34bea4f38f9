"""Comparison of runs: one table, one bar chart, and paired tests between runs that predicted the same clips."""

from .compare import compare_runs

__all__ = ["compare_runs"]

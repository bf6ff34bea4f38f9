"""Evaluation: metrics, intervals, slices, pictures and the report."""

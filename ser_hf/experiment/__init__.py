"""Runs a recipe from corpus to report, and compares, evaluates and reproduces runs."""

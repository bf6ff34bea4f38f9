"""Comparison of runs: one table, one picture, and of runs on the same clips what their differences are worth.

`saved_runs` reads folders and reports, `rows` makes a line of each, `pairs` tests the differences, `comparison` puts
them together; `text`, `bars` and `page` show it.
"""

from .comparison import compare_runs

__all__ = ["compare_runs"]

"""One recipe from corpus to report, and what compares, evaluates and reproduces runs."""

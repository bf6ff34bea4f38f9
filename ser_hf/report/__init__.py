"""The report of a run: numbers, page, pictures, model card."""

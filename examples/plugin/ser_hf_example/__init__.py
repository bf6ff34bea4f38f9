"""A corpus and a network for ser_hf, as a package of its own."""

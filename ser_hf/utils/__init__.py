"""Errors, YAML, files, cache and other helpers that know nothing of speech."""

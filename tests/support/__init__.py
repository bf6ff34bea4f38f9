"""Helpers that several test packages import: `from support.tiny_model import tiny_model`."""

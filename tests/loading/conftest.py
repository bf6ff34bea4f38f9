"""Fixtures: a store of short clips, and tiny checkpoints."""

from support.clip_store import checkpoint, clips, labels, store  # noqa: F401

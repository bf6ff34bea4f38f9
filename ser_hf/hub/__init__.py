"""The Hub: cards, and what it takes to share a model."""

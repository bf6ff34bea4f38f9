"""Sweeps: many runs of one recipe, each with other values of some keys, judged on validation alone.

sweep("recipes/cremad_full.yaml", "recipes/sweeps/cremad_wav2vec2.yaml", ["corpus.root=data/CREMA-D"])
"""

from .sweep import sweep

__all__ = ["sweep"]

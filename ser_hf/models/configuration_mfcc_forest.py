"""Configuration of the random forest on MFCC statistics."""

from .configuration_mfcc import MfccConfig


class MfccForestConfig(MfccConfig):
    """`MfccConfig`; and the forest's shape, which the fit finds and no recipe sets: how many `trees`, of how many
    `nodes` together, and the `depth` of the deepest leaf."""

    model_type = "ser_mfcc_forest"

    # Without annotations: saved with the rest, but no keys of recipes.
    trees = 1
    nodes = 3
    depth = 1

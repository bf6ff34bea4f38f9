"""Configuration of logistic regression on MFCC statistics."""

from .configuration_mfcc import MfccConfig


class MfccLinearConfig(MfccConfig):
    """Nothing beyond `MfccConfig`."""

    model_type = "ser_mfcc_linear"

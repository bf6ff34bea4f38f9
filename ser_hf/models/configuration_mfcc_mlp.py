"""Configuration of the perceptron on MFCC statistics."""

from .configuration_mfcc import MfccConfig


class MfccMlpConfig(MfccConfig):
    """`MfccConfig`, and:

    Args:
        hidden: units of each hidden layer.
        dropout: probability after each.
    """

    model_type = "ser_mfcc_mlp"

    hidden: list[int] = (256, 128)
    dropout: float = 0.3

"""Configuration of the linear support vector machine on MFCC statistics."""

from .configuration_mfcc import MfccConfig


class MfccSvmConfig(MfccConfig):
    """Nothing beyond `MfccConfig`."""

    model_type = "ser_mfcc_svm"

"""Configuration of the support vector machine with a radial kernel on MFCC statistics."""

from .configuration_mfcc import MfccConfig


class MfccRbfSvmConfig(MfccConfig):
    """`MfccConfig`; and `support_vectors`, their number, which the fit finds and no recipe sets."""

    model_type = "ser_mfcc_rbf_svm"

    support_vectors = 1  # without an annotation: saved with the rest, but no key of recipes

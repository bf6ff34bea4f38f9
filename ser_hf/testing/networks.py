"""Tiny twins of the networks: every layer is there, with few channels, so that a test takes milliseconds."""

from typing import Any

from transformers import PreTrainedConfig

from ..models import ARCHITECTURES

_PICTURE = {"n_mels": 32, "n_mfcc": 16}
_POOLED = {"time_pooling": [2, 2], "band_pooling": [2, 2]}
_STACK = _PICTURE | _POOLED | {"channels": [4, 8]}
_VECTOR = {"n_mels": 32, "n_mfcc": 8}

TINY: dict[str, dict[str, Any]] = {
    "crnn": _STACK | {"lstm_hidden": 8},
    "se_resnet": _PICTURE | {"channels": [4, 8], "embedding": 16},
    "separable_resnet": _PICTURE | {"channels": [4, 8], "depths": [1, 1], "embedding": 16},
    "mfcc_linear": _VECTOR,
    "mfcc_svm": _VECTOR,
    "mfcc_rbf_svm": _VECTOR,
    "mfcc_forest": _VECTOR,
    "mfcc_mlp": _VECTOR | {"hidden": [8, 8]},
    "cnn2d": _STACK | {"hidden": 8},
    "cnn1d": {"channels": [4, 8], "depths": [1, 2]},
    "cnn1d_descriptors": {"channels": [4, 8], "pooling_factors": [2, 2], "hidden": 8},
    "cnn_lstm": _PICTURE | {"channels": [8, 8], "time_pooling": [2, 2], "lstm_hidden": 8},
    "stacked_cnn_lstm": _STACK | {"lstm_hidden": 8},
    "stacked_cnn_attention_lstm": _STACK | {"lstm_hidden": 8},
    "parallel_cnn_transformer": _STACK | {"transformer_size": 8, "transformer_layers": 1, "transformer_hidden": 16},
    "parallel_cnn_attention_lstm": _STACK | {"lstm_hidden": 8},
    "vgg16": {"n_mels": 32, "channels": [4, 4, 8, 8, 8]},
    "vggish": {"channels": [2, 4, 4, 8], "hidden": 16, "embedding_size": 16},
    "byols": {"n_mels": 16, "channels": 4, "embedding": 8},
    "cnn14": {"channels": [2, 2, 4, 4, 8, 8], "embedding": 8, "n_mels": 32},
}


def tiny_config(architecture: str, labels: int = 4, **settings: Any) -> PreTrainedConfig:
    """The configuration of a tiny `architecture` (a key of `ser_hf.models.ARCHITECTURES`) with `labels` classes."""
    return ARCHITECTURES[architecture].config_class(num_labels=labels, **TINY[architecture] | settings)

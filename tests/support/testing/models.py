"""Tiny models: configurations of the package's networks and random checkpoints of pretrained
encoders.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    ASTFeatureExtractor,
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from ser_hf.models import ARCHITECTURES

_LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
_STEM = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (10, 8, 4),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
_TRAINING = {"classifier_proj_size": 8, "mask_time_length": 2}
_CONVOLUTIONAL = _LAYERS | _STEM | _TRAINING | {"layerdrop": 0.0}
_CONFORMER = {"conv_depthwise_kernel_size": 3}

# model_type -> configuration. Whisper takes 1 s, AST 0.97 s; both have as few mel bands as they
# work with.
_SIZES: dict[str, dict[str, Any]] = {
    "sew-d": _LAYERS | _STEM | _TRAINING | {"position_buckets": 8, "max_position_embeddings": 64},
    "data2vec-audio": _CONVOLUTIONAL | {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3},
    "wav2vec2-conformer": _CONVOLUTIONAL | _CONFORMER,
    "wav2vec2-bert": _LAYERS
    | _TRAINING
    | _CONFORMER
    | {"layerdrop": 0.0, "feature_projection_input_dim": 32},
    "whisper": _TRAINING
    | {
        **{"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32},
        **{"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32},
        **{"d_model": 16, "num_mel_bins": 16, "vocab_size": 8},
        **{"max_source_positions": 50, "max_target_positions": 8},
        **dict.fromkeys(
            ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1
        ),
        "begin_suppress_tokens": None,
    },
    "audio-spectrogram-transformer": _LAYERS
    | {"num_mel_bins": 16, "max_length": 96, "num_labels": 3}
    | dict.fromkeys(("patch_size", "frequency_stride", "time_stride"), 8),
}

_SIZES["ser_emotion2vec"] = _LAYERS | {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (10, 8, 4),
    "num_conv_pos_layers": 2,
    "conv_pos_kernel_size": 3,
    "num_conv_pos_groups": 2,
    "num_extra_tokens": 3,
    "mask_time_length": 2,
}

# Every kind of encoder that is known to differ in a way that matters here -> arguments of
# `write_checkpoint`.
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "wav2vec2": {"model_type": "wav2vec2", "feat_extract_norm": "group"},  # facebook/wav2vec2-base
    "wav2vec2-layer": {"model_type": "wav2vec2", "feat_extract_norm": "layer"},
    # facebook/wav2vec2-xls-r-300m, facebook/wav2vec2-large-robust
    "wav2vec2-stable": {
        "model_type": "wav2vec2",
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
    # facebook/mms-1b-all: an attention adapter in every layer, for a language
    "mms": {
        "model_type": "wav2vec2",
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "adapter_attn_dim": 4,
    },
    "hubert": {"model_type": "hubert", "feat_extract_norm": "group"},  # facebook/hubert-base-ls960
    "hubert-large": {
        "model_type": "hubert",
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
    # ntu-spml/distilhubert
    "distilhubert": {
        "model_type": "hubert",
        "feat_extract_norm": "group",
        "feat_proj_layer_norm": False,
    },
    "wavlm": {"model_type": "wavlm", "feat_extract_norm": "group"},  # microsoft/wavlm-base
    "wavlm-large": {
        "model_type": "wavlm",
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
    "unispeech": {
        "model_type": "unispeech",
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
    "unispeech-sat": {"model_type": "unispeech-sat", "feat_extract_norm": "group"},
    "data2vec-audio": {"model_type": "data2vec-audio"},
    "sew": {"model_type": "sew", "feat_extract_norm": "group"},
    "sew-d": {"model_type": "sew-d", "feat_extract_norm": "layer"},
    "wav2vec2-conformer": {"model_type": "wav2vec2-conformer", "feat_extract_norm": "layer"},
    "wav2vec2-bert": {"model_type": "wav2vec2-bert"},
    "whisper": {"model_type": "whisper"},
    "audio-spectrogram-transformer": {"model_type": "audio-spectrogram-transformer"},
    "emotion2vec": {"model_type": "ser_emotion2vec"},
    "emotion2vec-stable": {"model_type": "ser_emotion2vec", "do_stable_layer_norm": True},
}


def tiny_encoder_config(
    model_type: str = "wav2vec2", feat_extract_norm: str | None = None, **options: Any
) -> PreTrainedConfig:
    """The configuration of a tiny encoder, see `write_checkpoint`."""
    if feat_extract_norm is not None:
        options["feat_extract_norm"] = feat_extract_norm
    return AutoConfig.for_model(model_type, **_SIZES.get(model_type, _CONVOLUTIONAL) | options)


def write_checkpoint(
    folder: str | Path,
    model_type: str = "wav2vec2",
    feat_extract_norm: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Path:
    """Save a tiny encoder with random weights, and its feature extractor, as a pretrained
    checkpoint.

    The files are those of published encoders: the bare encoder, Whisper with its decoder, and the
    audio spectrogram transformer as a classifier of three classes. `CHECKPOINTS` has the arguments
    for every kind.

    Args:
        model_type: as in transformers' configurations.
        feat_extract_norm: ``"group"`` as in wav2vec2-base, ``"layer"`` as in XLSR; None is the
            default.
        options: further values of the configuration.
    """
    torch.manual_seed(seed)
    config = tiny_encoder_config(model_type, feat_extract_norm, **options)
    _model(config).save_pretrained(folder)
    _extractor(config).save_pretrained(folder)
    return Path(folder)


def _model(config: PreTrainedConfig):
    if config.model_type == "whisper":
        return WhisperForConditionalGeneration(config)
    if config.model_type == "audio-spectrogram-transformer":
        return AutoModelForAudioClassification.from_config(config)
    return AutoModel.from_config(config)


def _extractor(config: PreTrainedConfig) -> SequenceFeatureExtractor:
    bands = getattr(config, "num_mel_bins", 16)
    if config.model_type == "whisper":
        # Two frames of 10 ms become one position.
        return WhisperFeatureExtractor(
            feature_size=bands, chunk_length=config.max_source_positions // 50
        )
    if config.model_type == "audio-spectrogram-transformer":
        return ASTFeatureExtractor(num_mel_bins=bands, max_length=config.max_length)
    if config.model_type == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(
            feature_size=bands, num_mel_bins=bands, padding_value=1.0
        )
    if config.model_type == "ser_emotion2vec":
        return Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    group = getattr(config, "feat_extract_norm", "layer") == "group"
    return Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=not group, sampling_rate=16000
    )


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
    "functionals_linear": {"feature_set": "eGeMAPSv02"},
    "functionals_svm": {"feature_set": "eGeMAPSv02"},
    "cnn2d": _STACK | {"hidden": 8},
    "cnn1d": {"channels": [4, 8], "depths": [1, 2]},
    "cnn1d_descriptors": {"channels": [4, 8], "pooling_factors": [2, 2], "hidden": 8},
    "cnn_lstm": _PICTURE | {"channels": [8, 8], "time_pooling": [2, 2], "lstm_hidden": 8},
    "stacked_cnn_lstm": _STACK | {"lstm_hidden": 8},
    "stacked_cnn_attention_lstm": _STACK | {"lstm_hidden": 8},
    "parallel_cnn_transformer": _STACK
    | {"transformer_size": 8, "transformer_layers": 1, "transformer_hidden": 16},
    "parallel_cnn_attention_lstm": _STACK | {"lstm_hidden": 8},
    "vgg16": {"n_mels": 32, "channels": [4, 4, 8, 8, 8]},
    "vggish": {"channels": [2, 4, 4, 8], "hidden": 16, "embedding_size": 16},
    "byols": {"n_mels": 16, "channels": 4, "embedding": 8},
    "cnn14": {"channels": [2, 2, 4, 4, 8, 8], "embedding": 8, "n_mels": 32},
}


def tiny_config(architecture: str, labels: int = 4, **settings: Any) -> PreTrainedConfig:
    """Make the configuration of a tiny network.

    Args:
        architecture: a key of `ser_hf.models.ARCHITECTURES`.
        labels: number of classes.
        settings: further values of the configuration.

    Returns:
        The configuration, of default size without an entry in `TINY`.
    """
    return ARCHITECTURES[architecture].config_class(
        num_labels=labels, **TINY.get(architecture, {}) | settings
    )

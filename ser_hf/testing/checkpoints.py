"""Tiny random checkpoints of real architectures, built from their configuration and never downloaded."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "mask_time_length": 2,
    "layerdrop": 0.0,
}


def write_checkpoint(
    folder: str | Path, model_type: str = "wav2vec2", feat_extract_norm: str = "group", seed: int = 0
) -> Path:
    """Saves a tiny pretrained-like encoder (no head) with random weights and its feature extractor.

    Args:
        model_type: ``"wav2vec2"``, ``"hubert"``, ``"wavlm"`` or kin with a convolutional stem.
        feat_extract_norm: ``"group"`` as in wav2vec2-base, ``"layer"`` as in the large and XLSR models.
    """
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, feat_extract_norm=feat_extract_norm, **_SIZES)
    AutoModel.from_config(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=feat_extract_norm == "layer", sampling_rate=16000
    ).save_pretrained(folder)
    return Path(folder)

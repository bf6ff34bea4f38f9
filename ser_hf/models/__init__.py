"""The networks of ser_hf, each a Hugging Face model: flat sibling files that ship to the Hub as code.

They import torch, numpy and transformers only, and nothing of ser_hf but their siblings. Importing this package
registers them with the Auto classes, so that a saved model then loads without `trust_remote_code`.
"""

from transformers import AutoConfig, AutoModelForAudioClassification

from .configuration_crnn import CRNNConfig
from .modeling_crnn import CRNNForAudioClassification

# Recipe word -> model class.
ARCHITECTURES = {"crnn": CRNNForAudioClassification}

for _model in ARCHITECTURES.values():
    AutoConfig.register(_model.config_class.model_type, _model.config_class, exist_ok=True)
    AutoModelForAudioClassification.register(_model.config_class, _model, exist_ok=True)
    # `save_pretrained` then copies the sibling files beside the weights and writes `auto_map`.
    _model.config_class.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")

__all__ = ["ARCHITECTURES", "CRNNConfig", "CRNNForAudioClassification"]
